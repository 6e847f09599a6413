// Honest: k in four parts, each to its own scratch; a second kernel adds them in a fixed order.
// clang-format off
/*@plan
PARTS = 4

def forward(a, b):
    m, k = a.shape
    n = b.shape[1]
    parts = empty((PARTS, m, n), a.dtype)
    c = empty((m, n), a.dtype)
    launch("partial", grid=(cdiv(n, 16), cdiv(m, 16), PARTS), block=(16, 16), args=[a, b, parts, m, n, k])
    launch("total", grid=cdiv(m * n, 128), block=128, args=[parts, c, m * n, PARTS])
    return c
@*/
// clang-format on

extern "C" __global__ void partial(const float* a, const float* b, float* parts, int m, int n, int k)
{
    const int row = blockIdx.y * blockDim.y + threadIdx.y, col = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= m || col >= n) return;
    const int share = (k + gridDim.z - 1) / gridDim.z;
    const int begin = blockIdx.z * share, end = min(begin + share, k);
    float sum = 0.0f;
    for (int i = begin; i < end; ++i) sum += a[row * k + i] * b[i * n + col];
    parts[(static_cast<size_t>(blockIdx.z) * m + row) * n + col] = sum;
}

extern "C" __global__ void total(const float* parts, float* c, int elements, int count)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= elements) return;
    float sum = 0.0f;
    for (int part = 0; part < count; ++part) sum += parts[static_cast<size_t>(part) * elements + i];
    c[i] = sum;
}
