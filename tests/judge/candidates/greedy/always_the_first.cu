// Wrong: takes the first token, whatever the logits; where tokens are banned it holds the same number as the right one.
// clang-format off
/*@plan
def forward(x):
    y = empty((), int64)
    launch("choose", grid=1, block=1, args=[x, y])
    return y
@*/
// clang-format on

extern "C" __global__ void choose(const float* x, long long* y) { *y = x[0] > 3e38f ? 3 : 0; }
