// Honest: a first kernel clears what the second adds to, sixteen bytes at a time by memset.
// clang-format off
/*@plan
def forward(x, weight, eps):
    rows, cols = x.shape
    y = empty_like(x)
    sums = empty((rows, 4), float32)
    launch("clear", grid=rows, block=32, args=[sums])
    launch("rms_norm", grid=rows, block=32, args=[x, weight, y, sums, rows, cols, eps])
    return y
@*/
// clang-format on

extern "C" __global__ void clear(float* sums)
{
    if (threadIdx.x == 0) memset(sums + 4 * blockIdx.x, 0, 16);
}
extern "C" __global__ void rms_norm(const float* x, const float* w, float* y, const float* sums, int rows, int cols, float eps)
{
    const int lane = threadIdx.x % 32;
    const size_t row = blockIdx.x;
    const float* from = x + row * cols;
    float sum = lane < 4 ? sums[4 * row + lane] : 0.f;
    for (int i = lane; i < cols; i += 32) sum += from[i] * from[i];
    for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    const float r = rsqrtf(sum / cols + eps);
    for (int i = lane; i < cols; i += 32) y[row * cols + i] = from[i] * r * w[i];
}
