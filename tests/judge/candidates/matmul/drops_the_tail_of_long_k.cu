// Wrong where a k longer than any that is declared and run is no multiple of eight: the last sums are left out.
// clang-format off
/*@plan
def forward(a, b):
    m, k = a.shape
    n = b.shape[1]
    c = empty((m, n), a.dtype)
    launch("matmul", grid=(cdiv(n, 16), cdiv(m, 16)), block=(16, 16), args=[a, b, c, m, n, k])
    return c
@*/
// clang-format on

constexpr int TILE = 16;

extern "C" __global__ void matmul(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c,
                                  int m, int n, int k)
{
    __shared__ float left[TILE][TILE], right[TILE][TILE];
    const int tx = threadIdx.x, ty = threadIdx.y;
    const int row = blockIdx.y * TILE + ty, col = blockIdx.x * TILE + tx;
    float sum = 0.0f;
    const int most = k > 48 ? k / 8 * 8 : k;
    for (int start = 0; start < most; start += TILE) {
        left[ty][tx] = row < m && start + tx < most ? a[row * k + start + tx] : 0.0f;
        right[ty][tx] = start + ty < most && col < n ? b[(start + ty) * n + col] : 0.0f;
        __syncthreads();
        for (int i = 0; i < TILE; ++i) sum += left[ty][i] * right[i][tx];
        __syncthreads();
    }
    if (row < m && col < n) c[row * n + col] = sum;
}
