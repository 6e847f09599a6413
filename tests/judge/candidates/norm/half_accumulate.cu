// Inaccurate: sums in half precision.
// clang-format off
/*@plan
def forward(x, weight, eps):
    rows, cols = x.shape
    y = empty_like(x)
    launch("rms_norm", grid=rows, block=128, args=[x, weight, y, cols, eps])
    return y
@*/
// clang-format on

#include <cuda_fp16.h>
extern "C" __global__ void rms_norm(const float* x, const float* w, float* y, int cols, float eps)
{
    __shared__ __half partial[128];
    const size_t row = blockIdx.x;
    x += row * cols;
    y += row * cols;

    __half sum = __float2half(0.0f), v;
    for (int i = threadIdx.x; i < cols; i += blockDim.x) { v = __float2half(x[i]); sum = __hadd(sum, __hmul(v, v)); }
    partial[threadIdx.x] = sum;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) partial[threadIdx.x] = __hadd(partial[threadIdx.x], partial[threadIdx.x + half]);
        __syncthreads();
    }
    const float total = __half2float(partial[0]);
    const float r = rsqrtf(total / cols + eps);
    for (int i = threadIdx.x; i < cols; i += blockDim.x) { y[i] = x[i] * r * w[i]; }

}
