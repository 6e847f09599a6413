extern "C" __global__ void read_behind(const float *x, float *y, int n) {
    y[threadIdx.x] = x[n];
}
extern "C" __global__ void read_before(const float *x, float *y) {
    y[threadIdx.x] = x[-1];
}
extern "C" __global__ void write_input(float *x) {
    if (blockIdx.x == 2 && threadIdx.x == 3) x[7] = 1.f;
}
extern "C" __global__ void write_behind(float *y, int n) {
    if (threadIdx.x == 5) y[n] = 1.f;
}
extern "C" __global__ void null_pointer(float *y) {
    float *p = y[0] == y[0] ? nullptr : y;
    y[0] = *(volatile float *)p;
}
__device__ __noinline__ int deep(int n, volatile int *p) {
    volatile int local[64];
    local[n & 63] = n;
    return n <= 0 ? p[0] : deep(n - 1, local) + local[n & 63];
}
extern "C" __global__ void stack_overflow(int *y) {
    y[0] = deep(1 << 20, y);
}
extern "C" __global__ void spin(volatile int *y) {
    while (y[0] != 12345) {}
}
extern "C" __global__ void divergent_barrier(int *y) {
    if (threadIdx.x < 16) {
        __syncthreads();
    } else {
        y[threadIdx.x] = __shfl_sync(0xffffffffu, threadIdx.x, 0);
    }
}
extern "C" __global__ void two_barriers(int *y) {
    if (threadIdx.x % 2) {
        y[0] = 1;
        __syncthreads();
    } else {
        y[1] = 1;
        __syncthreads();
    }
}
extern "C" __global__ void returns_early(int *y, int n) {
    if (threadIdx.x >= n) return;
    __syncthreads();
    y[threadIdx.x] = 7;
}
extern "C" __global__ void wrong_mask(int *y) {
    y[threadIdx.x] = __shfl_sync(0x0000ffffu, threadIdx.x, 0);
}
extern "C" __global__ void traps(int *y) {
    if (threadIdx.x == 9) __trap();
    y[threadIdx.x] = 1;
}
extern "C" __global__ void shared_behind(float *y, int n) {
    extern __shared__ float s[];
    s[threadIdx.x] = 1.f;
    __syncthreads();
    if (threadIdx.x == 0) y[0] = s[n];
}
extern "C" __global__ void divides(int *y, int n) {
    y[0] = 100 / n;
}
extern "C" __global__ void fine(int *y) {
    y[blockIdx.x * blockDim.x + threadIdx.x] = 41;
}
extern "C" __global__ void atomic_behind(float *y, int n) {
    const int i = threadIdx.x == 31 ? n : 0;

    atomicAdd(&y[i], 1.f);
}
extern "C" __global__ void large_frame(int *y, int n) {
    volatile int local[64 * 1024];
    for (int i = 0; i < n; ++i) local[i * 100] = i;
    y[0] = local[0];
}
extern "C" __global__ void misaligned(const float *x, float *y, int at) {
    const float4 v = *reinterpret_cast<const float4 *>(x + at);  // the vector read
    y[threadIdx.x] = v.x + v.w;
}
extern "C" __global__ void misaligned_shared(float *y, int at) {
    extern __shared__ float kept[];
    *reinterpret_cast<float2 *>(kept + at) = make_float2(1.f, 2.f);  // the vector write
    __syncthreads();
    y[threadIdx.x] = kept[at];
}
struct Running {
    float top = 0.f;
    float sum;
};
extern "C" __global__ void no_first_value(const float *x, float *y, int n) {
    float sum;
    float rows[4];
    Running running;
    for (int i = 0; i < n; ++i) sum += x[i], rows[i % 4] += x[i], running.sum += x[i];
    y[0] = sum, y[1] = rows[3], y[2] = running.sum;
}
