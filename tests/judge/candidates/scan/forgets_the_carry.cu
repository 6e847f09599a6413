// Wrong: each block starts again from zero.
// clang-format off
/*@plan
def forward(x):
    n = x.numel
    tiles = cdiv(n, 128)
    y = empty_like(x)
    totals = empty(tiles, x.dtype)
    launch("scan_tiles", grid=tiles, block=128, args=[x, y, totals, n])
    launch("scan_totals", grid=1, block=128, args=[totals, tiles])
    return y
@*/
// clang-format on

// The inclusive prefix sum of one value a thread, over the block.
__device__ float block_scan(float value, float* sums)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (int offset = 1; offset < 32; offset *= 2) {
        const float before = __shfl_up_sync(0xffffffffu, value, offset);
        if (lane >= offset) value += before;
    }
    if (lane == 31) sums[warp] = value;
    __syncthreads();
    float before = 0.0f;
    for (int other = 0; other < warp; ++other) before += sums[other];
    return before + value;
}

extern "C" __global__ void scan_tiles(const float* x, float* y, float* totals, int n)
{
    __shared__ float sums[4];
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const float mine = block_scan(i < n ? x[i] : 0.0f, sums);
    if (i < n) y[i] = mine;
    if (threadIdx.x == blockDim.x - 1) totals[blockIdx.x] = mine;
}

extern "C" __global__ void scan_totals(float* totals, int tiles)
{
    __shared__ float sums[4], last;
    float carry = 0.0f;
    for (int start = 0; start < tiles; start += blockDim.x) {
        const int i = start + threadIdx.x;
        const float mine = block_scan(i < tiles ? totals[i] : 0.0f, sums);
        if (i < tiles) totals[i] = carry + mine;
        if (threadIdx.x == blockDim.x - 1) last = mine;
        __syncthreads();
        carry += last;
        __syncthreads();
    }
}

extern "C" __global__ void add_totals(float* y, const float* totals, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (blockIdx.x > 0 && i < n) y[i] += totals[blockIdx.x - 1];
}
