// Honest: at widths that are no multiple of four the grid is of one size, however few rows there are.
// clang-format off
/*@plan
def forward(x, weight, eps):
    rows, cols = x.shape
    y = empty_like(x)
    grid, block = (rows, 128) if cols % 4 == 0 else (66, 1024)
    launch("rms_norm", grid=grid, block=block, args=[x, weight, y, rows, cols, eps])
    return y
@*/
// clang-format on

// A warp for each row, as many rows as there are.
extern "C" __global__ void rms_norm(const float* x, const float* w, float* y, int rows, int cols, float eps)
{
    const int lane = threadIdx.x % 32, warps = blockDim.x / 32;
    for (int row = blockIdx.x * warps + threadIdx.x / 32; row < rows; row += gridDim.x * warps) {
        const float* from = x + static_cast<size_t>(row) * cols;
        float sum = 0;
        for (int i = lane; i < cols; i += 32) sum += from[i] * from[i];
        for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
        const float r = rsqrtf(sum / cols + eps);
        for (int i = lane; i < cols; i += 32) y[static_cast<size_t>(row) * cols + i] = from[i] * r * w[i];
    }
}
