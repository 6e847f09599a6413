// Wrong: one launch in which a block writes the row that others read.
// clang-format off
/*@plan
def forward(cache, row, position):
    steps, dim = cache.shape
    mean = empty(dim, cache.dtype)
    launch("append", grid=dim, block=32, args=[cache, row, mean, position, steps, dim])
    return mean
@*/
// clang-format on

// Block i takes column i; block 0 also writes the new row.
extern "C" __global__ void append(float* cache, const float* row, float* mean, int position, int steps, int dim)
{
    if (blockIdx.x == 0)
        for (int i = threadIdx.x; i < dim; i += blockDim.x) cache[position * dim + i] = row[i];
    __syncthreads();
    float sum = 0.0f;
    for (int step = threadIdx.x; step < steps; step += blockDim.x) sum += cache[step * dim + blockIdx.x];
    for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    if (threadIdx.x == 0) mean[blockIdx.x] = sum / steps;
}
