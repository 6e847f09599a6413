// Honest: a block for each token.
// clang-format off
/*@plan
def forward(tokens, table):
    rows, width = table.shape
    y = empty((tokens.shape[0], width), table.dtype)
    launch("look_up", grid=tokens.shape[0], block=32, args=[tokens, table, y, rows, width])
    return y
@*/
// clang-format on
extern "C" __global__ void look_up(const long long* __restrict__ tokens, const float* __restrict__ table,
                                   float* __restrict__ y, int rows, int width)
{
    const long long token = tokens[blockIdx.x];
    for (int i = threadIdx.x; i < width; i += blockDim.x)
        y[static_cast<size_t>(blockIdx.x) * width + i] = table[token * width + i] * 2.0f;
}
