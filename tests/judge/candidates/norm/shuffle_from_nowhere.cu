// Wrong: 20 of 32 lanes reduce as if there were 32.
// clang-format off
/*@plan
def forward(x, weight, eps):
    rows, cols = x.shape
    y = empty_like(x)
    launch("rms_norm", grid=rows, block=20, args=[x, weight, y, cols, eps])
    return y
@*/
// clang-format on

extern "C" __global__ void rms_norm(const float* x, const float* w, float* y, int cols, float eps)
{
    __shared__ float partial[128];
    const size_t row = blockIdx.x;
    x += row * cols;
    y += row * cols;

    float sum = 0, v;
    for (int i = threadIdx.x; i < cols; i += blockDim.x) { v = x[i]; sum += v * v; }
    for (int d = 16; d; d /= 2) sum += __shfl_down_sync(0xffffffffu, sum, d);
    if (threadIdx.x == 0) partial[0] = sum;
    __syncthreads();
    const float total = partial[0];
    const float r = rsqrtf(total / cols + eps);
    for (int i = threadIdx.x; i < cols; i += blockDim.x) { y[i] = x[i] * r * w[i]; }

}
