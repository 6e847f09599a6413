// A block for each column: the lanes of a warp are a row apart.
// clang-format off
/*@plan
def forward(x):
    rows, cols = x.shape
    y = empty(cols, float32)
    launch("sums", grid=cols, block=128, args=[x, y, rows, cols])
    return y
@*/
// clang-format on

extern "C" __global__ void sums(const float* __restrict__ x, float* __restrict__ y, int rows, int cols)
{
    __shared__ float partial[4];
    float sum = 0.0f;
    for (int row = threadIdx.x; row < rows; row += 128) sum += x[(size_t)row * cols + blockIdx.x];
    for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x == 0) y[blockIdx.x] = partial[0] + partial[1] + partial[2] + partial[3];
}
