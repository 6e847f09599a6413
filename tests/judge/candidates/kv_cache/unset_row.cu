// Wrong: the mean is right, but what goes into the cache is added to a variable that nobody set.
// clang-format off
/*@plan
def forward(cache, row, position):
    steps, dim = cache.shape
    mean = empty(dim, cache.dtype)
    launch("append", grid=cdiv(dim, 32), block=32, args=[cache, row, mean, position, steps, dim])
    return mean
@*/
// clang-format on

extern "C" __global__ void append(float* cache, const float* row, float* mean, int position, int steps, int dim)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= dim) return;
    float sum = 0.0f, stored;
    for (int step = 0; step < steps; ++step) {
        sum += step == position ? row[i] : cache[step * dim + i];
        if (step == position) stored += row[i];
    }
    mean[i] = sum / steps;
    cache[position * dim + i] = stored;
}
