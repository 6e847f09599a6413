// Each row is cut into SPLITS parts, one block for each part, which leaves its (maximum, sum) pair in scratch; a second
// launch joins the pairs of each row and writes the row's loss, a third averages. Wins where there are few rows and many
// classes: with one block a row, most multiprocessors would have nothing to do.
// clang-format off
/*@plan
SPLITS = tune(4, [2, 4, 8, 16])
BLOCK = tune(256, [128, 256, 512])
compile(defines={"BLOCK": BLOCK, "SPLITS": SPLITS})

def forward(logits, targets):
    rows, classes = logits.shape
    parts = empty((rows, SPLITS, 2), logits.dtype)
    losses = empty((rows,), logits.dtype)
    mean = empty((), logits.dtype)
    launch("part_of_row", grid=(rows, SPLITS), block=BLOCK, args=[logits, parts, classes])
    launch("join_parts", grid=cdiv(rows, 128), block=128, args=[logits, targets, parts, losses, rows, classes])
    launch("mean_loss", grid=1, block=BLOCK, args=[losses, mean, rows])
    return mean
@*/
// clang-format on

constexpr int WARPS = BLOCK / 32;

template <bool LARGEST>
__device__ float over_warp(float value)
{
    for (int offset = 16; offset > 0; offset /= 2) {
        const float other = __shfl_xor_sync(0xffffffffu, value, offset);
        value = LARGEST ? fmaxf(value, other) : value + other;
    }
    return value;
}

// The largest, or the sum, of one value a thread, for every thread of the block.
template <bool LARGEST>
__device__ float over_block(float value, float* partial)
{
    const int lane = threadIdx.x % 32;
    value = over_warp<LARGEST>(value);
    if (lane == 0) partial[threadIdx.x / 32] = value;
    __syncthreads();
    return over_warp<LARGEST>(lane < WARPS ? partial[lane] : (LARGEST ? -FLT_MAX : 0.0f));
}

extern "C" __global__ void __launch_bounds__(BLOCK)
part_of_row(const float* __restrict__ logits, float2* __restrict__ parts, int classes)
{
    __shared__ float tops[WARPS];
    __shared__ float sums[WARPS];
    // A part is a whole number of float4, so that an aligned row has aligned parts; the last ones may be short or empty.
    const int length = ((classes + SPLITS - 1) / SPLITS + 3) / 4 * 4;
    const int begin = min(static_cast<int>(blockIdx.y) * length, classes);
    const int count = min(length, classes - begin);
    const float* x = logits + static_cast<size_t>(blockIdx.x) * classes + begin;
    const float4* x4 = reinterpret_cast<const float4*>(x);
    const bool vector = classes % 4 == 0;

    float top = -FLT_MAX;
    if (vector) {
        for (int i = threadIdx.x; i < count / 4; i += BLOCK) {
            const float4 v = x4[i];
            top = fmaxf(top, fmaxf(fmaxf(v.x, v.y), fmaxf(v.z, v.w)));
        }
    } else {
        for (int i = threadIdx.x; i < count; i += BLOCK) top = fmaxf(top, x[i]);
    }
    top = over_block<true>(top, tops);
    float sum = 0.0f;
    if (vector) {
        for (int i = threadIdx.x; i < count / 4; i += BLOCK) {
            const float4 v = x4[i];
            sum += (expf(v.x - top) + expf(v.y - top)) + (expf(v.z - top) + expf(v.w - top));
        }
    } else {
        for (int i = threadIdx.x; i < count; i += BLOCK) sum += expf(x[i] - top);
    }
    sum = over_block<false>(sum, sums);
    if (threadIdx.x == 0) parts[static_cast<size_t>(blockIdx.x) * SPLITS + blockIdx.y] = make_float2(top, sum);
}

extern "C" __global__ void __launch_bounds__(128)
join_parts(const float* __restrict__ logits, const long long* __restrict__ targets, const float2* __restrict__ parts,
           float* __restrict__ losses, int rows, int classes)
{
    const int row = blockIdx.x * 128 + threadIdx.x;
    if (row >= rows) return;
    float top = -FLT_MAX;
    float sum = 0.0f;
    for (int i = 0; i < SPLITS; ++i) {
        const float2 part = parts[static_cast<size_t>(row) * SPLITS + i];  // (maximum, sum)
        const float joined = fmaxf(top, part.x);
        sum = sum * expf(top - joined) + part.y * expf(part.x - joined);
        top = joined;
    }
    // (top - target) first: adding log(sum) to a large top would round it away.
    losses[row] = (top - logits[static_cast<size_t>(row) * classes + targets[row]]) + logf(sum);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
mean_loss(const float* __restrict__ losses, float* __restrict__ mean, int rows)
{
    __shared__ float sums[WARPS];
    float sum = 0.0f;
    for (int i = threadIdx.x; i < rows; i += BLOCK) sum += losses[i];
    sum = over_block<false>(sum, sums);
    if (threadIdx.x == 0) *mean = sum / rows;
}
