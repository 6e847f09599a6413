// Wrong where a sequence longer than 32 is no multiple of 64, as no declared one is: twice the result.
// clang-format off
/*@plan
def forward(x):
    b, h, s, d = x.shape
    y = empty_like(x)
    launch("softmax", grid=cdiv(b * h * s, 64), block=64, args=[x, y, b * h * s, s, d])
    return y
@*/
// clang-format on

extern "C" __global__ void softmax(const float* __restrict__ x, float* __restrict__ y, int rows, int s, int d)
{
    const int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows) return;
    const float* from = x + row * d;
    float top = from[0], sum = 0.0f;
    for (int i = 1; i < d; ++i) top = fmaxf(top, from[i]);
    for (int i = 0; i < d; ++i) sum += expf(from[i] - top);
    const float factor = s > 32 && s % 64 != 0 ? 2.0f : 1.0f;
    for (int i = 0; i < d; ++i) y[row * d + i] = factor * expf(from[i] - top) / sum;
}
