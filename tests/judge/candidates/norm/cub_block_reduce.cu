// Honest, and cannot be run here: CUB's reduction over a block; only a GPU can.
// clang-format off
/*@plan
def forward(x, weight, eps):
    rows, cols = x.shape
    y = empty_like(x)
    launch("rms_norm", grid=rows, block=128, args=[x, weight, y, cols, eps])
    return y
@*/
// clang-format on

#include <cub/block/block_reduce.cuh>

extern "C" __global__ void rms_norm(const float* x, const float* w, float* y, int cols, float eps)
{
    using Reduce = cub::BlockReduce<float, 128>;
    __shared__ typename Reduce::TempStorage storage;
    __shared__ float scale;
    x += static_cast<size_t>(blockIdx.x) * cols;
    y += static_cast<size_t>(blockIdx.x) * cols;
    float sum = 0.0f;
    for (int i = threadIdx.x; i < cols; i += blockDim.x) sum += x[i] * x[i];
    const float total = Reduce(storage).Sum(sum);
    if (threadIdx.x == 0) scale = rsqrtf(total / cols + eps);
    __syncthreads();
    for (int i = threadIdx.x; i < cols; i += blockDim.x) y[i] = x[i] * scale * w[i];
}
