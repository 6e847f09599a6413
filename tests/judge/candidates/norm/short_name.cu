// Honest: a kernel with the shortest of names, as those in books have.
// clang-format off
/*@plan
def forward(x, weight, eps):
    rows, cols = x.shape
    y = empty_like(x)
    launch("a", grid=rows, block=32, args=[x, weight, y, cols, eps])
    return y
@*/
// clang-format on
extern "C" __global__ void a(const float* x, const float* w, float* y, int cols, float eps)
{
    const float* row = x + static_cast<size_t>(blockIdx.x) * cols;
    float sum = 0.0f;
    for (int i = threadIdx.x; i < cols; i += 32) sum += row[i] * row[i];
    for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    const float scale = rsqrtf(sum / cols + eps);
    for (int i = threadIdx.x; i < cols; i += 32) y[static_cast<size_t>(blockIdx.x) * cols + i] = row[i] * scale * w[i];
}
