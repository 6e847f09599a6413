#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>

namespace cg = cooperative_groups;

extern "C" __global__ void tile_sums(const float *x, float *y, int n) {
    cg::thread_block block = cg::this_thread_block();
    auto tile = cg::tiled_partition<16>(block);
    const int i = blockIdx.x * blockDim.x + block.thread_rank();
    float v = i < n ? x[i] : 0.f;
    const float total = cg::reduce(tile, v, cg::plus<float>());
    for (int d = tile.size() / 2; d > 0; d /= 2) v += tile.shfl_down(v, d);
    block.sync();
    if (tile.thread_rank() == 0) {
        y[2 * (i / 16)] = total;
        y[2 * (i / 16) + 1] = v;
    }
}

// One atomic a warp for the lanes that are together.
extern "C" __global__ void count_odd(const int *x, int *count, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n && x[i] % 2) {
        auto active = cg::coalesced_threads();
        int start = 0;
        if (active.thread_rank() == 0) start = atomicAdd(count, (int)active.size());
        start = active.shfl(start, 0);
        if (start < 0) count[0] = -1;
    }
}

// Steps that each need all of the one before: right only if the barrier holds the whole grid.
extern "C" __global__ void ripple(int *a, int *b, int n, int steps) {
    __shared__ int kept;
    if (threadIdx.x == 0) kept = blockIdx.x * 1000;
    cg::grid_group grid = cg::this_grid();
    const int i = (int)grid.thread_rank();
    for (int s = 0; s < steps; ++s) {
        if (i < n) b[i] = a[(i + 1) % n] + 1;
        grid.sync();
        if (i < n) a[i] = b[i];
        grid.sync();
    }
    if (i < n && kept != blockIdx.x * 1000) a[i] = -1;
}

extern "C" __global__ void half_grid_sync(int *a) {
    if (blockIdx.x == 0) return;
    cg::this_grid().sync();
    a[blockIdx.x] = 1;
}
