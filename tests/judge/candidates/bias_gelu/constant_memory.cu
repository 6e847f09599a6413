// Honest: the formula's coefficients in constant memory, which nobody writes.
// clang-format off
/*@plan
def forward(x, bias, factor):
    rows, cols = x.shape
    y = empty_like(x)
    launch("bias_gelu", grid=rows, block=64, args=[x, bias, y, cols, factor])
    return y
@*/
// clang-format on

__constant__ float COEFFICIENTS[3] = {0.5f, 0.7978845608f, 0.044715f};

extern "C" __global__ void bias_gelu(const float* x, const float* bias, float* y, int cols, float factor)
{
    const size_t row = static_cast<size_t>(blockIdx.x) * cols;
    for (int col = threadIdx.x; col < cols; col += blockDim.x) {
        const float v = x[row + col] + bias[col];
        const float inner = COEFFICIENTS[1] * (v + COEFFICIENTS[2] * v * v * v);
        y[row + col] = factor * COEFFICIENTS[0] * v * (1.0f + tanhf(inner));
    }
}
