// One block for each row, the row held in registers: mean first, then the variance about that mean, both over the same
// registers, so `x` is read once and nothing cancels. The second reduction also sums the residuals, which takes the mean's
// own rounding error out again. Wins on rows of 1,000 to 32,768 columns; longer ones are not covered.
// clang-format off
/*@plan
BLOCK = tune(256, [128, 256, 512, 1024])

def forward(x, weight, bias, eps):
    cols = x.shape[-1]
    rows = x.numel // cols
    require(cols <= 32 * 1024, "a thread holds at most 32 values of its row in registers")
    block = BLOCK
    while cols > 32 * block:  # long rows: more threads rather than spilled registers
        block *= 2
    # A power of two, so that a few compilations serve all widths.
    compile(defines={"BLOCK": block, "ITEMS": 4 * next_power_of_2(cdiv(cols, 4 * block))})
    y = empty_like(x)
    launch("layernorm", grid=rows, block=block, args=[x, weight, bias, y, cols, eps])
    return y
@*/
// clang-format on

constexpr int WARPS = BLOCK / 32;

__device__ __forceinline__ float2 over_warp(float2 value)
{
    for (int offset = 16; offset > 0; offset /= 2) {
        value.x += __shfl_xor_sync(0xffffffffu, value.x, offset);
        value.y += __shfl_xor_sync(0xffffffffu, value.y, offset);
    }
    return value;
}

// Sums of two values a thread, for every thread of the block. `partial` must not be in use by an earlier sum.
__device__ __forceinline__ float2 over_block(float2 value, float2* partial)
{
    const int lane = threadIdx.x % 32;
    value = over_warp(value);
    if (lane == 0) partial[threadIdx.x / 32] = value;
    __syncthreads();
    return over_warp(lane < WARPS ? partial[lane] : make_float2(0.0f, 0.0f));
}

// The column of a thread's i-th value: groups of four where rows start on 16 bytes, else one by one.
__device__ __forceinline__ int column(int i, bool vector)
{
    return vector ? ((i / 4) * BLOCK + threadIdx.x) * 4 + i % 4 : i * BLOCK + threadIdx.x;
}

extern "C" __global__ void __launch_bounds__(BLOCK)
layernorm(const float* __restrict__ x, const float* __restrict__ weight, const float* __restrict__ bias,
          float* __restrict__ y, int cols, float eps)
{
    __shared__ float2 partial_sums[WARPS];
    __shared__ float2 partial_squares[WARPS];
    x += static_cast<size_t>(blockIdx.x) * cols;
    y += static_cast<size_t>(blockIdx.x) * cols;
    const bool vector = cols % 4 == 0;

    float held[ITEMS];
    if (vector) {
#pragma unroll
        for (int i = 0; i < ITEMS; i += 4) {
            const int c = column(i, true);
            const float4 v = c < cols ? *reinterpret_cast<const float4*>(x + c) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
            held[i] = v.x;
            held[i + 1] = v.y;
            held[i + 2] = v.z;
            held[i + 3] = v.w;
        }
    } else {
#pragma unroll
        for (int i = 0; i < ITEMS; ++i) held[i] = column(i, false) < cols ? x[column(i, false)] : 0.0f;
    }

    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < ITEMS; ++i) sum += held[i];  // what is past the row's end was set to zero
    const float rough_mean = over_block(make_float2(sum, 0.0f), partial_sums).x / cols;

    float2 moments = make_float2(0.0f, 0.0f);
#pragma unroll
    for (int i = 0; i < ITEMS; ++i) {
        const float d = column(i, vector) < cols ? held[i] - rough_mean : 0.0f;
        moments.x += d;
        moments.y += d * d;
    }
    moments = over_block(moments, partial_squares);
    const float shift = moments.x / cols;  // exact arithmetic would make it zero
    const float variance = fmaxf(moments.y / cols - shift * shift, 0.0f);
    const float scale = 1.0f / sqrtf(variance + eps);

    if (vector) {
#pragma unroll
        for (int i = 0; i < ITEMS; i += 4) {
            const int c = column(i, true);
            if (c < cols) {
                const float4 w = *reinterpret_cast<const float4*>(weight + c);
                const float4 b = *reinterpret_cast<const float4*>(bias + c);
                *reinterpret_cast<float4*>(y + c) = make_float4(
                    ((held[i] - rough_mean) - shift) * scale * w.x + b.x,
                    ((held[i + 1] - rough_mean) - shift) * scale * w.y + b.y,
                    ((held[i + 2] - rough_mean) - shift) * scale * w.z + b.z,
                    ((held[i + 3] - rough_mean) - shift) * scale * w.w + b.w);
            }
        }
    } else {
#pragma unroll
        for (int i = 0; i < ITEMS; ++i) {
            const int c = column(i, false);
            if (c < cols) y[c] = ((held[i] - rough_mean) - shift) * scale * weight[c] + bias[c];
        }
    }
}
