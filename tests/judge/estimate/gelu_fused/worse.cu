// One launch for each operation, with the results between them in memory.
// clang-format off
/*@plan
def forward(x, bias, residual):
    rows, cols = x.shape
    biased = empty_like(x)
    active = empty_like(x)
    y = empty_like(x)
    launch("add_bias", grid=(cdiv(cols, 256), rows), block=256, args=[x, bias, biased, cols])
    launch("activate", grid=(cdiv(cols, 256), rows), block=256, args=[biased, active, cols])
    launch("add", grid=(cdiv(cols, 256), rows), block=256, args=[active, residual, y, cols])
    return y
@*/
// clang-format on

__device__ __forceinline__ float gelu(float v) { return 0.5f * v * (1.0f + erff(v * 0.70710678118654752f)); }

extern "C" __global__ void add_bias(const float* __restrict__ x, const float* __restrict__ bias, float* __restrict__ y, int cols)
{
    const int column = blockIdx.x * 256 + threadIdx.x;
    const size_t at = (size_t)blockIdx.y * cols + column;
    if (column < cols) y[at] = x[at] + bias[column];
}

extern "C" __global__ void activate(const float* __restrict__ x, float* __restrict__ y, int cols)
{
    const int column = blockIdx.x * 256 + threadIdx.x;
    const size_t at = (size_t)blockIdx.y * cols + column;
    if (column < cols) y[at] = gelu(x[at]);
}

extern "C" __global__ void add(const float* __restrict__ x, const float* __restrict__ residual, float* __restrict__ y, int cols)
{
    const int column = blockIdx.x * 256 + threadIdx.x;
    const size_t at = (size_t)blockIdx.y * cols + column;
    if (column < cols) y[at] = x[at] + residual[at];
}
