// One block for each row and the online softmax: a single pass with float4 loads gives the maximum and the sum together,
// then a second pass writes. Two reads of the row instead of the textbook's three, and any row length. Wins where rows
// are too long to stay on chip; the second read comes from L2 as long as the rows in flight fit there.
// clang-format off
/*@plan
BLOCK = tune(512, [128, 256, 512, 1024])
compile(defines={"BLOCK": BLOCK})

def forward(x):
    cols = x.shape[-1]
    rows = x.numel // cols
    y = empty_like(x)
    launch("softmax", grid=rows, block=BLOCK, args=[x, y, cols])
    return y
@*/
// clang-format on

// A maximum, and the sum of exp(x - maximum) over the elements seen so far.
struct Running {
    float top = -FLT_MAX;  // not -INFINITY: a thread without any element must not compute infinity minus infinity
    float sum = 0.0f;

    __device__ void add(float value)
    {
        // Only a new maximum pays for rescaling; it gets rare quickly.
        if (value > top) {
            sum = sum * expf(top - value) + 1.0f;
            top = value;
        } else {
            sum += expf(value - top);
        }
    }

    __device__ void join(float other_top, float other_sum)
    {
        const float joined = fmaxf(top, other_top);
        sum = sum * expf(top - joined) + other_sum * expf(other_top - joined);
        top = joined;
    }

    __device__ void join_warp()
    {
        for (int offset = 16; offset > 0; offset /= 2) {
            const float other_top = __shfl_xor_sync(0xffffffffu, top, offset);
            const float other_sum = __shfl_xor_sync(0xffffffffu, sum, offset);
            join(other_top, other_sum);
        }
    }
};

extern "C" __global__ void __launch_bounds__(BLOCK)
softmax(const float* __restrict__ x, float* __restrict__ y, int cols)
{
    constexpr int WARPS = BLOCK / 32;
    __shared__ float tops[WARPS];
    __shared__ float sums[WARPS];
    x += static_cast<size_t>(blockIdx.x) * cols;
    y += static_cast<size_t>(blockIdx.x) * cols;
    const bool vector = cols % 4 == 0;  // else rows do not start on 16 bytes

    Running run;
    if (vector) {
        const float4* x4 = reinterpret_cast<const float4*>(x);
        for (int i = threadIdx.x; i < cols / 4; i += BLOCK) {
            const float4 v = x4[i];
            run.add(v.x);
            run.add(v.y);
            run.add(v.z);
            run.add(v.w);
        }
    } else {
        for (int i = threadIdx.x; i < cols; i += BLOCK) run.add(x[i]);
    }
    run.join_warp();
    const int lane = threadIdx.x % 32;
    if (lane == 0) {
        tops[threadIdx.x / 32] = run.top;
        sums[threadIdx.x / 32] = run.sum;
    }
    __syncthreads();
    // Every warp joins the warps' pairs for itself, which saves a second barrier.
    run.top = lane < WARPS ? tops[lane] : -FLT_MAX;
    run.sum = lane < WARPS ? sums[lane] : 0.0f;
    run.join_warp();

    const float top = run.top;
    const float scale = 1.0f / run.sum;
    if (vector) {
        const float4* x4 = reinterpret_cast<const float4*>(x);
        float4* y4 = reinterpret_cast<float4*>(y);
        for (int i = threadIdx.x; i < cols / 4; i += BLOCK) {
            const float4 v = x4[i];
            y4[i] = make_float4(expf(v.x - top) * scale, expf(v.y - top) * scale,
                                expf(v.z - top) * scale, expf(v.w - top) * scale);
        }
    } else {
        for (int i = threadIdx.x; i < cols; i += BLOCK) y[i] = expf(x[i] - top) * scale;
    }
}
