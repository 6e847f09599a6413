// Honest: Welford's update in each thread, joined by Chan's formula in shared memory.
// clang-format off
/*@plan
def forward(x, norm_weight, norm_bias, norm_eps):
    rows, cols = x.shape
    y = empty_like(x)
    launch("layer_norm", grid=rows, block=128, args=[x, norm_weight, norm_bias, y, cols, norm_eps])
    return y
@*/
// clang-format on

struct Moments {
    float count, mean, spread;
};

__device__ Moments join(Moments a, Moments b)
{
    const float count = a.count + b.count;
    if (count == 0.0f) return a;  // two threads without an element
    const float delta = b.mean - a.mean;
    return {count, a.mean + delta * b.count / count, a.spread + b.spread + delta * delta * a.count * b.count / count};
}

extern "C" __global__ void layer_norm(const float* __restrict__ x, const float* __restrict__ weight,
                                      const float* __restrict__ bias, float* __restrict__ y, int cols, float eps)
{
    __shared__ Moments seen[128];
    x += static_cast<size_t>(blockIdx.x) * cols;
    y += static_cast<size_t>(blockIdx.x) * cols;

    Moments mine = {0.0f, 0.0f, 0.0f};
    for (int i = threadIdx.x; i < cols; i += blockDim.x) {
        const float delta = x[i] - mine.mean;
        mine.count += 1.0f;
        mine.mean += delta / mine.count;
        mine.spread += delta * (x[i] - mine.mean);
    }
    seen[threadIdx.x] = mine;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) seen[threadIdx.x] = join(seen[threadIdx.x], seen[threadIdx.x + half]);
        __syncthreads();
    }
    const float mean = seen[0].mean, scale = rsqrtf(seen[0].spread / cols + eps);
    for (int i = threadIdx.x; i < cols; i += blockDim.x) y[i] = (x[i] - mean) * scale * weight[i] + bias[i];
}
