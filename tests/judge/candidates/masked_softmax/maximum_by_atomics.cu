// Honest: the row's maximum by integer atomics on the bits of floats, made so that they order as the floats do.
// clang-format off
/*@plan
def forward(scores, mask):
    rows, cols = scores.shape
    y = empty_like(scores)
    launch("masked_softmax", grid=rows, block=64, args=[scores, mask, y, cols])
    return y
@*/
// clang-format on

__device__ unsigned ordered(float v)
{
    const unsigned bits = __float_as_uint(v);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

__device__ float original(unsigned bits) { return __uint_as_float(bits >> 31 ? bits & 0x7fffffffu : ~bits); }

extern "C" __global__ void masked_softmax(const float* scores, const unsigned char* mask, float* y, int cols)
{
    __shared__ unsigned highest;
    __shared__ float sums[64];
    const size_t start = static_cast<size_t>(blockIdx.x) * cols;
    if (threadIdx.x == 0) highest = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < cols; i += blockDim.x)
        if (mask[start + i]) atomicMax(&highest, ordered(scores[start + i]));
    __syncthreads();
    const float maximum = original(highest);
    float sum = 0.0f;
    for (int i = threadIdx.x; i < cols; i += blockDim.x)
        if (mask[start + i]) sum += expf(scores[start + i] - maximum);
    sums[threadIdx.x] = sum;
    __syncthreads();
    float total = 0.0f;
    for (int other = 0; other < blockDim.x; ++other) total += sums[other];
    for (int i = threadIdx.x; i < cols; i += blockDim.x)
        y[start + i] = mask[start + i] ? expf(scores[start + i] - maximum) / total : 0.0f;
}
