// Wrong: leaves the bias out, which is zero until it is redrawn.
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

    float sum = 0.0f;
    for (int i = threadIdx.x; i < cols; i += blockDim.x) sum += x[i];
    const float mean = block_sum(sum, partial) / cols;

    float squares = 0.0f;
    for (int i = threadIdx.x; i < cols; i += blockDim.x) {
        const float away = x[i] - mean;
        squares += away * away;
    }
    const float scale = rsqrtf(block_sum(squares, partial) / cols + eps);

    for (int i = threadIdx.x; i < cols; i += blockDim.x) y[i] = (x[i] - mean) * scale * weight[i];
}
