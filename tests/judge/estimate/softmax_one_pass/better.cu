// A block for each row, which stays in shared memory between the passes.
// clang-format off
/*@plan
def forward(x):
    rows, cols = x.shape
    y = empty_like(x)
    launch("softmax", grid=rows, block=256, args=[x, y, cols], shared=4 * cols)
    return y
@*/
// clang-format on

__device__ float over_block(float v, float* partial, bool largest)
{
    for (int offset = 16; offset > 0; offset /= 2) {
        const float other = __shfl_xor_sync(0xffffffffu, v, offset);
        v = largest ? fmaxf(v, other) : v + other;
    }
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = v;
    __syncthreads();
    v = partial[0];
    for (int i = 1; i < 8; ++i) v = largest ? fmaxf(v, partial[i]) : v + partial[i];
    return v;
}

extern "C" __global__ void softmax(const float* __restrict__ x, float* __restrict__ y, int cols)
{
    extern __shared__ float row[];
    __shared__ float tops[8], sums[8];
    const size_t start = (size_t)blockIdx.x * cols;
    float top = -FLT_MAX;
    for (int i = threadIdx.x; i < cols; i += 256) top = fmaxf(top, row[i] = x[start + i]);
    top = over_block(top, tops, true);
    float sum = 0.0f;
    for (int i = threadIdx.x; i < cols; i += 256) sum += row[i] = expf(row[i] - top);
    sum = over_block(sum, sums, false);
    for (int i = threadIdx.x; i < cols; i += 256) y[start + i] = row[i] / sum;
}
