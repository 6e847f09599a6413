// Honest: the maximum first, then the sum, both by warp shuffles and one word of shared memory a warp.
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

extern "C" __global__ void logsumexp(const __nv_bfloat16* __restrict__ x, float* __restrict__ y, int cols)
{
    __shared__ float partial[2][2];
    const int warp = threadIdx.x / 32;
    x += static_cast<size_t>(blockIdx.x) * cols;

    float highest = -INFINITY;
    for (int i = threadIdx.x; i < cols; i += blockDim.x) highest = fmaxf(highest, __bfloat162float(x[i]));
    for (int offset = 16; offset > 0; offset /= 2)
        highest = fmaxf(highest, __shfl_xor_sync(0xffffffffu, highest, offset));
    if (threadIdx.x % 32 == 0) partial[0][warp] = highest;
    __syncthreads();
    highest = fmaxf(partial[0][0], partial[0][1]);

    float sum = 0.0f;
    for (int i = threadIdx.x; i < cols; i += blockDim.x) sum += expf(__bfloat162float(x[i]) - highest);
    for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    if (threadIdx.x % 32 == 0) partial[1][warp] = sum;
    __syncthreads();
    if (threadIdx.x == 0) y[blockIdx.x] = highest + logf(partial[1][0] + partial[1][1]);
}
