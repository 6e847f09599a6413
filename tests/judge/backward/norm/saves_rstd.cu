// One block a row forward; backward sums the weight's gradient over a second, transposed launch.
/*@plan
compile(defines={"BLOCK": 64})

def forward(x, weight, eps):
    rows, cols = x.shape
    y = empty_like(x)
    rstd = empty(rows, float32)
    launch("forward", grid=rows, block=64, args=[x, weight, y, rstd, cols, eps])
    save(rstd)
    return y

def backward(x, weight, rstd, grad_y):
    rows, cols = x.shape
    grad_x, grad_w = empty_like(x), empty_like(weight)
    launch("backward_x", grid=rows, block=64, args=[x, weight, rstd, grad_y, grad_x, cols])
    launch("backward_w", grid=cdiv(cols, 64), block=64, args=[x, rstd, grad_y, grad_w, rows, cols])
    return grad_x, grad_w
@*/
__device__ float over_block(float value)
{
    __shared__ float partial[BLOCK];
    __syncthreads();
    partial[threadIdx.x] = value;
    __syncthreads();
    for (int step = BLOCK / 2; step > 0; step /= 2) {
        if (threadIdx.x < step) partial[threadIdx.x] += partial[threadIdx.x + step];
        __syncthreads();
    }
    return partial[0];
}

extern "C" __global__ void forward(const float* x, const float* w, float* y, float* rstd, int cols, float eps)
{
    const size_t row = size_t(blockIdx.x) * cols;
    float squares = 0.0f;
    for (int i = threadIdx.x; i < cols; i += BLOCK) squares += x[row + i] * x[row + i];
    const float r = 1.0f / sqrtf(over_block(squares) / cols + eps);
    if (threadIdx.x == 0) rstd[blockIdx.x] = r;
    for (int i = threadIdx.x; i < cols; i += BLOCK) y[row + i] = x[row + i] * r * w[i];
}

extern "C" __global__ void backward_x(const float* x, const float* w, const float* rstd, const float* g, float* dx, int cols)
{
    const size_t row = size_t(blockIdx.x) * cols;
    const float r = rstd[blockIdx.x];
    float dot = 0.0f;
    for (int i = threadIdx.x; i < cols; i += BLOCK) dot += g[row + i] * w[i] * (x[row + i] * r);
    dot = over_block(dot) / cols;
    for (int i = threadIdx.x; i < cols; i += BLOCK) dx[row + i] = r * (g[row + i] * w[i] - x[row + i] * r * dot);
}

extern "C" __global__ void backward_w(const float* x, const float* rstd, const float* g, float* dw, int rows, int cols)
{
    const int i = blockIdx.x * BLOCK + threadIdx.x;
    if (i >= cols) return;
    float sum = 0.0f;
    for (int r = 0; r < rows; ++r) sum += g[size_t(r) * cols + i] * (x[size_t(r) * cols + i] * rstd[r]);
    dw[i] = sum;
}
