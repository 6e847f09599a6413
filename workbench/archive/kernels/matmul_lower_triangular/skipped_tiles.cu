// Register-blocked tiles on a square grid in which the upper half only writes its zeros. A tile at rows i and columns j
// needs k from j to i alone, since a and b are lower triangular themselves. Rows are taken from the bottom, so that the long
// tiles start first and the short ones fill the gaps. Wins from n = 2,500 or so; needs no pass to clear the output.
// clang-format off
/*@plan
TILE = tune(128, [64, 128])
DEPTH = tune(16, [8, 16])
compile(defines={"TILE": TILE, "DEPTH": DEPTH})

def forward(a, b):
    n = a.shape[0]
    c = empty((n, n), a.dtype)
    tiles = cdiv(n, TILE)
    launch("matmul", grid=(tiles, tiles), block=(TILE // 8) ** 2, args=[a, b, c, n])
    return c
@*/
// clang-format on

constexpr int THREADS = TILE / 8 * (TILE / 8);
constexpr int LOADS = TILE * DEPTH / 4 / THREADS;  // float4 loads of each matrix by a thread, for one step in k
constexpr int PAD = 4;                              // a is stored transposed; without it the stores share banks

// Four neighbouring elements of a row-major matrix, zeros outside of it. `vector`: the matrix's rows start on 16 bytes.
__device__ __forceinline__ float4 load4(const float* __restrict__ matrix, int row, int column, int rows, int columns,
                                        bool vector)
{
    const float* p = matrix + static_cast<size_t>(row) * columns + column;
    float4 v = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (row < rows) {
        if (vector) {
            if (column < columns) v = *reinterpret_cast<const float4*>(p);
        } else {
            if (column < columns) v.x = p[0];
            if (column + 1 < columns) v.y = p[1];
            if (column + 2 < columns) v.z = p[2];
            if (column + 3 < columns) v.w = p[3];
        }
    }
    return v;
}

extern "C" __global__ void __launch_bounds__(THREADS)
matmul(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c, int n)
{
    const int m = n, k = n;
    const int row0 = (gridDim.y - 1 - blockIdx.y) * TILE;
    const int column0 = blockIdx.x * TILE;
    if (column0 > row0) {  // above the diagonal, as a whole
        for (int at = threadIdx.x; at < TILE * TILE; at += THREADS) {
            const int row = row0 + at / TILE, column = column0 + at % TILE;
            if (row < n && column < n) c[static_cast<size_t>(row) * n + column] = 0.0f;
        }
        return;
    }
    const int k_begin = column0;                // b[k, j] is zero for k < j
    const int k_end = min(row0 + TILE, n);      // a[i, k] is zero for k > i
    __shared__ __align__(16) float tile_a[2][DEPTH][TILE + PAD];
    __shared__ __align__(16) float tile_b[2][DEPTH][TILE];
    const int thread = threadIdx.x;
    const int tx = thread % (TILE / 8) * 4;
    const int ty = thread / (TILE / 8) * 4;
    const bool vector_a = k % 4 == 0;
    const bool vector_b = n % 4 == 0;

    float4 next_a[LOADS], next_b[LOADS];
    const auto fetch = [&](int k0) {
#pragma unroll
        for (int i = 0; i < LOADS; ++i) {
            const int at = thread + i * THREADS;
            next_a[i] = load4(a, row0 + at / (DEPTH / 4), k0 + at % (DEPTH / 4) * 4, m, k, vector_a);
            next_b[i] = load4(b, k0 + at / (TILE / 4), column0 + at % (TILE / 4) * 4, k, n, vector_b);
        }
    };
    const auto store = [&](int buffer) {
#pragma unroll
        for (int i = 0; i < LOADS; ++i) {
            const int at = thread + i * THREADS;
            const int r = at / (DEPTH / 4), kk = at % (DEPTH / 4) * 4;
            tile_a[buffer][kk][r] = next_a[i].x;
            tile_a[buffer][kk + 1][r] = next_a[i].y;
            tile_a[buffer][kk + 2][r] = next_a[i].z;
            tile_a[buffer][kk + 3][r] = next_a[i].w;
            *reinterpret_cast<float4*>(&tile_b[buffer][at / (TILE / 4)][at % (TILE / 4) * 4]) = next_b[i];
        }
    };

    float sum[8][8] = {};
    fetch(k_begin);
    store(0);
    __syncthreads();
    int buffer = 0;
    for (int k0 = k_begin; k0 < k_end; k0 += DEPTH) {
        const bool more = k0 + DEPTH < k_end;
        if (more) fetch(k0 + DEPTH);  // in flight during the arithmetic
#pragma unroll
        for (int kk = 0; kk < DEPTH; ++kk) {
            // Halves that lie TILE/2 apart: the warp's float4 reads then touch all banks evenly.
            const float4 a0 = *reinterpret_cast<const float4*>(&tile_a[buffer][kk][ty]);
            const float4 a1 = *reinterpret_cast<const float4*>(&tile_a[buffer][kk][ty + TILE / 2]);
            const float4 b0 = *reinterpret_cast<const float4*>(&tile_b[buffer][kk][tx]);
            const float4 b1 = *reinterpret_cast<const float4*>(&tile_b[buffer][kk][tx + TILE / 2]);
            const float left[8] = {a0.x, a0.y, a0.z, a0.w, a1.x, a1.y, a1.z, a1.w};
            const float right[8] = {b0.x, b0.y, b0.z, b0.w, b1.x, b1.y, b1.z, b1.w};
#pragma unroll
            for (int i = 0; i < 8; ++i)
#pragma unroll
                for (int j = 0; j < 8; ++j) sum[i][j] += left[i] * right[j];
        }
        if (more) store(buffer ^ 1);
        __syncthreads();  // one barrier a step: the buffer just read is written again only in the step after the next
        buffer ^= 1;
    }

#pragma unroll
    for (int i = 0; i < 8; ++i) {
        const int row = row0 + ty + (i < 4 ? i : TILE / 2 + i - 4);
        if (row >= m) continue;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int column = column0 + tx + half * (TILE / 2);
            float* p = c + static_cast<size_t>(row) * n + column;
            float s[4];
#pragma unroll
            for (int j = 0; j < 4; ++j) s[j] = column + j <= row ? sum[i][4 * half + j] : 0.0f;
            if (vector_b) {
                if (column < n) *reinterpret_cast<float4*>(p) = make_float4(s[0], s[1], s[2], s[3]);
            } else {
#pragma unroll
                for (int j = 0; j < 4; ++j)
                    if (column + j < n) p[j] = s[j];
            }
        }
    }
}
