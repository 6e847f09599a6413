// Kernels that are right at a small size, and index with 32 bits or 64.
#define N 65536

extern "C" __global__ void flat_int(const float *x, float *y, long n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i] * 2;  // flat int
}

extern "C" __global__ void flat_unsigned(const float *x, float *y, long n) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i] * 2;  // flat unsigned
}

extern "C" __global__ void flat_long(const float *x, float *y, long n) {
    long i = (long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i] * 2;
}

extern "C" __global__ void row_int(const float *x, float *y, int rows, int cols) {
    int row = blockIdx.x;
    for (int c = threadIdx.x; c < cols; c += blockDim.x) y[row * cols + c] = x[(size_t)row * cols + c];  // row int
}

extern "C" __global__ void row_long(const float *x, float *y, int rows, int cols) {
    const float *from = x + (size_t)blockIdx.x * cols;
    float *to = y + (size_t)blockIdx.x * cols;
    __shared__ float sum;
    if (threadIdx.x == 0) sum = 0;
    __syncthreads();
    for (int c = threadIdx.x; c < cols; c += blockDim.x) atomicAdd(&sum, from[c]);
    __syncthreads();
    for (int c = threadIdx.x; c < cols; c += blockDim.x) to[c] = from[c] / sum;
}

extern "C" __global__ void stride_int(const float *x, float *y, long n) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) y[i] = x[i];  // stride int
}

extern "C" __global__ void stride_long(const float *x, float *y, long n) {
    for (long i = (long)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (long)gridDim.x * blockDim.x) y[i] = x[i];
}

extern "C" __global__ void vector_int(const float4 *x, float4 *y, long n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i];  // vector int
}

// The tile's place in bytes.
extern "C" __global__ void tiles_bytes(const char *x, char *y, unsigned pitch) {
    unsigned at = (blockIdx.y * 32 + threadIdx.y) * pitch + (blockIdx.x * 32 + threadIdx.x) * 4;
    *(float *)(y + at) = *(const float *)(x + at);  // bytes
}

extern "C" __global__ void tiles_long(const float *x, float *y, int cols) {
    size_t at = (size_t)(blockIdx.y * 32 + threadIdx.y) * cols + blockIdx.x * 32 + threadIdx.x;
    y[at] = x[at];
}

// Indices from memory: nothing is certain about them when memory is not real.
extern "C" __global__ void gather(const int *index, const int *offset, const float *x, float *y, long n) {
    long i = (long)blockIdx.x * blockDim.x + threadIdx.x;
    int from = index[i] - offset[blockIdx.x & 1023];
    y[i] = x[from];
}

extern "C" __global__ void waits(volatile int *flag, const float *x, float *y) {
    if (blockIdx.x > 0 && threadIdx.x == 0)
        while (!flag[blockIdx.x - 1]) {
        }
    __syncthreads();
    y[(size_t)blockIdx.x * blockDim.x + threadIdx.x] = x[(size_t)blockIdx.x * blockDim.x + threadIdx.x];
}

extern "C" __global__ void spins(const float *x, float *y) {
    float s = x[threadIdx.x];
    while (s < 1e30f) s = s * 0.5f;
    y[threadIdx.x] = s;
}

extern "C" __global__ void astray(const int *x, float *y) {
    __shared__ float tile[32];
    tile[threadIdx.x] = (float)x[threadIdx.x];
    if (x[0] & 1) __syncthreads();
    y[(size_t)blockIdx.x * 32 + threadIdx.x] = tile[threadIdx.x] + *(const float *)(size_t)(x[1] & 0xfff);
}
