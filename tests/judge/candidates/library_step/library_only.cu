// Refused: PyTorch does all of it.
// clang-format off
/*@plan
def forward(a, b, bias):
    return torch_op("aten.relu", torch_op("aten.addmm", bias, a, b))
@*/
// clang-format on

// Nothing of its own.
