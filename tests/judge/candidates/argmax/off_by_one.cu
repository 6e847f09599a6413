// Wrong: counts from one.
// clang-format off
/*@plan
def forward(x):
    rows, cols = x.shape
    out = empty(rows, int64)
    launch("argmax", grid=cdiv(rows, 32), block=32, args=[x, out, rows, cols])
    return out
@*/
// clang-format on

extern "C" __global__ void argmax(const float* x, long long* out, int rows, int cols)
{
    const int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows) return;
    int best = 0;
    for (int i = 1; i < cols; ++i)
        if (x[(size_t)row * cols + i] > x[(size_t)row * cols + best]) best = i;
    out[row] = best + 1;
}
