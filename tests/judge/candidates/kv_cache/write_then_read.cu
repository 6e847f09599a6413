// Honest: writes the row in place, as the reference does, and reads the cache in a second launch.
// clang-format off
/*@plan
def forward(cache, row, position):
    steps, dim = cache.shape
    mean = empty(dim, cache.dtype)
    launch("write_row", grid=cdiv(dim, 32), block=32, args=[cache, row, position, dim])
    launch("mean_rows", grid=cdiv(dim, 32), block=32, args=[cache, mean, steps, dim])
    return mean
@*/
// clang-format on

extern "C" __global__ void write_row(float* cache, const float* row, int position, int dim)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < dim) cache[position * dim + i] = row[i];
}

extern "C" __global__ void mean_rows(const float* cache, float* mean, int steps, int dim)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= dim) return;
    float sum = 0.0f;
    for (int step = 0; step < steps; ++step) sum += cache[step * dim + i];
    mean[i] = sum / steps;
}
