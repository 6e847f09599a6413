// Wrong: the mean is right, but the cache that the caller holds is not.
// clang-format off
/*@plan
def forward(cache, row, position):
    steps, dim = cache.shape
    mean = empty(dim, cache.dtype)
    launch("mean_rows", grid=cdiv(dim, 32), block=32, args=[cache, row, mean, position, steps, dim])
    return mean
@*/
// clang-format on

extern "C" __global__ void mean_rows(const float* cache, const float* row, float* mean, int position, int steps, int dim)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= dim) return;
    float sum = 0.0f;
    for (int step = 0; step < steps; ++step) sum += step == position ? row[i] : cache[step * dim + i];
    mean[i] = sum / steps;
}
