// A block for each row, joined by shuffles.
// clang-format off
/*@plan
def forward(x):
    rows, cols = x.shape
    y = empty(rows, float32)
    launch("sums", grid=rows, block=256, args=[x, y, cols])
    return y
@*/
// clang-format on

extern "C" __global__ void sums(const float* __restrict__ x, float* __restrict__ y, int cols)
{
    __shared__ float partial[8];
    float sum = 0.0f;
    for (int i = threadIdx.x; i < cols; i += 256) sum += x[(size_t)blockIdx.x * cols + i];
    for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x > 0) return;
    for (int i = 1; i < 8; ++i) sum += partial[i];
    y[blockIdx.x] = sum;
}
