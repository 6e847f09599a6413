// A one-dimensional grid of the tiles on and below the diagonal alone, diagonal by diagonal from the far corner: the
// longest sums (k from j to i) start first. Tiles of 32 with 2 by 2 outputs a thread give many short blocks; the upper half
// is the plan's zeros. Wins up to n = 2,000 or so, where 128-wide tiles leave most multiprocessors idle.
// clang-format off
/*@plan
DEPTH = tune(32, [16, 32, 64])
compile(defines={"DEPTH": DEPTH})

def forward(a, b):
    n = a.shape[0]
    c = zeros((n, n), a.dtype)
    tiles = cdiv(n, 32)
    launch("matmul", grid=tiles * (tiles + 1) // 2, block=256, args=[a, b, c, n, tiles])
    return c
@*/
// clang-format on

constexpr int TILE = 32;
constexpr int THREADS = 256;
constexpr int LOADS = TILE * DEPTH / THREADS;  // values of each matrix that a thread loads for one step in k

extern "C" __global__ void __launch_bounds__(THREADS)
matmul(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c, int n, int tiles)
{
    __shared__ __align__(16) float tile_a[2][DEPTH][TILE + 2];  // transposed; padded against bank conflicts
    __shared__ __align__(16) float tile_b[2][DEPTH][TILE];

    // The s-th diagonal from the corner has s + 1 tiles: block = s (s + 1) / 2 + place.
    const int block = blockIdx.x;
    int s = static_cast<int>((sqrtf(8.0f * block + 1.0f) - 1.0f) * 0.5f);
    while ((s + 1) * (s + 2) / 2 <= block) ++s;  // the root is rounded; these two make it exact
    while (s * (s + 1) / 2 > block) --s;
    const int place = block - s * (s + 1) / 2;
    const int row0 = (place + tiles - 1 - s) * TILE;
    const int column0 = place * TILE;

    const int thread = threadIdx.x;
    const int tx = thread % (TILE / 2) * 2;
    const int ty = thread / (TILE / 2) * 2;

    float next_a[LOADS], next_b[LOADS];
    const auto fetch = [&](int k0) {
#pragma unroll
        for (int i = 0; i < LOADS; ++i) {
            const int at = thread + i * THREADS;
            const int row = row0 + at / DEPTH, ka = k0 + at % DEPTH;
            const int kb = k0 + at / TILE, column = column0 + at % TILE;
            next_a[i] = row < n && ka < n ? a[static_cast<size_t>(row) * n + ka] : 0.0f;
            next_b[i] = kb < n && column < n ? b[static_cast<size_t>(kb) * n + column] : 0.0f;
        }
    };
    const auto store = [&](int buffer) {
#pragma unroll
        for (int i = 0; i < LOADS; ++i) {
            const int at = thread + i * THREADS;
            tile_a[buffer][at % DEPTH][at / DEPTH] = next_a[i];
            tile_b[buffer][at / TILE][at % TILE] = next_b[i];
        }
    };

    float sum[2][2] = {};
    const int k_end = min(row0 + TILE, n);  // a[i, k] is zero for k > i, b[k, j] for k < j
    int buffer = 0;
    fetch(column0);
    store(0);
    __syncthreads();
    for (int k0 = column0; k0 < k_end; k0 += DEPTH) {
        const bool more = k0 + DEPTH < k_end;
        if (more) fetch(k0 + DEPTH);  // in flight during the arithmetic
#pragma unroll
        for (int kk = 0; kk < DEPTH; ++kk) {
            const float2 left = *reinterpret_cast<const float2*>(&tile_a[buffer][kk][ty]);
            const float2 right = *reinterpret_cast<const float2*>(&tile_b[buffer][kk][tx]);
            sum[0][0] += left.x * right.x;
            sum[0][1] += left.x * right.y;
            sum[1][0] += left.y * right.x;
            sum[1][1] += left.y * right.y;
        }
        if (more) store(buffer ^ 1);
        __syncthreads();  // one barrier a step: the buffer just read is written again only in the step after the next
        buffer ^= 1;
    }
#pragma unroll
    for (int i = 0; i < 2; ++i)
#pragma unroll
        for (int j = 0; j < 2; ++j) {
            const int row = row0 + ty + i, column = column0 + tx + j;
            // What is above the diagonal stays the fill's exact zero, not a sum of products with zeros.
            if (row < n && column <= row) c[static_cast<size_t>(row) * n + column] = sum[i][j];
        }
}
