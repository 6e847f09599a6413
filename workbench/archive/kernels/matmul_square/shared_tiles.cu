// The classic: tiles of both matrices in shared memory, each value used TILE times once it is there; every thread adds up
// four outputs of one column, so one value of b serves four products. Wins on small matrices (up to some 500), where larger
// tiles would leave most multiprocessors idle, and is short enough to start from.
// clang-format off
/*@plan
TILE = tune(32, [16, 32])
compile(defines={"TILE": TILE})

def forward(a, b):
    m, k = a.shape
    n = b.shape[1]
    c = empty((m, n), a.dtype)
    launch("matmul", grid=(cdiv(n, TILE), cdiv(m, TILE)), block=(TILE, TILE // 4),
           args=[a, b, c, m, n, k])
    return c
@*/
// clang-format on

extern "C" __global__ void __launch_bounds__(TILE * TILE / 4)
matmul(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c, int m, int n, int k)
{
    constexpr int STEP = TILE / 4;  // rows of threads; a thread's outputs are STEP rows apart
    __shared__ float tile_a[TILE][TILE];
    __shared__ float tile_b[TILE][TILE];
    const int column = blockIdx.x * TILE + threadIdx.x;
    const int first_row = blockIdx.y * TILE + threadIdx.y;

    float sum[4] = {};
    for (int k0 = 0; k0 < k; k0 += TILE) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int r = threadIdx.y + i * STEP;
            const int row = first_row + i * STEP;
            tile_a[r][threadIdx.x] = row < m && k0 + threadIdx.x < k
                                         ? a[static_cast<size_t>(row) * k + k0 + threadIdx.x] : 0.0f;
            tile_b[r][threadIdx.x] = k0 + r < k && column < n ? b[static_cast<size_t>(k0 + r) * n + column] : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int kk = 0; kk < TILE; ++kk) {
            const float right = tile_b[kk][threadIdx.x];
#pragma unroll
            for (int i = 0; i < 4; ++i) sum[i] += tile_a[threadIdx.y + i * STEP][kk] * right;
        }
        __syncthreads();  // nobody loads the next tiles while somebody still reads these
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const int row = first_row + i * STEP;
        if (row < m && column < n) c[static_cast<size_t>(row) * n + column] = sum[i];
    }
}
