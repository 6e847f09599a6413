// Wrong: what is above the diagonal is not written, on the hope that new memory is zero.
// clang-format off
/*@plan
def forward(a, b):
    n = a.shape[0]
    c = empty_like(a)
    launch("product", grid=(cdiv(n, 16), cdiv(n, 8)), block=(16, 8), args=[a, b, c, n])
    return c
@*/
// clang-format on

extern "C" __global__ void product(const float* a, const float* b, float* c, int n)
{
    const int i = blockIdx.y * blockDim.y + threadIdx.y, j = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n || j > i) return;
    float sum = 0.0f;
    for (int k = j; k <= i; ++k) sum += a[i * n + k] * b[k * n + j];
    c[i * n + j] = sum;
}
