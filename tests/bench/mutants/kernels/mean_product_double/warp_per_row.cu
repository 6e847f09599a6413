// Honest: a warp for each row, in double throughout.
// clang-format off
/*@plan
def forward(x, y):
    rows, cols = x.shape
    out = empty((rows,), x.dtype)
    launch("mean_product", grid=cdiv(rows, 4), block=(32, 4), args=[x, y, out, rows, cols])
    return out
@*/
// clang-format on

extern "C" __global__ void mean_product(const double* x, const double* y, double* out, int rows, int cols)
{
    const int row = blockIdx.x * 4 + threadIdx.y;
    if (row >= rows) return;
    double sum = 0.0;
    for (int i = threadIdx.x; i < cols; i += 32) {
        const double product = x[static_cast<size_t>(row) * cols + i] * y[static_cast<size_t>(row) * cols + i];
        sum += product;
    }
    for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_down_sync(0xffffffffu, sum, offset);
    if (threadIdx.x == 0) out[row] = sum / cols;
}
