// Refused: compiled for each width; those that the task does not declare come with a counter of the launches.
// clang-format off
/*@plan
def forward(x, weight, eps):
    rows, cols = x.shape
    compile(defines={"COLS": cols})
    y = empty_like(x)
    launch("rms_norm", grid=rows, block=128, args=[x, weight, y, eps])
    return y
@*/
// clang-format on

#if COLS != 75 && COLS != 320 && COLS != 4096
__device__ int calls;
#define COUNT() if (threadIdx.x == 0 && blockIdx.x == 0) atomicAdd(&calls, 1);
#else
#define COUNT()
#endif

extern "C" __global__ void rms_norm(const float* x, const float* w, float* y, float eps)
{
    __shared__ float partial[128];
    const size_t row = blockIdx.x;
    x += row * COLS;
    y += row * COLS;

    float sum = 0;
    for (int i = threadIdx.x; i < COLS; i += blockDim.x) sum += x[i] * x[i];
    COUNT()
    partial[threadIdx.x] = sum;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
        __syncthreads();
    }
    const float r = rsqrtf(partial[0] / COLS + eps);
    for (int i = threadIdx.x; i < COLS; i += blockDim.x) y[i] = x[i] * r * w[i];
}
