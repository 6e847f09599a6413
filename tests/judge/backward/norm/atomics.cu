// Backward in one kernel a row: the root mean square again from x, and float atomics for the weight's gradient.
/*@plan
def forward(x, weight, eps):
    rows, cols = x.shape
    y = empty_like(x)
    launch("forward", grid=rows, block=32, args=[x, weight, y, cols, eps])
    return y

def backward(x, weight, eps, grad_out):
    rows, cols = x.shape
    grad_x, grad_w = empty_like(x), zeros_like(weight)
    launch("backward", grid=rows, block=32, args=[x, weight, grad_out, grad_x, grad_w, cols, eps])
    return {"weight": grad_w, "x": grad_x, "eps": None}
@*/
__device__ float over_warp(float value)
{
    for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
    return value;
}

__device__ float reciprocal(const float* x, int cols, float eps)
{
    float squares = 0.0f;
    for (int i = threadIdx.x; i < cols; i += 32) squares += x[i] * x[i];
    return 1.0f / sqrtf(over_warp(squares) / cols + eps);
}

extern "C" __global__ void forward(const float* x, const float* w, float* y, int cols, float eps)
{
    x += size_t(blockIdx.x) * cols;
    y += size_t(blockIdx.x) * cols;
    const float r = reciprocal(x, cols, eps);
    for (int i = threadIdx.x; i < cols; i += 32) y[i] = x[i] * r * w[i];
}

extern "C" __global__ void backward(const float* x, const float* w, const float* g, float* dx, float* dw, int cols, float eps)
{
    x += size_t(blockIdx.x) * cols;
    g += size_t(blockIdx.x) * cols;
    dx += size_t(blockIdx.x) * cols;
    const float r = reciprocal(x, cols, eps);
    float dot = 0.0f;
    for (int i = threadIdx.x; i < cols; i += 32) dot += g[i] * w[i] * (x[i] * r);
    dot = over_warp(dot) / cols;
    for (int i = threadIdx.x; i < cols; i += 32) {
        atomicAdd(&dw[i], g[i] * (x[i] * r));
        dx[i] = r * (g[i] * w[i] - x[i] * r * dot);
    }
}
