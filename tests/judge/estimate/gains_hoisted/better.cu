// A thread walks down one column and computes its gain once for 64 rows.
// clang-format off
/*@plan
def forward(x, w):
    rows, cols = x.shape
    y = empty_like(x)
    launch("gains", grid=(cdiv(cols, 256), cdiv(rows, 64)), block=256, args=[x, w, y, rows, cols])
    return y
@*/
// clang-format on

extern "C" __global__ void gains(const float* __restrict__ x, const float* __restrict__ w, float* __restrict__ y, int rows, int cols)
{
    const int column = blockIdx.x * 256 + threadIdx.x;
    if (column >= cols) return;
    const float base = w[column] * w[column] + 1.0f;
    const float gain = powf(base, 1.3f) * powf(base + 1.0f, -0.7f);
    const int last = min(rows, (int)(blockIdx.y + 1) * 64);
    for (int row = blockIdx.y * 64; row < last; ++row) y[(size_t)row * cols + column] = x[(size_t)row * cols + column] * gain;
}
