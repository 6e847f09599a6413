// Honest: compiled for each size, and odd ones are left to library steps, which need no build at all.
// clang-format off
/*@plan
def forward(a, b, bias):
    n = a.shape[0]
    compile(defines={"N": n})
    product = torch_op("aten.mm", a, b)
    if n % 2:
        return torch_op("aten.relu", torch_op("aten.add", product, bias))
    y = empty(product.shape, float32)
    launch("bias_relu", grid=cdiv(y.numel, 128), block=128, args=[product, bias, y])
    return y
@*/
// clang-format on

extern "C" __global__ void bias_relu(const float* product, const float* bias, float* y)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < N * N) y[i] = fmaxf(product[i] + bias[i % N], 0.0f);
}
