// Honest: E[x^2] - E[x]^2 in double, where it is safe: one pass, and an offset of 1,000 deviations costs 20 of 53 bits.
// clang-format off
/*@plan
BLOCK = 128
compile(defines={"BLOCK": BLOCK})

def forward(x, weight, bias, eps):
    cols = x.shape[-1]
    rows = x.numel // cols
    y = empty_like(x)
    launch("layernorm", grid=rows, block=BLOCK, args=[x, weight, bias, y, cols, eps])
    return y
@*/
// clang-format on

extern "C" __global__ void __launch_bounds__(BLOCK)
layernorm(const float* __restrict__ x, const float* __restrict__ weight, const float* __restrict__ bias,
          float* __restrict__ y, int cols, float eps)
{
    __shared__ double sums[BLOCK];
    __shared__ double squares[BLOCK];
    const size_t row = static_cast<size_t>(blockIdx.x) * cols;
    double sum = 0.0;
    double square = 0.0;
    for (int i = threadIdx.x; i < cols; i += BLOCK) {
        const double v = x[row + i];
        sum += v;
        square += v * v;
    }
    sums[threadIdx.x] = sum;
    squares[threadIdx.x] = square;
    __syncthreads();
    for (int half = BLOCK / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) {
            sums[threadIdx.x] += sums[threadIdx.x + half];
            squares[threadIdx.x] += squares[threadIdx.x + half];
        }
        __syncthreads();
    }
    const double mean = sums[0] / cols;
    const double variance = squares[0] / cols - mean * mean;
    const float scale = static_cast<float>(1.0 / sqrt(fmax(variance, 0.0) + eps));
    for (int i = threadIdx.x; i < cols; i += BLOCK)
        y[row + i] = static_cast<float>(x[row + i] - mean) * scale * weight[i] + bias[i];
}
