// Honest: lanes that still have a label form a group; its first lane adds for those with the same one.
// clang-format off
/*@plan
def forward(labels):
    n = labels.numel
    counts = zeros(37, int64)
    launch("histogram", grid=cdiv(n, 64), block=64, args=[labels, counts, n])
    return counts
@*/
// clang-format on

#include <cooperative_groups.h>

namespace cg = cooperative_groups;

extern "C" __global__ void histogram(const long long* labels, unsigned long long* counts, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const auto group = cg::coalesced_threads();
    const int bin = static_cast<int>(labels[i]);
    unsigned same = 0;
    for (int rank = 0; rank < group.size(); ++rank)
        if (group.shfl(bin, rank) == bin) same |= 1u << rank;
    if (group.thread_rank() == __ffs(same) - 1) atomicAdd(&counts[bin], static_cast<unsigned long long>(__popc(same)));
}
