// Wrong: the sum starts with what a register held.
// clang-format off
/*@plan
def forward(x, weight, eps):
    rows, cols = x.shape
    y = empty_like(x)
    launch("rms_norm", grid=rows, block=128, args=[x, weight, y, cols, eps])
    return y
@*/
// clang-format on

extern "C" __global__ void rms_norm(const float* x, const float* w, float* y, int cols, float eps)
{
    __shared__ float partial[128];
    const size_t row = blockIdx.x;
    x += row * cols;
    y += row * cols;

    float sum, v;
    for (int i = threadIdx.x; i < cols; i += blockDim.x) { v = x[i]; sum += v * v; }
    partial[threadIdx.x] = sum;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
        __syncthreads();
    }
    const float total = (float)partial[0];
    const float r = rsqrtf(total / cols + eps);
    for (int i = threadIdx.x; i < cols; i += blockDim.x) { y[i] = x[i] * r * w[i]; }

}
