// Honest: tiles through shared memory, one column of padding against bank conflicts; each thread moves four rows.
// clang-format off
/*@plan
def forward(x):
    rows, cols = x.shape
    y = empty((cols, rows), x.dtype)
    launch("transpose", grid=(cdiv(cols, 32), cdiv(rows, 32)), block=(32, 8), args=[x, y, rows, cols])
    return y
@*/
// clang-format on

#include <cuda_fp16.h>

extern "C" __global__ void transpose(const __half* __restrict__ x, __half* __restrict__ y, int rows, int cols)
{
    __shared__ __half tile[32][33];
    const int left = blockIdx.x * 32, top = blockIdx.y * 32;
    for (int i = threadIdx.y; i < 32; i += blockDim.y)
        if (top + i < rows && left + threadIdx.x < cols) tile[i][threadIdx.x] = x[(top + i) * cols + left + threadIdx.x];
    __syncthreads();
    for (int i = threadIdx.y; i < 32; i += blockDim.y)
        if (left + i < cols && top + threadIdx.x < rows)
            y[(left + i) * rows + top + threadIdx.x] = __hmul(tile[threadIdx.x][i], __float2half(2.0f));
}
