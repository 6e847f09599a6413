// A warp for each row and a fixed number of blocks that walk over all rows: each warp adds up the losses of its own rows,
// each block writes one sum, and a second, tiny launch adds those in a fixed order. Two looks at a row (largest logit, then
// sum of exponentials), the second from cache. Wins with few classes (up to some 2,000) and many rows.
// clang-format off
/*@plan
WARPS = tune(8, [4, 8, 16])
BLOCKS = tune(1056, [264, 528, 1056, 2112])
compile(defines={"WARPS": WARPS})

def forward(logits, targets):
    rows, classes = logits.shape
    blocks = min(BLOCKS, cdiv(rows, WARPS))
    sums = empty((blocks,), logits.dtype)
    mean = empty((), logits.dtype)
    launch("sum_losses", grid=blocks, block=(32, WARPS), args=[logits, targets, sums, rows, classes])
    launch("average", grid=1, block=32, args=[sums, mean, blocks, rows])
    return mean
@*/
// clang-format on

__device__ __forceinline__ float largest_over_warp(float value)
{
    for (int offset = 16; offset > 0; offset /= 2) value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, offset));
    return value;
}

__device__ __forceinline__ float sum_over_warp(float value)
{
    for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
    return value;
}

extern "C" __global__ void __launch_bounds__(32 * WARPS)
sum_losses(const float* __restrict__ logits, const long long* __restrict__ targets, float* __restrict__ sums,
           int rows, int classes)
{
    __shared__ float partial[WARPS];
    const int lane = threadIdx.x;
    const bool vector = classes % 4 == 0;  // else rows do not start on 16 bytes
    float loss = 0.0f;
    for (int row = blockIdx.x * WARPS + threadIdx.y; row < rows; row += gridDim.x * WARPS) {
        const float* x = logits + static_cast<size_t>(row) * classes;
        const float4* x4 = reinterpret_cast<const float4*>(x);
        float top = -FLT_MAX;
        float sum = 0.0f;
        if (vector) {
            for (int i = lane; i < classes / 4; i += 32) {
                const float4 v = x4[i];
                top = fmaxf(top, fmaxf(fmaxf(v.x, v.y), fmaxf(v.z, v.w)));
            }
            top = largest_over_warp(top);
            for (int i = lane; i < classes / 4; i += 32) {
                const float4 v = x4[i];
                sum += (expf(v.x - top) + expf(v.y - top)) + (expf(v.z - top) + expf(v.w - top));
            }
        } else {
            for (int i = lane; i < classes; i += 32) top = fmaxf(top, x[i]);
            top = largest_over_warp(top);
            for (int i = lane; i < classes; i += 32) sum += expf(x[i] - top);
        }
        sum = sum_over_warp(sum);
        // (top - target) first: adding log(sum) to a large top would round it away.
        loss += (top - x[targets[row]]) + logf(sum);
    }
    if (lane == 0) partial[threadIdx.y] = loss;
    __syncthreads();
    if (threadIdx.y == 0) {
        loss = sum_over_warp(lane < WARPS ? partial[lane] : 0.0f);
        if (lane == 0) sums[blockIdx.x] = loss;
    }
}

extern "C" __global__ void __launch_bounds__(32)
average(const float* __restrict__ sums, float* __restrict__ mean, int count, int rows)
{
    float sum = 0.0f;
    for (int i = threadIdx.x; i < count; i += 32) sum += sums[i];
    sum = sum_over_warp(sum);
    if (threadIdx.x == 0) *mean = sum / rows;
}
