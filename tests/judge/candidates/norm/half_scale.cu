// Inaccurate: the row's factor is kept in half.
// clang-format off
/*@plan
def forward(x, weight, eps):
    rows, cols = x.shape
    y = empty_like(x)
    launch("rms_norm", grid=rows, block=128, args=[x, weight, y, cols, eps])
    return y
@*/
// clang-format on

// The sum of one value a thread, for every thread of the block; `partial` may be used again afterwards.
__device__ float block_sum(float value, float* partial)
{
    for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
    __syncthreads();
    value = 0.0f;
    for (int warp = 0; warp < blockDim.x / 32; ++warp) value += partial[warp];
    __syncthreads();
    return value;
}

#include <cuda_fp16.h>

extern "C" __global__ void rms_norm(const float* x, const float* w, float* y, int cols, float eps)
{
    __shared__ float partial[4];
    x += static_cast<size_t>(blockIdx.x) * cols;
    y += static_cast<size_t>(blockIdx.x) * cols;

    float sum = 0.0f;
    for (int i = threadIdx.x; i < cols; i += blockDim.x) sum += x[i] * x[i];
    const float scale = __half2float(__float2half(rsqrtf(block_sum(sum, partial) / cols + eps)));
    for (int i = threadIdx.x; i < cols; i += blockDim.x) y[i] = x[i] * scale * w[i];
}
