// Kernels whose requests, sectors, wavefronts and turns can be counted by hand.

__global__ void coalesced(const float *x, float *y) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    y[i] = x[i];  // one line a warp
}

__global__ void strided(const float *x, float *y) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    y[i] = x[i * 16];  // a sector a lane
}

__global__ void vectors(const float4 *x, float4 *y) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    float4 v = x[i];  // four lines a warp
    v.x *= 2, v.y += 1;
    y[i] = v;
}

__global__ void broadcast(const float *x, float *y) { y[threadIdx.x] = x[7]; }

__global__ void conflicts(const float *x, float *y) {
    __shared__ float tile[32][32];
    for (int r = 0; r < 32; ++r) tile[r][threadIdx.x] = x[r * 32 + threadIdx.x];  // row
    __syncthreads();
    float sum = 0;
    for (int c = 0; c < 32; ++c) sum += tile[threadIdx.x][c];  // column
    y[threadIdx.x] = sum;
}

__global__ void padded(const float *x, float *y) {
    __shared__ float tile[32][33];
    for (int r = 0; r < 32; ++r) tile[r][threadIdx.x] = x[r * 32 + threadIdx.x];
    __syncthreads();
    float sum = 0;
    for (int c = 0; c < 32; ++c) sum += tile[threadIdx.x][c];  // column
    y[threadIdx.x] = sum;
}

__global__ void wide_shared(const float4 *x, float4 *y) {
    __shared__ float4 tile[32];
    tile[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = tile[31 - threadIdx.x];
}

__global__ void branches(const float *x, float *y) {
    float v = x[threadIdx.x];
    if (threadIdx.x % 2) {
        for (int i = 0; i < 10; ++i) v = v * v + 1;  // odd lanes
    } else {
        for (int i = 0; i < 10; ++i) v = v * 3 - 1;  // even lanes
    }
    y[threadIdx.x] = v;  // all lanes
}

// The lanes part in turns: joined by how often each was at a place, odd and even rounds would look like one.
__global__ void alternating(const float *x, float *y) {
    float v = 0;
    for (int i = 0; i < 10; ++i)
        if ((i + threadIdx.x) % 2) v += x[i * 32 + threadIdx.x];  // half the lanes
    y[threadIdx.x] = v;
}

__global__ void one_counter(const int *x, int *y) { atomicAdd(&y[0], x[threadIdx.x]); }

__global__ void own_counters(const int *x, int *y) { atomicAdd(&y[threadIdx.x], x[threadIdx.x]); }

__global__ void shared_bins(const int *x, int *y) {
    __shared__ int bins[32];
    bins[threadIdx.x] = 0;
    __syncwarp();
    atomicAdd(&bins[threadIdx.x / 4], x[threadIdx.x]);  // four lanes a bin
    __syncwarp();
    y[threadIdx.x] = bins[threadIdx.x];
}

// The second look is four lines back.
__global__ void twice(const float *x, float *y) {
    float sum = 0;
    for (int i = 0; i < 16; ++i) sum += x[i * 32 + threadIdx.x];  // first
    for (int i = 0; i < 16; ++i) sum += x[i * 32 + threadIdx.x] * sum;  // again
    y[threadIdx.x] = sum;
}

__global__ void arithmetic(const float *x, float *y) {
    float v = x[threadIdx.x], w = v;
    for (int i = 0; i < 100; ++i) v = v * w + 1.0f, w = w * v - 2.0f;  // two multiply-adds
    y[threadIdx.x] = v + expf(w);
}
