// Kernels for the instrumented build. What is wrong in each stands in a comment; the others are honest.
#include <cooperative_groups.h>
namespace cg = cooperative_groups;

// --- wrong ---

// Each thread reads its neighbour's element before all have written.
__global__ void missing_barrier(const float *x, float *y) {
    __shared__ float tile[64];
    tile[threadIdx.x] = x[threadIdx.x];
    y[threadIdx.x] = tile[63 - threadIdx.x];  // race: reads
}

// The second round overwrites what others still read.
__global__ void missing_second_barrier(const float *x, float *y) {
    __shared__ float tile[64];
    float sum = 0;
    for (int round = 0; round < 2; ++round) {
        tile[threadIdx.x] = x[threadIdx.x + 64 * round];  // race: writes
        __syncthreads();
        sum += tile[63 - threadIdx.x];
    }
    y[threadIdx.x] = sum;
}

__global__ void one_too_far(const float *x, float *y) {
    __shared__ float tile[64];
    __shared__ float other[64];
    tile[threadIdx.x] = x[threadIdx.x];
    other[threadIdx.x] = 1;
    __syncthreads();
    y[threadIdx.x] = tile[threadIdx.x + 1] * other[threadIdx.x];  // one too far
}

__global__ void dynamic_too_far(const float *x, float *y) {
    extern __shared__ float tile[];
    tile[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = tile[threadIdx.x + 1];  // dynamic too far
}

__global__ void into_slack(const float *x, float *y, int n) {
    if (threadIdx.x == 0) y[0] = x[n];  // into the slack
}

__global__ void shared_accumulator(const float *x, float *y) {
    __shared__ float sum[2];
    atomicAdd(&sum[threadIdx.x & 1], x[threadIdx.x]);  // never zeroed
    __syncthreads();
    if (threadIdx.x < 2) y[threadIdx.x] = sum[threadIdx.x];
}

__global__ void scratch_accumulator(const float *x, float *scratch, float *y) {
    scratch[threadIdx.x] += x[threadIdx.x];  // nobody wrote it
    y[threadIdx.x] = scratch[threadIdx.x];
}

// Every block adds to the same place without atomics.
__global__ void between_blocks(const float *x, float *y) {
    if (threadIdx.x == 0) y[0] += x[blockIdx.x];  // blocks race
}

// Reads a neighbouring block's result.
__global__ void neighbour_block(const float *x, float *scratch, float *y) {
    scratch[blockIdx.x] = x[blockIdx.x];
    if (blockIdx.x > 0) y[blockIdx.x] = scratch[blockIdx.x - 1];  // reads another block's
}

__global__ void histogram_missing_barrier(const int *x, int *y) {
    __shared__ int bins[32];
    if (threadIdx.x < 32) bins[threadIdx.x] = 0;
    __syncthreads();
    atomicAdd(&bins[x[threadIdx.x]], 1);
    if (threadIdx.x < 32) y[threadIdx.x] = bins[threadIdx.x];  // read beside atomics
}

// --- harmless, but said ---

__global__ void same_value(float *y, const float *x) {
    __shared__ float total;
    total = 3.f;
    __syncthreads();
    y[threadIdx.x] = total;
    y[64] = 7.f;
}

// --- honest ---

__global__ void with_barriers(const float *x, float *y) {
    __shared__ float tile[64];
    float sum = 0;
    for (int round = 0; round < 2; ++round) {
        tile[threadIdx.x] = x[threadIdx.x + 64 * round];
        __syncthreads();
        sum += tile[63 - threadIdx.x];
        __syncthreads();
    }
    y[threadIdx.x] = sum;
}

__global__ void double_buffer(const float *x, float *y, int rounds) {
    __shared__ float tile[2][64];
    tile[0][threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    float sum = 0;
    for (int round = 0; round < rounds; ++round) {
        if (round + 1 < rounds) tile[(round + 1) & 1][threadIdx.x] = x[threadIdx.x + 64 * (round + 1)];
        sum += tile[round & 1][63 - threadIdx.x];
        __syncthreads();
    }
    y[threadIdx.x] = sum;
}

__global__ void shuffles(const float *x, float *y) {
    __shared__ float sums[2];
    float v = x[threadIdx.x];
    for (int d = 16; d; d /= 2) v += __shfl_xor_sync(0xffffffffu, v, d);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = v;
    __syncthreads();
    if (threadIdx.x == 0) y[blockIdx.x] = sums[0] + sums[1];
}

__global__ void warp_exchange(const float *x, float *y) {
    __shared__ float tile[64];
    const int lane = threadIdx.x & 31, first = threadIdx.x & ~31;
    tile[threadIdx.x] = x[threadIdx.x];
    __syncwarp();
    const float other = tile[first + 31 - lane];
    __syncwarp();
    tile[threadIdx.x] = other;
    __syncwarp();
    y[threadIdx.x] = tile[first + (lane + 1) % 32];
}

__global__ void half_warps(const float *x, float *y) {
    __shared__ float tile[32];
    const unsigned mask = threadIdx.x < 16 ? 0xffffu : 0xffff0000u;
    for (int round = 0; round < 3; ++round) {
        tile[threadIdx.x] = x[threadIdx.x] + round;
        __syncwarp(mask);
        y[threadIdx.x] = tile[threadIdx.x ^ 15];
        __syncwarp(mask);
    }
}

__global__ void half_warps_wrong(const float *x, float *y) {
    __shared__ float tile[32];
    const unsigned mask = threadIdx.x < 16 ? 0xffffu : 0xffff0000u;
    tile[threadIdx.x] = x[threadIdx.x];
    __syncwarp(mask);
    y[threadIdx.x] = tile[threadIdx.x ^ 31];  // from the other half
}

__global__ void last_block(const float *x, float *partial, unsigned *count, float *y) {
    __shared__ bool last;
    __shared__ float sums[32];
    float v = x[blockIdx.x * 32 + threadIdx.x];
    for (int d = 16; d; d /= 2) v += __shfl_xor_sync(0xffffffffu, v, d);
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = v;
        __threadfence();
        last = atomicAdd(count, 1) == gridDim.x - 1;
    }
    __syncthreads();
    if (last) {
        float sum = 0;
        for (int i = threadIdx.x; i < gridDim.x; i += 32) sum += partial[i];
        sums[threadIdx.x] = sum;
        __syncthreads();
        if (threadIdx.x == 0) {
            for (int i = 1; i < 32; ++i) sum += sums[i];
            y[0] = sum;
        }
    }
}

// Decoupled look-back: each block waits for the one before, through a volatile flag.
__global__ void look_back(const float *x, volatile float *total, volatile int *flag, float *y) {
    __shared__ float before;
    float v = x[blockIdx.x * 32 + threadIdx.x];
    for (int d = 1; d < 32; d *= 2) {
        const float other = __shfl_up_sync(0xffffffffu, v, d);
        if (threadIdx.x >= d) v += other;
    }
    if (threadIdx.x == 31) {
        float sum = 0;
        if (blockIdx.x > 0) {
            while (flag[blockIdx.x - 1] == 0) {}
            __threadfence();
            sum = total[blockIdx.x - 1];
        }
        before = sum;
        total[blockIdx.x] = sum + v;
        __threadfence();
        flag[blockIdx.x] = 1;
    }
    __syncthreads();
    y[blockIdx.x * 32 + threadIdx.x] = v + before;
}

// The same with plain data beside an atomic flag; blocks take their numbers in the order in which they start.
__global__ void look_back_atomic(const float *x, float *total, int *flag, int *ticket, float *y) {
    __shared__ int number;
    __shared__ float before;
    if (threadIdx.x == 0) number = atomicAdd(ticket, 1);
    __syncthreads();
    const int block = number;
    if (threadIdx.x == 0) {
        float own = 0, sum = 0;
        for (int i = 0; i < 32; ++i) own += x[block * 32 + i];
        if (block > 0) {
            while (atomicAdd(&flag[block - 1], 0) == 0) {}
            __threadfence();
            sum = total[block - 1];
        }
        total[block] = sum + own;
        __threadfence();
        atomicExch(&flag[block], 1);
        before = sum;
    }
    __syncthreads();
    y[block * 32 + threadIdx.x] = x[block * 32 + threadIdx.x] + before;
}

__global__ void float_atomics(const float *x, float *y, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) atomicAdd(&y[i % 7], x[i]);
}

// The CUDA guide's own loop: a plain first guess, then compare and swap.
__global__ void guide_loop(const float *x, unsigned *y) {
    unsigned old = *y, assumed;
    do {
        assumed = old;
        old = atomicCAS(y, assumed, __float_as_uint(fmaxf(x[blockIdx.x * 32 + threadIdx.x], __uint_as_float(assumed))));
    } while (assumed != old);
}

__global__ void grid_sync(const float *x, float *scratch, float *y) {
    const int n = gridDim.x * blockDim.x, i = blockIdx.x * blockDim.x + threadIdx.x;
    __shared__ int own;
    if (threadIdx.x == 0) own = blockIdx.x;
    scratch[i] = x[i];
    cg::this_grid().sync();
    const float v = scratch[n - 1 - i];
    cg::this_grid().sync();
    scratch[i] = v;
    cg::this_grid().sync();
    y[i] = scratch[(i + 1) % n] + own;
}

__global__ void halves(const __half *x, __half *y, bool *flags, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        y[i] = __hadd(x[i], x[i]);
        flags[i] = i & 1;
    }
}

__global__ void tiles(const float *x, float *y) {
    auto tile = cg::tiled_partition<8>(cg::this_thread_block());
    __shared__ float exchange[64];
    float v = x[threadIdx.x];
    v = cg::reduce(tile, v, cg::plus<float>());
    exchange[threadIdx.x] = v;
    tile.sync();
    y[threadIdx.x] = exchange[threadIdx.x ^ 7];
}

__global__ void named_barriers(const float *x, float *y) {
    __shared__ float tile[64];
    if (threadIdx.x < 32) {
        tile[threadIdx.x] = x[threadIdx.x];
        __barrier_sync_count(1, 64);
    } else {
        __barrier_sync_count(1, 64);
        y[threadIdx.x - 32] = tile[63 - threadIdx.x];
    }
}

__global__ void vectors(const float4 *x, float4 *y, float *scratch) {
    float4 v = x[threadIdx.x];
    if (threadIdx.x < 31) reinterpret_cast<float4 *>(scratch)[threadIdx.x] = v;
    else scratch[124] = v.x;
    __syncthreads();
    float4 w = reinterpret_cast<float4 *>(scratch)[31 - threadIdx.x];  // the last is written in part only
    if (threadIdx.x == 0) w = make_float4(w.x, 0, 0, 0);
    y[threadIdx.x] = w;
}

__global__ void copies(const float *x, float *y) {
    float own[8];
    memcpy(own, x + threadIdx.x * 8, sizeof own);
    for (int i = 0; i < 8; ++i) own[i] *= 2;
    memcpy(y + threadIdx.x * 8, own, sizeof own);
}

__global__ void copies_too_far(const float *x, float *y, int n) {
    memcpy(y, x, n);  // copies too far
}

__global__ void shared_halves(const __half *x, __half *y) {
    __shared__ __half tile[64];
    __shared__ __half2 pairs[32];
    tile[threadIdx.x] = x[threadIdx.x];
    if (threadIdx.x < 32) pairs[threadIdx.x] = __halves2half2(x[threadIdx.x], x[threadIdx.x + 32]);
    __syncthreads();
    y[threadIdx.x] = __hadd(tile[63 - threadIdx.x], pairs[threadIdx.x / 2].x);
}

// --- more that is wrong ---

__device__ float inner(float *tile, int i) { return tile[i]; }  // in a function

template <int N>
__device__ float templated(const float *x) {
    __shared__ float tile[N];
    tile[threadIdx.x] = x[threadIdx.x];
    return inner(tile, (threadIdx.x + 1) % N);
}

__global__ void race_in_template(const float *x, float *y) { y[threadIdx.x] = templated<64>(x); }

__global__ void no_syncwarp(const float *x, float *y) {
    __shared__ float tile[32];
    tile[threadIdx.x] = x[threadIdx.x];
    y[threadIdx.x] = tile[threadIdx.x ^ 1];  // lanes race
}

// Waits for a flag that nobody has set to anything, in memory that is not zeroed.
__global__ void stale_flag(const float *x, volatile int *flag, float *y) {
    if (blockIdx.x > 0) {
        if (flag[blockIdx.x - 1] == 1) y[0] = 0;
    }
    if (threadIdx.x == 0 && blockIdx.x == 0) y[1] = x[0];
    flag[blockIdx.x + 8] = 1;
}

// --- lanes that take no part ---

__global__ void shuffle_from_returned(const float *x, float *y) {
    if (threadIdx.x >= 20) return;
    float v = x[threadIdx.x];
    for (int d = 16; d; d /= 2) v += __shfl_down_sync(0xffffffffu, v, d);  // returned
    if (threadIdx.x == 0) y[0] = v;
}

__global__ void shuffle_from_elsewhere(const float *x, float *y) {
    float v = x[threadIdx.x];
    if (threadIdx.x < 16) v += __shfl_xor_sync(0xffffu, v, 16);  // elsewhere
    y[threadIdx.x] = v;
}

__global__ void odd_width(const float *x, float *y) {
    y[threadIdx.x] = __shfl_down_sync(0xffffffffu, x[threadIdx.x], 1, 24);  // odd width
}

__global__ void divergent_shuffle(const float *x, float *y) {
    float v = x[threadIdx.x];
    if (threadIdx.x < 16) v += __shfl_xor_sync(0xffffffffu, v, 8);  // divergent
    __syncthreads();
    y[threadIdx.x] = v;
}

__global__ void not_in_the_mask(const float *x, float *y) {
    y[threadIdx.x] = __shfl_sync(0xfffffffeu, x[threadIdx.x], 3);  // not in the mask
}

__global__ void other_masks(const float *x, float *y) {
    if (threadIdx.x < 16) __syncwarp(0x0001ffffu);  // mask of 17
    else __syncwarp(0xffff0000u);
    __syncthreads();
    y[threadIdx.x] = x[threadIdx.x];
}

__global__ void shuffles_of_a_part(const float *x, float *y) {
    const unsigned mask = __ballot_sync(0xffffffffu, threadIdx.x < 20);
    if (threadIdx.x < 20) {
        float v = x[threadIdx.x];
        for (int d = 16; d; d /= 2) {
            const int from = threadIdx.x + d;
            const float other = __shfl_sync(mask, v, from < 20 ? from : threadIdx.x);
            if (from < 20) v += other;
        }
        if (threadIdx.x == 0) y[0] = v;
    }
}

__global__ void active_mask(const float *x, float *y) {
    if (threadIdx.x & 1) {
        const unsigned mask = __activemask();
        const float v = __shfl_sync(mask, x[threadIdx.x], __ffs(mask) - 1);
        y[threadIdx.x] = v;
    } else {
        y[threadIdx.x] = 0;
    }
}
