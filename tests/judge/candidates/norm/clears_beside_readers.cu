// Wrong: no barrier between clearing an element by memset and its read by another thread.
// clang-format off
/*@plan
def forward(x, weight, eps):
    rows, cols = x.shape
    y = empty_like(x)
    launch("rms_norm", grid=rows, block=64, args=[x, weight, y, rows, cols, eps])
    return y
@*/
// clang-format on

extern "C" __global__ void rms_norm(const float* x, const float* w, float* y, int rows, int cols, float eps)
{
    __shared__ float zero[64], part[2];
    const int lane = threadIdx.x % 32;
    const size_t row = blockIdx.x;
    const float* from = x + row * cols;
    memset(&zero[threadIdx.x], 0, 4);
    float sum = zero[threadIdx.x ^ 1];
    for (int i = threadIdx.x; i < cols; i += 64) sum += from[i] * from[i];
    for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    if (lane == 0) part[threadIdx.x / 32] = sum;
    __syncthreads();
    const float r = rsqrtf((part[0] + part[1]) / cols + eps);
    for (int i = threadIdx.x; i < cols; i += 64) y[row * cols + i] = from[i] * r * w[i];
}
