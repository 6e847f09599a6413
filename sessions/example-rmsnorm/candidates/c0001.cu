// One block for each row: float4 loads, partial sums of squares joined by shuffles within a warp and through shared memory
// between warps. The row is read twice, the second time from L2 or L1. Wins on long rows and on few rows (decoding), where
// a single warp could not keep enough loads in flight; BLOCK is what to tune.
// clang-format off
/*@plan
BLOCK = tune(512, [64, 128, 256, 512, 1024])
compile(defines={"BLOCK": BLOCK})

def forward(x, weight, eps):
    cols = x.shape[-1]
    rows = x.numel // cols
    y = empty_like(x)
    launch("rmsnorm", grid=rows, block=BLOCK, args=[x, weight, y, cols, eps])
    return y
@*/
// clang-format on

__device__ __forceinline__ float over_warp(float value)
{
    for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
    return value;
}

extern "C" __global__ void __launch_bounds__(BLOCK)
rmsnorm(const float* __restrict__ x, const float* __restrict__ weight, float* __restrict__ y, int cols, float eps)
{
    constexpr int WARPS = BLOCK / 32;
    __shared__ float partial[WARPS];
    x += static_cast<size_t>(blockIdx.x) * cols;
    y += static_cast<size_t>(blockIdx.x) * cols;
    const bool vector = cols % 4 == 0;  // else rows do not start on 16 bytes

    float squares = 0.0f;
    if (vector) {
        const float4* x4 = reinterpret_cast<const float4*>(x);
        for (int i = threadIdx.x; i < cols / 4; i += BLOCK) {
            const float4 v = x4[i];
            squares += (v.x * v.x + v.y * v.y) + (v.z * v.z + v.w * v.w);
        }
    } else {
        for (int i = threadIdx.x; i < cols; i += BLOCK) squares += x[i] * x[i];
    }
    squares = over_warp(squares);
    const int lane = threadIdx.x % 32;
    if (lane == 0) partial[threadIdx.x / 32] = squares;
    __syncthreads();
    // Every warp adds the partial sums for itself: the same order in each, and no second barrier.
    squares = over_warp(lane < WARPS ? partial[lane] : 0.0f);

    const float scale = 1.0f / sqrtf(squares / cols + eps);
    if (vector) {
        const float4* x4 = reinterpret_cast<const float4*>(x);
        const float4* w4 = reinterpret_cast<const float4*>(weight);
        float4* y4 = reinterpret_cast<float4*>(y);
        for (int i = threadIdx.x; i < cols / 4; i += BLOCK) {
            const float4 v = x4[i];
            const float4 w = w4[i];
            y4[i] = make_float4(v.x * scale * w.x, v.y * scale * w.y, v.z * scale * w.z, v.w * scale * w.w);
        }
    } else {
        for (int i = threadIdx.x; i < cols; i += BLOCK) y[i] = x[i] * scale * weight[i];
    }
}
