#include <cuda_fp16.h>
#include <cuda_bf16.h>

__device__ __forceinline__ float warp_sum(float v) {
    for (int offset = 16; offset > 0; offset >>= 1) v += __shfl_xor_sync(0xffffffffu, v, offset);
    return v;
}

// One block a row; warps through shuffles, the block through static shared memory.
extern "C" __global__ void __launch_bounds__(1024) row_sums(const float *__restrict__ x, float *__restrict__ y, int cols) {
    __shared__ float partial[32];
    float sum = 0.f;
    for (int i = threadIdx.x; i < cols; i += blockDim.x) sum += x[(size_t)blockIdx.x * cols + i];
    sum = warp_sum(sum);
    const int lane = threadIdx.x % warpSize, warp = threadIdx.x / warpSize;
    if (lane == 0) partial[warp] = sum;
    __syncthreads();
    if (warp == 0) {
        sum = lane < (blockDim.x + 31) / 32 ? partial[lane] : 0.f;
        sum = warp_sum(sum);
        if (lane == 0) y[blockIdx.x] = sum;
    }
}

// A tree in dynamic shared memory, the classic one.
template <typename T, int kThreads>
__global__ void tree(const T *x, T *y, int n) {
    extern __shared__ __align__(16) unsigned char raw[];
    T *s = reinterpret_cast<T *>(raw);
    const int i = blockIdx.x * kThreads + threadIdx.x;
    s[threadIdx.x] = i < n ? x[i] : T(0);
    __syncthreads();
#pragma unroll
    for (int step = kThreads / 2; step > 0; step /= 2) {
        if (threadIdx.x < step) s[threadIdx.x] += s[threadIdx.x + step];
        __syncthreads();
    }
    if (threadIdx.x == 0) y[blockIdx.x] = s[0];
}

extern "C" __global__ void histogram(const int *x, int *bins, int n) {
    __shared__ int local[16];
    if (threadIdx.x < 16) local[threadIdx.x] = 0;
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) atomicAdd(&local[x[i] & 15], 1);
    __syncthreads();
    if (threadIdx.x < 16) atomicAdd(&bins[threadIdx.x], local[threadIdx.x]);
}

extern "C" __global__ void transpose(const float *x, float *y, int rows, int cols) {
    __shared__ float tile[32][33];
    int c = blockIdx.x * 32 + threadIdx.x;
    for (int j = threadIdx.y; j < 32; j += blockDim.y) {
        int r = blockIdx.y * 32 + j;
        if (r < rows && c < cols) tile[j][threadIdx.x] = x[(size_t)r * cols + c];
    }
    __syncthreads();
    c = blockIdx.y * 32 + threadIdx.x;
    for (int j = threadIdx.y; j < 32; j += blockDim.y) {
        int r = blockIdx.x * 32 + j;
        if (r < cols && c < rows) y[(size_t)r * rows + c] = tile[threadIdx.x][j];
    }
}

extern "C" __global__ void scan(const int *x, int *y, int n) {
    __shared__ int sums[32];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    int v = threadIdx.x < n ? x[threadIdx.x] : 0;
    for (int d = 1; d < 32; d *= 2) {
        const int other = __shfl_up_sync(~0u, v, d);
        if (lane >= d) v += other;
    }
    if (lane == 31) sums[warp] = v;
    __syncthreads();
    if (warp == 0) {
        int s = sums[lane];
        for (int d = 1; d < 32; d *= 2) {
            const int other = __shfl_up_sync(~0u, s, d);
            if (lane >= d) s += other;
        }
        sums[lane] = s;
    }
    __syncthreads();
    if (warp > 0) v += sums[warp - 1];
    if (threadIdx.x < n) y[threadIdx.x] = v;
}

// Decoupled look-back: a block waits for the prefix of the one before it, with flags in global memory.
extern "C" __global__ void look_back(const int *x, int *y, volatile int *flags, volatile int *prefixes, int n) {
    __shared__ int s[256];
    __shared__ int before;
    const int i = blockIdx.x * 256 + threadIdx.x;
    s[threadIdx.x] = i < n ? x[i] : 0;
    __syncthreads();
    for (int d = 1; d < 256; d *= 2) {
        const int v = threadIdx.x >= d ? s[threadIdx.x - d] : 0;
        __syncthreads();
        s[threadIdx.x] += v;
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        int sum = 0;
        if (blockIdx.x > 0) {
            while (flags[blockIdx.x - 1] == 0) {}
            __threadfence();
            sum = prefixes[blockIdx.x - 1];
        }
        prefixes[blockIdx.x] = sum + s[255];
        __threadfence();
        flags[blockIdx.x] = 1;
        before = sum;
    }
    __syncthreads();
    if (i < n) y[i] = s[threadIdx.x] + before;
}

extern "C" __global__ void half_axpy(const __half *x, const __half *y, __half *out, float a, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = __hfma(__float2half(a), x[i], y[i]);
}

extern "C" __global__ void half2_ops(const __half2 *x, const __half2 *y, __half2 *sum, __half2 *product, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) {
        sum[i] = x[i] + y[i];
        product[i] = __hmul2(x[i], y[i]);
    }
}

extern "C" __global__ void bf16_fma(const __nv_bfloat16 *x, const __nv_bfloat16 *y, const __nv_bfloat16 *z, __nv_bfloat16 *out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = __hfma(x[i], y[i], z[i]);
}

extern "C" __global__ void where_am_i(unsigned *out) {
    const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    out[block * (blockDim.x * blockDim.y * blockDim.z) + thread] = block << 16 | thread;
}

extern "C" __global__ void gather(const float *const *rows, float *out, int n) {
    if (threadIdx.x < n) out[blockIdx.x * n + threadIdx.x] = rows[blockIdx.x][threadIdx.x];
}

struct __align__(8) Pair { int key; float value; };
__constant__ float table[4] = {1.f, 2.f, 4.f, 8.f};

extern "C" __global__ void votes(unsigned *out) {
    const unsigned t = threadIdx.x;
    out[t * 8 + 0] = __ballot_sync(0xffffffffu, t & 1);
    out[t * 8 + 1] = __any_sync(0xffffffffu, t == 5);
    out[t * 8 + 2] = __all_sync(0xffffffffu, t < 32);
    out[t * 8 + 3] = __match_any_sync(0xffffffffu, t / 4);
    int same;
    out[t * 8 + 4] = __match_all_sync(0xffffffffu, 7, &same) + same - 1;
    out[t * 8 + 5] = __reduce_add_sync(0xffffffffu, t);
    out[t * 8 + 6] = t < 12 ? __activemask() : 0;
    out[t * 8 + 7] = t < 16 ? __shfl_sync(0x0000ffffu, t, 3, 8) : __shfl_down_sync(0xffff0000u, t, 2, 16);
}

extern "C" __global__ void counts(int *out) {
    const int t = threadIdx.x;
    out[t * 3 + 0] = __syncthreads_count(t % 3 == 0);
    out[t * 3 + 1] = __syncthreads_and(t < 1000);
    out[t * 3 + 2] = __syncthreads_or(t == 77);
}

extern "C" __global__ void float_atomics(float *sum, double *dsum, __half2 *hsum, unsigned *limits, unsigned long long *big) {
    atomicAdd(sum, 0.5f);
    atomicAdd(dsum, 0.25);
    atomicAdd(hsum, __floats2half2_rn(1.f, 2.f));
    const unsigned id = blockIdx.x * blockDim.x + threadIdx.x;
    atomicMax(&limits[0], id);
    atomicMin(&limits[1], id);
    atomicInc(&limits[2], 9);
    atomicAdd(big, 1ull << 33);
}

// A lock that a thread of the same warp holds: independent thread scheduling, or nobody gets on.
extern "C" __global__ void spin_lock(int *lock, int *counter) {
    while (atomicCAS(lock, 0, 1) != 0) {}
    __threadfence();
    *(volatile int *)counter += 1;
    __threadfence();
    atomicExch(lock, 0);
}

// A thread waits for a value that another one of its block writes later, without any barrier.
extern "C" __global__ void spin_flag(int *out) {
    __shared__ volatile int flag;
    if (threadIdx.x == 0) flag = 0;
    __syncthreads();
    if (threadIdx.x == 0) while (flag == 0) {}
    if (threadIdx.x == 63) flag = 5;
    __syncthreads();
    out[threadIdx.x] = flag;
}

// A thread that waits while it rounds up, and others that add to the nearest when their turn comes.
extern "C" __global__ void spin_rounding(float *out) {
    __shared__ volatile int flag;
    __shared__ volatile float up;
    if (threadIdx.x == 0) flag = 0;
    __syncthreads();
    if (threadIdx.x == 0) while (flag == 0) up = __fadd_ru(__fmul_ru(up, 0.f), 1.f);
    volatile float one = 1.f, tiny = 1e-10f;
    out[threadIdx.x] = one + tiny;
    if (threadIdx.x == 63) flag = 1;
    __syncthreads();
    out[64 + threadIdx.x] = __fadd_ru(one, tiny);
}

extern "C" __global__ void unwritten(float *out) {
    __shared__ float s[64];
    extern __shared__ float d[];
    if (threadIdx.x == 100) s[0] = d[0] = 1.f;
    out[threadIdx.x] = s[threadIdx.x];
    out[64 + threadIdx.x] = d[threadIdx.x];
}

extern "C" __global__ void math(const float *x, float *y, int n) {
    const int i = threadIdx.x;
    if (i >= n) return;
    y[i * 8 + 0] = __expf(x[i]);
    y[i * 8 + 1] = rsqrtf(x[i]);
    y[i * 8 + 2] = __fdividef(1.f, x[i]);
    y[i * 8 + 3] = __saturatef(x[i] - 1.f);
    float s, c;
    sincosf(x[i], &s, &c);
    y[i * 8 + 4] = s * s + c * c;
    y[i * 8 + 5] = erff(x[i]);
    y[i * 8 + 6] = normcdff(x[i]);
    y[i * 8 + 7] = fmaxf(x[i], NAN) + table[i & 3] * 0.f + max(0, -1) + __int_as_float(0);
}

extern "C" __global__ void inverses(const float *x, float *y, int n) {
    const int i = threadIdx.x;
    if (i >= n) return;
    y[i * 6 + 0] = erfinvf(2.f * x[i] - 1.f);
    y[i * 6 + 1] = erfcinvf(x[i]);
    y[i * 6 + 2] = normcdfinvf(x[i]);
    y[i * 6 + 3] = erfcxf(30.f * x[i]);
    y[i * 6 + 4] = (float)erfinv((double)x[i]);
    y[i * 6 + 5] = rnormf(2, x);
}

extern "C" __global__ void bits(unsigned *y) {
    y[0] = __popc(0xf0f0u), y[1] = __clz(1), y[2] = __ffs(8), y[3] = __brev(1u);
    y[4] = __byte_perm(0x33221100u, 0x77665544u, 0x7531u);
    y[5] = (unsigned)__dp4a(0x01020304, 0x01010101, 5);
    y[6] = __funnelshift_l(0x80000000u, 1u, 1);
    y[7] = __float_as_uint(1.0f), y[8] = (unsigned)__float2int_rn(2.5f), y[9] = (unsigned)__float2int_rz(1e30f);
    y[10] = __umulhi(0x80000000u, 6u), y[11] = (unsigned)__clz(0);
}
