// Inaccurate: the row's factor keeps ten bits of its mantissa, as if it had come through a tensor core.
// clang-format off
/*@plan
def forward(x, weight, eps):
    rows, cols = x.shape
    y = empty_like(x)
    launch("rms_norm", grid=rows, block=128, args=[x, weight, y, cols, eps])
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

extern "C" __global__ void rms_norm(const float* x, const float* w, float* y, int cols, float eps)
{
    __shared__ float partial[4];
    x += static_cast<size_t>(blockIdx.x) * cols;
    y += static_cast<size_t>(blockIdx.x) * cols;

    float sum = 0.0f;
    for (int i = threadIdx.x; i < cols; i += blockDim.x) sum += x[i] * x[i];
    const unsigned factor = __float_as_uint(rsqrtf(block_sum(sum, partial) / cols + eps));
    const float scale = __uint_as_float((factor + 0x1000u) & 0xffffe000u);
    for (int i = threadIdx.x; i < cols; i += blockDim.x) y[i] = x[i] * scale * w[i];
}
