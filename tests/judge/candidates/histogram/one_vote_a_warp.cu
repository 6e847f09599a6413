// Honest: lanes with the same class find each other, and one adds for all of them.
// clang-format off
/*@plan
def forward(labels):
    n = labels.numel
    counts = zeros(37, int64)
    launch("histogram", grid=min(cdiv(n, 128), 4), block=128, args=[labels, counts, n])
    return counts
@*/
// clang-format on

extern "C" __global__ void histogram(const long long* labels, unsigned long long* counts, int n)
{
    for (int start = blockIdx.x * blockDim.x; start < n; start += gridDim.x * blockDim.x) {
        const int i = start + threadIdx.x;
        const int bin = i < n ? static_cast<int>(labels[i]) : -1;
        const unsigned same = __match_any_sync(0xffffffffu, bin);
        if (bin >= 0 && threadIdx.x % 32 == __ffs(same) - 1)
            atomicAdd(&counts[bin], static_cast<unsigned long long>(__popc(same)));
    }
}
