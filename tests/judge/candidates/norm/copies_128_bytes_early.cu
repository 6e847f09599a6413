// Wrong: no barrier between the partial sums and a copy of 128 bytes of them.
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
    __shared__ float partial[128], copy[128], scale;
    const size_t row = blockIdx.x;
    x += row * cols;
    y += row * cols;
    float sum = 0;
    for (int i = threadIdx.x; i < cols; i += 128) sum += x[i] * x[i];
    partial[threadIdx.x] = sum;
    if (threadIdx.x == 127) {
        float total = 0;
        for (int k = 0; k < 128; k += 32) {
            float* part = copy + k;
            memcpy(part, partial + k, 128);
            for (int j = 0; j < 32; ++j) total += part[j];
        }
        scale = rsqrtf(total / cols + eps);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < cols; i += 128) y[i] = x[i] * scale * w[i];
}
