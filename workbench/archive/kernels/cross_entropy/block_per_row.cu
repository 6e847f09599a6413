// One block for each row reads its logits once (online logsumexp, float4) and writes the row's loss; a second launch of
// one block averages the losses in a fixed order, so that runs agree bit for bit, which atomicAdd would not. Wins with many
// classes (a language model's vocabulary), where one row alone keeps a block busy.
// clang-format off
/*@plan
BLOCK = tune(256, [128, 256, 512, 1024])
compile(defines={"BLOCK": BLOCK})

def forward(logits, targets):
    rows, classes = logits.shape
    losses = empty((rows,), logits.dtype)
    mean = empty((), logits.dtype)
    launch("row_loss", grid=rows, block=BLOCK, args=[logits, targets, losses, classes])
    launch("mean_loss", grid=1, block=1024, args=[losses, mean, rows])
    return mean
@*/
// clang-format on

// A maximum, and the sum of exp(x - maximum) over the logits seen so far.
struct Running {
    float top = -FLT_MAX;  // not -INFINITY: a thread without any logit must not compute infinity minus infinity
    float sum = 0.0f;

    __device__ void add(float value)
    {
        if (value > top) {
            sum = sum * expf(top - value) + 1.0f;
            top = value;
        } else {
            sum += expf(value - top);
        }
    }

    __device__ void join_warp()
    {
        for (int offset = 16; offset > 0; offset /= 2) {
            const float other_top = __shfl_xor_sync(0xffffffffu, top, offset);
            const float other_sum = __shfl_xor_sync(0xffffffffu, sum, offset);
            const float joined = fmaxf(top, other_top);
            sum = sum * expf(top - joined) + other_sum * expf(other_top - joined);
            top = joined;
        }
    }
};

extern "C" __global__ void __launch_bounds__(BLOCK)
row_loss(const float* __restrict__ logits, const long long* __restrict__ targets, float* __restrict__ losses, int classes)
{
    constexpr int WARPS = BLOCK / 32;
    __shared__ float tops[WARPS];
    __shared__ float sums[WARPS];
    const float* row = logits + static_cast<size_t>(blockIdx.x) * classes;

    Running run;
    if (classes % 4 == 0) {
        const float4* row4 = reinterpret_cast<const float4*>(row);
        for (int i = threadIdx.x; i < classes / 4; i += BLOCK) {
            const float4 v = row4[i];
            run.add(v.x);
            run.add(v.y);
            run.add(v.z);
            run.add(v.w);
        }
    } else {
        for (int i = threadIdx.x; i < classes; i += BLOCK) run.add(row[i]);
    }
    run.join_warp();
    if (threadIdx.x % 32 == 0) {
        tops[threadIdx.x / 32] = run.top;
        sums[threadIdx.x / 32] = run.sum;
    }
    __syncthreads();
    if (threadIdx.x < 32) {
        run.top = threadIdx.x < WARPS ? tops[threadIdx.x] : -FLT_MAX;
        run.sum = threadIdx.x < WARPS ? sums[threadIdx.x] : 0.0f;
        run.join_warp();
        // (top - target) first: adding log(sum) to a large top would round it away.
        if (threadIdx.x == 0) losses[blockIdx.x] = (run.top - row[targets[blockIdx.x]]) + logf(run.sum);
    }
}

extern "C" __global__ void __launch_bounds__(1024)
mean_loss(const float* __restrict__ losses, float* __restrict__ mean, int rows)
{
    __shared__ float partial[32];
    float sum = 0.0f;
    for (int i = threadIdx.x; i < rows; i += 1024) sum += losses[i];
    for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x < 32) {
        sum = partial[threadIdx.x];
        for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
        if (threadIdx.x == 0) *mean = sum / rows;
    }
}
