// A thread for each element, which computes the gain of its column again.
// clang-format off
/*@plan
def forward(x, w):
    rows, cols = x.shape
    y = empty_like(x)
    launch("gains", grid=(cdiv(cols, 256), rows), block=256, args=[x, w, y, cols])
    return y
@*/
// clang-format on

extern "C" __global__ void gains(const float* __restrict__ x, const float* __restrict__ w, float* __restrict__ y, int cols)
{
    const int column = blockIdx.x * 256 + threadIdx.x;
    if (column >= cols) return;
    const float base = w[column] * w[column] + 1.0f;
    const float gain = powf(base, 1.3f) * powf(base + 1.0f, -0.7f);
    const size_t at = (size_t)blockIdx.y * cols + column;
    y[at] = x[at] * gain;
}
