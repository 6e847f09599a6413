// Wrong: each thread reads the others' sums through pointers to their local variables, which on a device are its own.
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
    __shared__ float* places[128];
    const float* row = x + static_cast<size_t>(blockIdx.x) * cols;
    float sum = 0.0f;
    for (int i = threadIdx.x; i < cols; i += 128) sum += row[i] * row[i];
    places[threadIdx.x] = &sum;
    __syncthreads();
    float all = 0.0f;
    for (int j = 0; j < 128; ++j) all += *places[j];
    __syncthreads();
    const float scale = rsqrtf(all / cols + eps);
    for (int i = threadIdx.x; i < cols; i += 128) y[static_cast<size_t>(blockIdx.x) * cols + i] = row[i] * scale * w[i];
}
