// Honest: counts of a block in shared memory, merged by atomics; integers do not mind the order.
// clang-format off
/*@plan
def forward(labels):
    n = labels.numel
    counts = zeros(37, int64)
    launch("histogram", grid=min(cdiv(n, 128), 4), block=128, args=[labels, counts, n])
    return counts
@*/
// clang-format on

constexpr int BINS = 37;

extern "C" __global__ void histogram(const long long* labels, unsigned long long* counts, int n)
{
    __shared__ unsigned local[BINS];
    for (int bin = threadIdx.x; bin < BINS; bin += blockDim.x) local[bin] = 0;
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        atomicAdd(&local[labels[i]], 1u);
    __syncthreads();
    for (int bin = threadIdx.x; bin < BINS; bin += blockDim.x)
        if (local[bin]) atomicAdd(&counts[bin], static_cast<unsigned long long>(local[bin]));
}
