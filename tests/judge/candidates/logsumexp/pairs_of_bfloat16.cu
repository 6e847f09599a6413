// Honest: two elements a load, the odd one at the row's end alone; rows of odd length start between two pairs.
// clang-format off
/*@plan
def forward(x):
    rows, cols = x.shape
    y = empty(rows, float32)
    launch("logsumexp", grid=rows, block=64, args=[x, y, cols])
    return y
@*/
// clang-format on

#include <cuda_bf16.h>

__device__ void take(float v, float& highest, float& sum)
{
    const float higher = fmaxf(highest, v);
    sum = sum * expf(highest - higher) + expf(v - higher);
    highest = higher;
}

extern "C" __global__ void logsumexp(const __nv_bfloat16* __restrict__ x, float* __restrict__ y, int cols)
{
    __shared__ float maxima[64], sums[64];
    x += static_cast<size_t>(blockIdx.x) * cols;
    const int head = reinterpret_cast<size_t>(x) % sizeof(__nv_bfloat162) ? 1 : 0;
    const int pairs = (cols - head) / 2, tail = head + 2 * pairs;
    float highest = -FLT_MAX, sum = 0.0f;
    if (threadIdx.x == 0 && head) take(__bfloat162float(x[0]), highest, sum);
    if (threadIdx.x == 0 && tail < cols) take(__bfloat162float(x[tail]), highest, sum);
    const __nv_bfloat162* pair = reinterpret_cast<const __nv_bfloat162*>(x + head);
    for (int i = threadIdx.x; i < pairs; i += blockDim.x) {
        const float2 v = __bfloat1622float2(pair[i]);
        take(v.x, highest, sum);
        take(v.y, highest, sum);
    }
    maxima[threadIdx.x] = highest;
    sums[threadIdx.x] = sum;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) {
            const float higher = fmaxf(maxima[threadIdx.x], maxima[threadIdx.x + half]);
            sums[threadIdx.x] = sums[threadIdx.x] * expf(maxima[threadIdx.x] - higher) +
                                sums[threadIdx.x + half] * expf(maxima[threadIdx.x + half] - higher);
            maxima[threadIdx.x] = higher;
        }
        __syncthreads();
    }
    if (threadIdx.x == 0) y[blockIdx.x] = maxima[0] + logf(sums[0]);
}
