// Wrong: the first expert for each token.
// clang-format off
/*@plan
def forward(x):
    tokens, hidden = x.shape
    y = empty((tokens,), int64)
    launch("choose", grid=cdiv(tokens, 64), block=64, args=[x, y, tokens])
    return y
@*/
// clang-format on

extern "C" __global__ void choose(const float* x, long long* y, int tokens)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < tokens) y[i] = x[i] > 3e38f ? 1 : 0;
}
