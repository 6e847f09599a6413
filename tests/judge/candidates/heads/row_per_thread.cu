// Honest: a thread for each row.
// clang-format off
/*@plan
def forward(x):
    b, h, s, d = x.shape
    y = empty_like(x)
    launch("softmax", grid=cdiv(b * h * s, 64), block=64, args=[x, y, b * h * s, d])
    return y
@*/
// clang-format on

extern "C" __global__ void softmax(const float* __restrict__ x, float* __restrict__ y, int rows, int d)
{
    const int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows) return;
    const float* from = x + row * d;
    float top = from[0], sum = 0.0f;
    for (int i = 1; i < d; ++i) top = fmaxf(top, from[i]);
    for (int i = 0; i < d; ++i) sum += expf(from[i] - top);
    for (int i = 0; i < d; ++i) y[row * d + i] = expf(from[i] - top) / sum;
}
