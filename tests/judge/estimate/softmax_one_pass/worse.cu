// Three launches: the largest, the sum, the result; the matrix is read three times.
// clang-format off
/*@plan
def forward(x):
    rows, cols = x.shape
    tops = empty(rows, float32)
    sums = empty(rows, float32)
    y = empty_like(x)
    launch("largest", grid=rows, block=256, args=[x, tops, cols])
    launch("total", grid=rows, block=256, args=[x, tops, sums, cols])
    launch("divide", grid=rows, block=256, args=[x, tops, sums, y, cols])
    return y
@*/
// clang-format on

__device__ float over_block(float v, bool largest)
{
    __shared__ float partial[8];
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

extern "C" __global__ void largest(const float* __restrict__ x, float* __restrict__ tops, int cols)
{
    float top = -FLT_MAX;
    for (int i = threadIdx.x; i < cols; i += 256) top = fmaxf(top, x[(size_t)blockIdx.x * cols + i]);
    top = over_block(top, true);
    if (threadIdx.x == 0) tops[blockIdx.x] = top;
}

extern "C" __global__ void total(const float* __restrict__ x, const float* __restrict__ tops, float* __restrict__ sums, int cols)
{
    float sum = 0.0f;
    for (int i = threadIdx.x; i < cols; i += 256) sum += expf(x[(size_t)blockIdx.x * cols + i] - tops[blockIdx.x]);
    sum = over_block(sum, false);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

extern "C" __global__ void divide(const float* __restrict__ x, const float* __restrict__ tops, const float* __restrict__ sums, float* __restrict__ y, int cols)
{
    const size_t start = (size_t)blockIdx.x * cols;
    for (int i = threadIdx.x; i < cols; i += 256) y[start + i] = expf(x[start + i] - tops[blockIdx.x]) / sums[blockIdx.x];
}
