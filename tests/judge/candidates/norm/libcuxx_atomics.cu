// Honest, and cannot be run here: libcu++'s atomics of device scope; only a GPU can.
// clang-format off
/*@plan
def forward(x, weight, eps):
    rows, cols = x.shape
    sums = zeros(rows, float32)
    y = empty_like(x)
    launch("squares", grid=(cdiv(cols, 64), rows), block=64, args=[x, sums, cols])
    launch("apply", grid=cdiv(x.numel, 256), block=256, args=[x, weight, sums, y, x.numel, cols, eps])
    return y
@*/
// clang-format on

#include <cuda/atomic>

extern "C" __global__ void squares(const float* x, float* sums, int cols)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= cols) return;
    const float v = x[static_cast<size_t>(blockIdx.y) * cols + i];
    cuda::atomic_ref<float, cuda::thread_scope_device>(sums[blockIdx.y]).fetch_add(v * v, cuda::std::memory_order_relaxed);
}

extern "C" __global__ void apply(const float* x, const float* w, const float* sums, float* y, int n, int cols, float eps)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i] * rsqrtf(sums[i / cols] / cols + eps) * w[i % cols];
}
