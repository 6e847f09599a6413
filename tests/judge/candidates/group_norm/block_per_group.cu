// Honest: a block for each group, sums in float, half only in memory.
// clang-format off
/*@plan
def forward(x, norm_weight, norm_bias, norm_eps):
    n, c, h, w = x.shape
    y = empty_like(x)
    launch("group_norm", grid=(4, n), block=64, args=[x, norm_weight, norm_bias, y, c // 4, h * w, norm_eps])
    return y
@*/
// clang-format on

#include <cuda_fp16.h>

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

extern "C" __global__ void group_norm(const __half* x, const __half* weight, const __half* bias, __half* y,
                                      int channels, int pixels, float eps)
{
    __shared__ float partial[2];
    const int count = channels * pixels;
    const size_t start = (static_cast<size_t>(blockIdx.y) * gridDim.x + blockIdx.x) * count;

    float sum = 0.0f;
    for (int i = threadIdx.x; i < count; i += blockDim.x) sum += __half2float(x[start + i]);
    const float mean = block_sum(sum, partial) / count;

    float squares = 0.0f;
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        const float away = __half2float(x[start + i]) - mean;
        squares += away * away;
    }
    const float scale = rsqrtf(block_sum(squares, partial) / count + eps);

    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        const int channel = blockIdx.x * channels + i / pixels;
        const float v = (__half2float(x[start + i]) - mean) * scale * __half2float(weight[channel]) + __half2float(bias[channel]);
        y[start + i] = __float2half(v / (1.0f + expf(-v)));
    }
}
