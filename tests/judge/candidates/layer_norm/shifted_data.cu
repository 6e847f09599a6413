// Honest: one pass over the row, shifted by the mean of its first elements, so that nothing cancels. By the first element
// alone it would lose digits where that is an outlier.
// clang-format off
/*@plan
def forward(x, norm_weight, norm_bias, norm_eps):
    rows, cols = x.shape
    y = empty_like(x)
    launch("layer_norm", grid=rows, block=128, args=[x, norm_weight, norm_bias, y, cols, norm_eps])
    return y
@*/
// clang-format on

// The sum of one value a thread, for every thread of the block; `partial` may be used again afterwards.
__device__ float block_sum(float value, float* partial)
{
    for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
    __syncthreads();
    value = 0.0f;
    for (int warp = 0; warp < blockDim.x / 32; ++warp) value += partial[warp];
    __syncthreads();
    return value;
}

extern "C" __global__ void layer_norm(const float* __restrict__ x, const float* __restrict__ weight,
                                      const float* __restrict__ bias, float* __restrict__ y, int cols, float eps)
{
    __shared__ float partial[4];
    x += static_cast<size_t>(blockIdx.x) * cols;
    y += static_cast<size_t>(blockIdx.x) * cols;

    float shift = x[min(static_cast<int>(threadIdx.x % 32), cols - 1)];
    for (int offset = 16; offset > 0; offset /= 2) shift += __shfl_xor_sync(0xffffffffu, shift, offset);
    shift /= 32.0f;
    float sum = 0.0f, squares = 0.0f;
    for (int i = threadIdx.x; i < cols; i += blockDim.x) {
        const float away = x[i] - shift;
        sum += away;
        squares += away * away;
    }
    const float away = block_sum(sum, partial) / cols;
    const float variance = fmaxf(block_sum(squares, partial) / cols - away * away, 0.0f);
    const float mean = shift + away, scale = rsqrtf(variance + eps);

    for (int i = threadIdx.x; i < cols; i += blockDim.x) y[i] = (x[i] - mean) * scale * weight[i] + bias[i];
}
