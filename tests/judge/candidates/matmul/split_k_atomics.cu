// Honest: k in four parts, added to a zeroed result by float atomics in any order.
// clang-format off
/*@plan
def forward(a, b):
    m, k = a.shape
    n = b.shape[1]
    c = zeros((m, n), a.dtype)
    launch("matmul", grid=(cdiv(n, 16), cdiv(m, 16), 4), block=(16, 16), args=[a, b, c, m, n, k])
    return c
@*/
// clang-format on

extern "C" __global__ void matmul(const float* a, const float* b, float* c, int m, int n, int k)
{
    const int row = blockIdx.y * blockDim.y + threadIdx.y, col = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= m || col >= n) return;
    const int share = (k + gridDim.z - 1) / gridDim.z;
    const int begin = blockIdx.z * share, end = min(begin + share, k);
    float sum = 0.0f;
    for (int i = begin; i < end; ++i) sum += a[row * k + i] * b[i * n + col];
    atomicAdd(&c[row * n + col], sum);
}
