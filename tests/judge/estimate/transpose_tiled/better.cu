// Through a tile in shared memory, so that reads and writes are both coalesced.
// clang-format off
/*@plan
def forward(x):
    rows, cols = x.shape
    y = empty((cols, rows), float32)
    launch("transpose", grid=(cdiv(cols, 32), cdiv(rows, 32)), block=(32, 8), args=[x, y, rows, cols])
    return y
@*/
// clang-format on

extern "C" __global__ void transpose(const float* __restrict__ x, float* __restrict__ y, int rows, int cols)
{
    __shared__ float tile[32][33];
    int column = blockIdx.x * 32 + threadIdx.x, row = blockIdx.y * 32 + threadIdx.y;
    for (int i = 0; i < 32; i += 8)
        if (row + i < rows && column < cols) tile[threadIdx.y + i][threadIdx.x] = x[(size_t)(row + i) * cols + column];
    __syncthreads();
    column = blockIdx.y * 32 + threadIdx.x, row = blockIdx.x * 32 + threadIdx.y;
    for (int i = 0; i < 32; i += 8)
        if (row + i < cols && column < rows) y[(size_t)(row + i) * rows + column] = tile[threadIdx.x][threadIdx.y + i];
}
