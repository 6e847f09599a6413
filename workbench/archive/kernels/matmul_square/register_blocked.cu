// Each thread keeps an 8 by 8 block of outputs in registers: 64 multiply-adds for 16 values from shared memory. The next
// tiles are fetched from global memory while the present ones are used (two buffers, one barrier a step). Wins from
// n = 1,000 or so, where there are tiles enough to fill the multiprocessors.
// clang-format off
/*@plan
TILE = tune(128, [64, 128])
DEPTH = tune(16, [8, 16])
compile(defines={"TILE": TILE, "DEPTH": DEPTH})

def forward(a, b):
    m, k = a.shape
    n = b.shape[1]
    c = empty((m, n), a.dtype)
    launch("matmul", grid=(cdiv(n, TILE), cdiv(m, TILE)), block=(TILE // 8) ** 2,
           args=[a, b, c, m, n, k])
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
matmul(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c, int m, int n, int k)
{
    const int row0 = blockIdx.y * TILE;
    const int column0 = blockIdx.x * TILE;
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
    fetch(0);
    store(0);
    __syncthreads();
    int buffer = 0;
    for (int k0 = 0; k0 < k; k0 += DEPTH) {
        const bool more = k0 + DEPTH < k;
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
            const float* s = &sum[i][4 * half];
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
