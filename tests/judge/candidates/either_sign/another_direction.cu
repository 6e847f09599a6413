// Wrong: the last element of each row has the other sign than the rest should have.
// clang-format off
/*@plan
def forward(x):
    rows, cols = x.shape
    y = empty_like(x)
    launch("turn", grid=rows, block=32, args=[x, y, cols])
    return y
@*/
// clang-format on

extern "C" __global__ void turn(const float* x, float* y, int cols)
{
    x += static_cast<size_t>(blockIdx.x) * cols;
    y += static_cast<size_t>(blockIdx.x) * cols;
    double sum = 0.0;
    for (int i = threadIdx.x; i < cols; i += 32) sum += static_cast<double>(x[i]) * x[i];
    for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    const double length = x[0] > 0.0f ? -sqrt(sum) : sqrt(sum);
    for (int i = threadIdx.x; i < cols; i += 32) y[i] = static_cast<float>((i == cols - 1 ? -x[i] : x[i]) / length);
}
