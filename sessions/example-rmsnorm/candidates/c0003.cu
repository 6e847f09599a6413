// One warp for each row and several rows for each block; the sum of squares crosses the lanes by shuffles, so there is
// no shared memory and no barrier. The second read of the row hits the cache. Wins on many short rows (up to some 500
// columns, measured on an H200); with few or long rows a block for each row keeps more loads in flight.
// clang-format off
/*@plan
WARPS = tune(8, [2, 4, 8, 16])
compile(defines={"WARPS": WARPS})

def forward(x, weight, eps):
    cols = x.shape[-1]
    rows = x.numel // cols
    y = empty_like(x)
    launch("rmsnorm", grid=cdiv(rows, WARPS), block=(32, WARPS), args=[x, weight, y, rows, cols, eps])
    return y
@*/
// clang-format on

extern "C" __global__ void __launch_bounds__(32 * WARPS)
rmsnorm(const float* __restrict__ x, const float* __restrict__ weight, float* __restrict__ y,
        int rows, int cols, float eps)
{
    const int row = blockIdx.x * WARPS + threadIdx.y;
    const int lane = threadIdx.x;
    if (row >= rows) return;  // a whole warp at a time, so the shuffles below are still complete
    x += static_cast<size_t>(row) * cols;
    y += static_cast<size_t>(row) * cols;

    float squares = 0.0f;
    const bool vector = cols % 4 == 0;  // else rows do not start on 16 bytes
    if (vector) {
        const float4* x4 = reinterpret_cast<const float4*>(x);
        for (int i = lane; i < cols / 4; i += 32) {
            const float4 v = x4[i];
            squares += (v.x * v.x + v.y * v.y) + (v.z * v.z + v.w * v.w);
        }
    } else {
        for (int i = lane; i < cols; i += 32) squares += x[i] * x[i];
    }
    for (int offset = 16; offset > 0; offset /= 2) squares += __shfl_xor_sync(0xffffffffu, squares, offset);

    const float scale = 1.0f / sqrtf(squares / cols + eps);
    if (vector) {
        const float4* x4 = reinterpret_cast<const float4*>(x);
        const float4* w4 = reinterpret_cast<const float4*>(weight);
        float4* y4 = reinterpret_cast<float4*>(y);
        for (int i = lane; i < cols / 4; i += 32) {
            const float4 v = x4[i];
            const float4 w = w4[i];
            y4[i] = make_float4(v.x * scale * w.x, v.y * scale * w.y, v.z * scale * w.z, v.w * scale * w.w);
        }
    } else {
        for (int i = lane; i < cols; i += 32) y[i] = x[i] * scale * weight[i];
    }
}
