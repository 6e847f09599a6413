// One block for each row, the row staged in shared memory: read from global memory once and written once, which is all
// the traffic there can be. The exponentials are computed once too and kept where the row was. Wins where a row fits and
// enough rows fit side by side on a multiprocessor (up to some 16,000 columns); longer rows are not covered.
// clang-format off
/*@plan
BLOCK = tune(512, [256, 512, 1024])
compile(defines={"BLOCK": BLOCK})

def forward(x):
    cols = x.shape[-1]
    rows = x.numel // cols
    require(cols <= 48 * 1024, "a row is kept in shared memory, of which a block has 227 KiB")
    y = empty_like(x)
    launch("softmax", grid=rows, block=BLOCK, args=[x, y, cols], shared=4 * cols)
    return y
@*/
// clang-format on

constexpr int WARPS = BLOCK / 32;

// The largest, or the sum, of one value a thread, for every thread of the block.
template <bool LARGEST>
__device__ float over_block(float value, float* partial)
{
    const int lane = threadIdx.x % 32;
    for (int offset = 16; offset > 0; offset /= 2) {
        const float other = __shfl_xor_sync(0xffffffffu, value, offset);
        value = LARGEST ? fmaxf(value, other) : value + other;
    }
    if (lane == 0) partial[threadIdx.x / 32] = value;
    __syncthreads();
    value = lane < WARPS ? partial[lane] : (LARGEST ? -FLT_MAX : 0.0f);
    for (int offset = 16; offset > 0; offset /= 2) {
        const float other = __shfl_xor_sync(0xffffffffu, value, offset);
        value = LARGEST ? fmaxf(value, other) : value + other;
    }
    return value;
}

extern "C" __global__ void __launch_bounds__(BLOCK)
softmax(const float* __restrict__ x, float* __restrict__ y, int cols)
{
    extern __shared__ __align__(16) float row[];
    __shared__ float tops[WARPS];  // two arrays, so that no barrier is needed between the two reductions
    __shared__ float sums[WARPS];
    x += static_cast<size_t>(blockIdx.x) * cols;
    y += static_cast<size_t>(blockIdx.x) * cols;

    // Each thread reads back only what it wrote itself, so staging needs no barrier either.
    if (cols % 4 == 0) {
        const float4* x4 = reinterpret_cast<const float4*>(x);
        float4* y4 = reinterpret_cast<float4*>(y);
        float4* row4 = reinterpret_cast<float4*>(row);
        float top = -FLT_MAX;
        for (int i = threadIdx.x; i < cols / 4; i += BLOCK) {
            const float4 v = x4[i];
            row4[i] = v;
            top = fmaxf(top, fmaxf(fmaxf(v.x, v.y), fmaxf(v.z, v.w)));
        }
        top = over_block<true>(top, tops);
        float sum = 0.0f;
        for (int i = threadIdx.x; i < cols / 4; i += BLOCK) {
            float4 v = row4[i];
            v = make_float4(expf(v.x - top), expf(v.y - top), expf(v.z - top), expf(v.w - top));
            row4[i] = v;
            sum += (v.x + v.y) + (v.z + v.w);
        }
        const float scale = 1.0f / over_block<false>(sum, sums);
        for (int i = threadIdx.x; i < cols / 4; i += BLOCK) {
            const float4 v = row4[i];
            y4[i] = make_float4(v.x * scale, v.y * scale, v.z * scale, v.w * scale);
        }
    } else {
        float top = -FLT_MAX;
        for (int i = threadIdx.x; i < cols; i += BLOCK) {
            row[i] = x[i];
            top = fmaxf(top, row[i]);
        }
        top = over_block<true>(top, tops);
        float sum = 0.0f;
        for (int i = threadIdx.x; i < cols; i += BLOCK) {
            row[i] = expf(row[i] - top);
            sum += row[i];
        }
        const float scale = 1.0f / over_block<false>(sum, sums);
        for (int i = threadIdx.x; i < cols; i += BLOCK) y[i] = row[i] * scale;
    }
}
