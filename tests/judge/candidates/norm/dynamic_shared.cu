// Honest: the row stays in dynamic shared memory.
// clang-format off
/*@plan
def forward(x, weight, eps):
    rows, cols = x.shape
    y = empty_like(x)
    launch("rms_norm", grid=rows, block=128, args=[x, weight, y, cols, eps], shared=4 * (cols + 128))
    return y
@*/
// clang-format on

extern "C" __global__ void rms_norm(const float* x, const float* w, float* y, int cols, float eps)
{
    extern __shared__ float kept[];
    float* partial = kept + cols;
    const size_t row = blockIdx.x;
    float sum = 0;
    for (int i = threadIdx.x; i < cols; i += blockDim.x) {
        const float v = x[row * cols + i];
        kept[i] = v;
        sum += v * v;
    }
    partial[threadIdx.x] = sum;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
        __syncthreads();
    }
    const float r = rsqrtf(partial[0] / cols + eps);
    for (int i = threadIdx.x; i < cols; i += blockDim.x) y[row * cols + i] = kept[i] * r * w[i];
}
