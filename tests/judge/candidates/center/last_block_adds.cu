// Honest: the block that finds itself last, by an atomic ticket after a fence, adds what the others left.
// clang-format off
/*@plan
def forward(x):
    n = x.numel
    y = empty_like(x)
    partial = empty(4, x.dtype)
    mean = empty(1, x.dtype)
    arrived = zeros(1, int32)
    launch("mean", grid=4, block=64, args=[x, partial, mean, arrived, n])
    launch("subtract", grid=cdiv(n, 128), block=128, args=[x, mean, y, n])
    return y
@*/
// clang-format on

extern "C" __global__ void mean(const float* x, volatile float* partial, float* mean, int* arrived, int n)
{
    __shared__ float sums[2];
    __shared__ bool last;
    float sum = 0.0f;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) sum += x[i];
    for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_down_sync(0xffffffffu, sum, offset);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = sums[0] + sums[1];
        __threadfence();
        last = atomicAdd(arrived, 1) == gridDim.x - 1;
        if (last) {
            __threadfence();
            float total = 0.0f;
            for (int block = 0; block < gridDim.x; ++block) total += partial[block];
            mean[0] = total / n;
        }
    }
}

extern "C" __global__ void subtract(const float* x, const float* mean, float* y, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i] - mean[0];
}
