// Honest: PyTorch multiplies, an own kernel adds the bias and the ReLU; the verdict lists the step.
// clang-format off
/*@plan
def forward(a, b, bias):
    product = torch_op("aten.mm", a, b)
    y = empty(product.shape, float32)
    launch("bias_relu", grid=cdiv(y.numel, 128), block=128, args=[product, bias, y, y.numel, y.shape[-1]])
    return y
@*/
// clang-format on

extern "C" __global__ void bias_relu(const float* product, const float* bias, float* y, int n, int cols)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = fmaxf(product[i] + bias[i % cols], 0.0f);
}
