// A one-dimensional grid of the tiles on and below the diagonal alone, diagonal by diagonal from the far corner: the
// longest sums (k from j to i) start first. Tiles of 64 with 4 by 4 outputs a thread are fine enough to spread the uneven
// work. The upper half is the plan's zeros. Wins at medium n (500 to 3,000), where 128-wide tiles are too few.
// clang-format off
/*@plan
DEPTH = tune(16, [8, 16, 32])
compile(defines={"DEPTH": DEPTH})

def forward(a, b):
    n = a.shape[0]
    c = zeros((n, n), a.dtype)
    tiles = (n + 63) // 64
    launch("matmul", grid=tiles * (tiles + 1) // 2, block=256, args=[a, b, c, n, tiles])
    return c
@*/
// clang-format on

constexpr int TILE = 64;
constexpr int THREADS = 256;

extern "C" __global__ void __launch_bounds__(THREADS)
matmul(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c, int n, int tiles)
{
    __shared__ __align__(16) float tile_a[DEPTH][TILE + 4];  // transposed; padded against bank conflicts
    __shared__ __align__(16) float tile_b[DEPTH][TILE];

    // The s-th diagonal from the corner has s + 1 tiles: block = s (s + 1) / 2 + place.
    const int block = blockIdx.x;
    int s = static_cast<int>((sqrtf(8.0f * block + 1.0f) - 1.0f) * 0.5f);
    while ((s + 1) * (s + 2) / 2 <= block) ++s;  // the root is rounded; these two make it exact
    while (s * (s + 1) / 2 > block) --s;
    const int place = block - s * (s + 1) / 2;
    const int row0 = (place + tiles - 1 - s) * TILE;
    const int column0 = place * TILE;

    const int thread = threadIdx.x;
    const int tx = thread % 16 * 4;
    const int ty = thread / 16 * 4;
    float sum[4][4] = {};
    const int k_end = min(row0 + TILE, n);  // a[i, k] is zero for k > i, b[k, j] for k < j
    for (int k0 = column0; k0 < k_end; k0 += DEPTH) {
        for (int at = thread; at < TILE * DEPTH; at += THREADS) {
            const int row = row0 + at / DEPTH, ka = k0 + at % DEPTH;
            tile_a[at % DEPTH][at / DEPTH] = row < n && ka < n ? a[static_cast<size_t>(row) * n + ka] : 0.0f;
            const int kb = k0 + at / TILE, column = column0 + at % TILE;
            tile_b[at / TILE][at % TILE] = kb < n && column < n ? b[static_cast<size_t>(kb) * n + column] : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int kk = 0; kk < DEPTH; ++kk) {
            const float4 left = *reinterpret_cast<const float4*>(&tile_a[kk][ty]);
            const float4 right = *reinterpret_cast<const float4*>(&tile_b[kk][tx]);
            const float l[4] = {left.x, left.y, left.z, left.w};
            const float r[4] = {right.x, right.y, right.z, right.w};
#pragma unroll
            for (int i = 0; i < 4; ++i)
#pragma unroll
                for (int j = 0; j < 4; ++j) sum[i][j] += l[i] * r[j];
        }
        __syncthreads();  // nobody loads the next tiles while somebody still reads these
    }
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const int row = row0 + ty + i, column = column0 + tx + j;
            // The rest is above the diagonal, where exact zeros stay: the fill's, not a sum of zero products.
            if (row < n && column <= row) c[static_cast<size_t>(row) * n + column] = sum[i][j];
        }
}
