// One output a thread: every product takes two values from shared memory.
// clang-format off
/*@plan
def forward(a, b):
    m, k = a.shape
    n = b.shape[1]
    c = empty((m, n), float32)
    launch("matmul", grid=(cdiv(n, 16), cdiv(m, 16)), block=(16, 16), args=[a, b, c, m, n, k])
    return c
@*/
// clang-format on

extern "C" __global__ void matmul(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c, int m, int n, int k)
{
    __shared__ float left[16][16], right[16][16];
    const int column = blockIdx.x * 16 + threadIdx.x, row = blockIdx.y * 16 + threadIdx.y;
    float sum = 0.0f;
    for (int k0 = 0; k0 < k; k0 += 16) {
        left[threadIdx.y][threadIdx.x] = row < m && k0 + threadIdx.x < k ? a[(size_t)row * k + k0 + threadIdx.x] : 0.0f;
        right[threadIdx.y][threadIdx.x] = k0 + threadIdx.y < k && column < n ? b[(size_t)(k0 + threadIdx.y) * n + column] : 0.0f;
        __syncthreads();
        for (int kk = 0; kk < 16; ++kk) sum += left[threadIdx.y][kk] * right[kk][threadIdx.x];
        __syncthreads();
    }
    if (row < m && column < n) c[(size_t)row * n + column] = sum;
}
