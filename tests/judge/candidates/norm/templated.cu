// Honest: a template launched by its name expression, the block size a knob.
// clang-format off
/*@plan
BLOCK = tune(64, [32, 64, 128])

def forward(x, weight, eps):
    rows, cols = x.shape
    y = empty_like(x)
    launch(f"rms_norm<float, {BLOCK}>", grid=rows, block=BLOCK, args=[x, weight, y, cols, eps])
    return y
@*/
// clang-format on

template <typename T, int BLOCK>
__global__ void rms_norm(const T* x, const T* w, T* y, int cols, float eps)
{
    __shared__ float partial[BLOCK / 32];
    const size_t row = blockIdx.x;
    float sum = 0;
    for (int i = threadIdx.x; i < cols; i += BLOCK) {
        const float v = x[row * cols + i];
        sum += v * v;
    }
    for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = sum;
    __syncthreads();
    float total = 0;
    for (int i = 0; i < BLOCK / 32; ++i) total += partial[i];
    const float r = rsqrtf(total / cols + eps);
    for (int i = threadIdx.x; i < cols; i += BLOCK) y[row * cols + i] = x[row * cols + i] * r * w[i];
}
