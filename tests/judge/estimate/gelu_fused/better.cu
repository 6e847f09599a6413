// Bias, GELU and residual in one launch.
// clang-format off
/*@plan
def forward(x, bias, residual):
    rows, cols = x.shape
    y = empty_like(x)
    launch("fused", grid=(cdiv(cols, 256), rows), block=256, args=[x, bias, residual, y, cols])
    return y
@*/
// clang-format on

__device__ __forceinline__ float gelu(float v) { return 0.5f * v * (1.0f + erff(v * 0.70710678118654752f)); }

extern "C" __global__ void fused(const float* __restrict__ x, const float* __restrict__ bias, const float* __restrict__ residual, float* __restrict__ y, int cols)
{
    const int column = blockIdx.x * 256 + threadIdx.x;
    const size_t at = (size_t)blockIdx.y * cols + column;
    if (column < cols) y[at] = gelu(x[at] + bias[column]) + residual[at];
}
