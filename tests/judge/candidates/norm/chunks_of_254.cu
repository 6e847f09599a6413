// Honest: a row in chunks of 254, a tile of 256 without its halo, each passed to a function with its length.
// clang-format off
/*@plan
def forward(x, weight, eps):
    rows, cols = x.shape
    y = empty_like(x)
    launch("rms_norm", grid=rows, block=1, args=[x, weight, y, cols, eps])
    return y
@*/
// clang-format on

constexpr int TILE = 256, HALO = 1;
__device__ __noinline__ float squares(const float* x, int n)
{
    float s = 0;
    for (int i = 0; i < n; ++i) s += x[i] * x[i];
    return s;
}
extern "C" __global__ void rms_norm(const float* x, const float* w, float* y, int cols, float eps)
{
    x += (size_t)blockIdx.x * cols;
    y += (size_t)blockIdx.x * cols;
    constexpr int inner = TILE - 2 * HALO;
    float sum = 0;
    int at = 0;
    for (; at + inner <= cols; at += inner) sum += squares(x + at, inner);
    sum += squares(x + at, cols - at);
    const float r = rsqrtf(sum / cols + eps);
    for (int i = 0; i < cols; ++i) y[i] = x[i] * r * w[i];
}
