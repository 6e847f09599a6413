// Tiles of both matrices in shared memory, and four products for each value of b: 32 by 32 outputs a block.
// clang-format off
/*@plan
def forward(a, b):
    m, k = a.shape
    n = b.shape[1]
    c = empty((m, n), float32)
    launch("matmul", grid=(cdiv(n, 32), cdiv(m, 32)), block=(32, 8), args=[a, b, c, m, n, k])
    return c
@*/
// clang-format on

extern "C" __global__ void matmul(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c, int m, int n, int k)
{
    __shared__ float left[32][32], right[32][32];
    const int column = blockIdx.x * 32 + threadIdx.x, first = blockIdx.y * 32 + threadIdx.y;
    float sum[4] = {};
    for (int k0 = 0; k0 < k; k0 += 32) {
        for (int r = 0; r < 32; r += 8) {
            const int row = first + r, at = k0 + threadIdx.y + r;
            left[threadIdx.y + r][threadIdx.x] = row < m && k0 + threadIdx.x < k ? a[(size_t)row * k + k0 + threadIdx.x] : 0.0f;
            right[threadIdx.y + r][threadIdx.x] = at < k && column < n ? b[(size_t)at * n + column] : 0.0f;
        }
        __syncthreads();
        for (int kk = 0; kk < 32; ++kk) {
            const float value = right[kk][threadIdx.x];
            for (int i = 0; i < 4; ++i) sum[i] += left[threadIdx.y + 8 * i][kk] * value;
        }
        __syncthreads();
    }
    for (int i = 0; i < 4; ++i)
        if (first + 8 * i < m && column < n) c[(size_t)(first + 8 * i) * n + column] = sum[i];
}
