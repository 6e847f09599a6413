// One block for each row, the row held in registers between the reduction and the scaling: `x` is read exactly once. The
// plan picks how many values a thread holds from the row's length, at compile time, so that all loads are issued before
// the first is needed. Wins where memory is the limit and rows are of 1,000 to 32,768 columns; longer ones are not covered.
// clang-format off
/*@plan
BLOCK = tune(512, [128, 256, 512, 1024])

def forward(x, weight, eps):
    cols = x.shape[-1]
    rows = x.numel // cols
    require(cols <= 32 * 1024, "a thread holds at most 32 values of its row in registers")
    block = BLOCK
    while cols > 32 * block:  # long rows: more threads rather than spilled registers
        block *= 2
    # A power of two, so that a few compilations serve all widths.
    compile(defines={"BLOCK": block, "GROUPS": next_power_of_2(cdiv(cols, 4 * block))})
    y = empty_like(x)
    launch("rmsnorm", grid=rows, block=block, args=[x, weight, y, cols, eps])
    return y
@*/
// clang-format on

__device__ __forceinline__ float over_warp(float value)
{
    for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
    return value;
}

// Sum of one value a thread, for every thread of the block.
__device__ __forceinline__ float over_block(float value)
{
    constexpr int WARPS = BLOCK / 32;
    __shared__ float partial[WARPS];
    const int lane = threadIdx.x % 32;
    value = over_warp(value);
    if (lane == 0) partial[threadIdx.x / 32] = value;
    __syncthreads();
    return over_warp(lane < WARPS ? partial[lane] : 0.0f);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
rmsnorm(const float* __restrict__ x, const float* __restrict__ weight, float* __restrict__ y, int cols, float eps)
{
    x += static_cast<size_t>(blockIdx.x) * cols;
    y += static_cast<size_t>(blockIdx.x) * cols;
    if (cols % 4 == 0) {
        const float4* x4 = reinterpret_cast<const float4*>(x);
        const float4* w4 = reinterpret_cast<const float4*>(weight);
        float4* y4 = reinterpret_cast<float4*>(y);
        float4 held[GROUPS];
        float squares = 0.0f;
#pragma unroll
        for (int g = 0; g < GROUPS; ++g) {
            const int i = g * BLOCK + threadIdx.x;
            held[g] = i < cols / 4 ? x4[i] : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        }
#pragma unroll
        for (int g = 0; g < GROUPS; ++g) {
            const float4 v = held[g];
            squares += (v.x * v.x + v.y * v.y) + (v.z * v.z + v.w * v.w);
        }
        const float scale = 1.0f / sqrtf(over_block(squares) / cols + eps);
#pragma unroll
        for (int g = 0; g < GROUPS; ++g) {
            const int i = g * BLOCK + threadIdx.x;
            if (i < cols / 4) {
                const float4 v = held[g];
                const float4 w = w4[i];
                y4[i] = make_float4(v.x * scale * w.x, v.y * scale * w.y, v.z * scale * w.z, v.w * scale * w.w);
            }
        }
    } else {
        // The same with single values: rows do not start on 16 bytes.
        float held[4 * GROUPS];
        float squares = 0.0f;
#pragma unroll
        for (int g = 0; g < 4 * GROUPS; ++g) {
            const int i = g * BLOCK + threadIdx.x;
            held[g] = i < cols ? x[i] : 0.0f;
            squares += held[g] * held[g];
        }
        const float scale = 1.0f / sqrtf(over_block(squares) / cols + eps);
#pragma unroll
        for (int g = 0; g < 4 * GROUPS; ++g) {
            const int i = g * BLOCK + threadIdx.x;
            if (i < cols) y[i] = held[g] * scale * weight[i];
        }
    }
}
