// Sixteen outputs a thread in registers: eight values from shared memory serve sixteen products.
// clang-format off
/*@plan
def forward(a, b):
    m, k = a.shape
    n = b.shape[1]
    c = empty((m, n), float32)
    launch("matmul", grid=(cdiv(n, 64), cdiv(m, 64)), block=256, args=[a, b, c, m, n, k])
    return c
@*/
// clang-format on

extern "C" __global__ void matmul(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c, int m, int n, int k)
{
    __shared__ float left[16][64 + 4], right[16][64];
    const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    const int column = blockIdx.x * 64, row = blockIdx.y * 64;
    float sum[4][4] = {};
    for (int k0 = 0; k0 < k; k0 += 16) {
        for (int i = threadIdx.x; i < 16 * 64; i += 256) {
            const int r = i / 16, kk = i % 16;
            left[kk][r] = row + r < m && k0 + kk < k ? a[(size_t)(row + r) * k + k0 + kk] : 0.0f;
            right[i / 64][i % 64] = k0 + i / 64 < k && column + i % 64 < n ? b[(size_t)(k0 + i / 64) * n + column + i % 64] : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int kk = 0; kk < 16; ++kk) {
            float p[4], q[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) p[i] = left[kk][ty + 16 * i], q[i] = right[kk][tx + 16 * i];
#pragma unroll
            for (int i = 0; i < 4; ++i)
#pragma unroll
                for (int j = 0; j < 4; ++j) sum[i][j] += p[i] * q[j];
        }
        __syncthreads();
    }
    for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j)
            if (row + ty + 16 * i < m && column + tx + 16 * j < n) c[(size_t)(row + ty + 16 * i) * n + column + tx + 16 * j] = sum[i][j];
}
