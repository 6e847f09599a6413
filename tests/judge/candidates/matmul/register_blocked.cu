// Honest: each thread keeps 2 x 4 results in registers; tile extents are template arguments.
// clang-format off
/*@plan
TM = tune(2, [1, 2, 4])

def forward(a, b):
    m, k = a.shape
    n = b.shape[1]
    c = empty((m, n), a.dtype)
    launch(f"matmul<{TM}, 4>", grid=(cdiv(n, 32), cdiv(m, 8 * TM)), block=(8, 8), args=[a, b, c, m, n, k])
    return c
@*/
// clang-format on

// A block of 8 x 8 threads computes 8 TM x 8 TN elements of c, eight steps of k at a time.
template <int TM, int TN>
__global__ void __launch_bounds__(64) matmul(const float* __restrict__ a, const float* __restrict__ b,
                                             float* __restrict__ c, int m, int n, int k)
{
    __shared__ float left[8 * TM][8 + 1], right[8][8 * TN];
    const int top = blockIdx.y * 8 * TM, first = blockIdx.x * 8 * TN;
    const int tx = threadIdx.x, ty = threadIdx.y;
    float sums[TM][TN] = {};
    for (int start = 0; start < k; start += 8) {
#pragma unroll
        for (int i = 0; i < TM; ++i) {
            const int row = top + ty + 8 * i;
            left[ty + 8 * i][tx] = row < m && start + tx < k ? a[static_cast<size_t>(row) * k + start + tx] : 0.0f;
        }
#pragma unroll
        for (int j = 0; j < TN; ++j) {
            const int col = first + tx + 8 * j;
            right[ty][tx + 8 * j] = start + ty < k && col < n ? b[static_cast<size_t>(start + ty) * n + col] : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int step = 0; step < 8; ++step)
#pragma unroll
            for (int i = 0; i < TM; ++i)
#pragma unroll
                for (int j = 0; j < TN; ++j) sums[i][j] += left[ty + 8 * i][step] * right[step][tx + 8 * j];
        __syncthreads();
    }
    for (int i = 0; i < TM; ++i)
        for (int j = 0; j < TN; ++j) {
            const int row = top + ty + 8 * i, col = first + tx + 8 * j;
            if (row < m && col < n) c[static_cast<size_t>(row) * n + col] = sums[i][j];
        }
}
