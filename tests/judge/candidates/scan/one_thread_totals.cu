// Wrong: one launch in which each block reads the totals of those before it, with nothing that orders them.
// clang-format off
/*@plan
def forward(x):
    n = x.numel
    tiles = cdiv(n, 128)
    y = empty_like(x)
    totals = zeros(tiles, x.dtype)
    launch("scan", grid=tiles, block=128, args=[x, y, totals, n])
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

extern "C" __global__ void scan(const float* x, float* y, float* totals, int n)
{
    __shared__ float sums[4];
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const float mine = block_scan(i < n ? x[i] : 0.0f, sums);
    if (threadIdx.x == blockDim.x - 1) totals[blockIdx.x] = mine;
    __threadfence();
    float before = 0.0f;
    for (int other = 0; other < blockIdx.x; ++other) before += totals[other];
    if (i < n) y[i] = before + mine;
}
