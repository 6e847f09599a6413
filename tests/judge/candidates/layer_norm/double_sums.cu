// Honest: E[x^2] - E[x]^2, which in double has digits to spare.
// clang-format off
/*@plan
def forward(x, norm_weight, norm_bias, norm_eps):
    rows, cols = x.shape
    y = empty_like(x)
    launch("layer_norm", grid=rows, block=128, args=[x, norm_weight, norm_bias, y, cols, norm_eps])
    return y
@*/
// clang-format on

__device__ double warp_sum(double value)
{
    for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
    return value;
}

extern "C" __global__ void layer_norm(const float* __restrict__ x, const float* __restrict__ weight,
                                      const float* __restrict__ bias, float* __restrict__ y, int cols, float eps)
{
    __shared__ double sums[4], squares[4];
    x += static_cast<size_t>(blockIdx.x) * cols;
    y += static_cast<size_t>(blockIdx.x) * cols;

    double sum = 0.0, square = 0.0;
    for (int i = threadIdx.x; i < cols; i += blockDim.x) {
        const double v = x[i];
        sum += v;
        square += v * v;
    }
    sum = warp_sum(sum);
    square = warp_sum(square);
    if (threadIdx.x % 32 == 0) {
        sums[threadIdx.x / 32] = sum;
        squares[threadIdx.x / 32] = square;
    }
    __syncthreads();
    const double mean = (sums[0] + sums[1] + sums[2] + sums[3]) / cols;
    const double variance = (squares[0] + squares[1] + squares[2] + squares[3]) / cols - mean * mean;
    const float scale = 1.0 / sqrt(fmax(variance, 0.0) + eps);
    for (int i = threadIdx.x; i < cols; i += blockDim.x)
        y[i] = static_cast<float>(x[i] - mean) * scale * weight[i] + bias[i];
}
