// Refused: a PyTorch extension as models write them, with its launch in host code.
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

#include <torch/extension.h>

__global__ void matmul(const float* a, const float* b, float* c, int m, int n, int k)
{
    const int row = blockIdx.y * blockDim.y + threadIdx.y, col = blockIdx.x * blockDim.x + threadIdx.x;
    float sum = 0.0f;
    for (int i = 0; i < k; ++i) sum += a[row * k + i] * b[i * n + col];
    if (row < m && col < n) c[row * n + col] = sum;
}

torch::Tensor forward(torch::Tensor a, torch::Tensor b)
{
    return torch::matmul(a, b);
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) { module.def("forward", &forward); }
