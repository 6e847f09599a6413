/*@plan
def forward(x):
    y = empty_like(x)
    launch("forward", grid=x.shape[0], block=32, args=[x, y, x.shape[1]])
    save(y)
    return y

def backward(y, grad_y):
    grad_x = empty_like(y)
    launch("backward", grid=y.shape[0], block=32, args=[y, grad_y, grad_x, y.shape[1]])
    return grad_x
@*/
__device__ float sum(float v)
{
    for (int offset = 16; offset > 0; offset /= 2) v += __shfl_xor_sync(0xffffffffu, v, offset);
    return v;
}

extern "C" __global__ void forward(const float* x, float* y, int cols)
{
    x += size_t(blockIdx.x) * cols;
    y += size_t(blockIdx.x) * cols;
    float top = -INFINITY, total = 0.0f;
    for (int i = threadIdx.x; i < cols; i += 32) top = fmaxf(top, x[i]);
    for (int offset = 16; offset > 0; offset /= 2) top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, offset));
    for (int i = threadIdx.x; i < cols; i += 32) total += expf(x[i] - top);
    total = sum(total);
    for (int i = threadIdx.x; i < cols; i += 32) y[i] = expf(x[i] - top) / total;
}

extern "C" __global__ void backward(const float* y, const float* g, float* dx, int cols)
{
    y += size_t(blockIdx.x) * cols;
    g += size_t(blockIdx.x) * cols;
    dx += size_t(blockIdx.x) * cols;
    float dot = 0.0f;
    for (int i = threadIdx.x; i < cols; i += 32) dot += g[i] * y[i];
    dot = sum(dot);
    for (int i = threadIdx.x; i < cols; i += 32) dx[i] = y[i] * (g[i] - dot);
}
