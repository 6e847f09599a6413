/*@plan
def forward(x, weight, eps):
    rows, cols = x.shape
    y = empty_like(x)
    launch("rmsnorm", grid=rows, block=256, args=[x, weight, y, cols, eps])
    return y
@*/
extern "C" __global__ void rmsnorm(const float* x, const float* weight, float* y, int cols, float eps)
{
    __shared__ float partial[256];
    const int t = threadIdx.x;
    x += static_cast<size_t>(blockIdx.x) * cols;
    y += static_cast<size_t>(blockIdx.x) * cols;

    float squares = 0.0f;
    for (int i = 0; i < cols / 256; ++i) squares += x[i * 256 + t] * x[i * 256 + t];
    partial[t] = squares;
    __syncthreads();
    for (int half = 128; half > 0; half /= 2) {
        if (t < half) partial[t] += partial[t + half];
        __syncthreads();
    }
    const float scale = 1.0f / sqrtf(partial[0] / cols + eps);
    for (int i = 0; i < cols / 256; ++i) y[i * 256 + t] = x[i * 256 + t] * scale * weight[i * 256 + t];
}
