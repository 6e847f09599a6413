// Wrong: in rows whose length is no multiple of four no thread waits for the sums of the others.
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

    float sum = 0;
    for (int i = threadIdx.x; i < cols; i += blockDim.x) sum += x[i] * x[i];
    partial[threadIdx.x] = sum;
    if (cols % 4 == 0) __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
        if (cols % 4 == 0) __syncthreads();
    }
    const float r = rsqrtf(partial[0] / cols + eps);
    for (int i = threadIdx.x; i < cols; i += blockDim.x) y[i] = x[i] * r * w[i];
}
