// Wrong: the length has no lower bound, so that a vector of zeros becomes NaN.
// clang-format off
/*@plan
def forward(x):
    n, c, l = x.shape
    y = empty_like(x)
    launch("unit_vectors", grid=(cdiv(l, 128), n), block=128, args=[x, y, c, l])
    return y
@*/
// clang-format on
extern "C" __global__ void unit_vectors(const float* __restrict__ x, float* __restrict__ y, int c, int l)
{
    const int column = blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= l) return;
    const size_t base = static_cast<size_t>(blockIdx.y) * c * l + column;
    float sum = 0.0f;
    for (int j = 0; j < c; ++j) {
        const float value = x[base + static_cast<size_t>(j) * l];
        sum += value * value;
    }
    const float scale = rsqrtf(sum);
    for (int j = 0; j < c; ++j) y[base + static_cast<size_t>(j) * l] = x[base + static_cast<size_t>(j) * l] * scale;
}
