// A library step, scratch and two launches in backward.
/*@plan
def forward(x):
    y = empty_like(x)
    launch("forward", grid=x.shape[0], block=32, args=[x, y, x.shape[1]])
    save(y)
    return y

def backward(y, grad_y):
    dots = torch_op("aten.sum", torch_op("aten.mul", y, grad_y), [1])
    partial, grad_x = empty_like(y), empty_like(y)
    launch("centred", grid=y.shape[0], block=32, args=[grad_y, dots, partial, y.shape[1]])
    launch("backward", grid=y.shape[0], block=32, args=[y, partial, grad_x, y.shape[1]])
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

extern "C" __global__ void centred(const float* g, const float* dots, float* partial, int cols)
{
    const size_t row = size_t(blockIdx.x) * cols;
    for (int i = threadIdx.x; i < cols; i += 32) partial[row + i] = g[row + i] - dots[blockIdx.x];
}

extern "C" __global__ void backward(const float* y, const float* partial, float* dx, int cols)
{
    const size_t row = size_t(blockIdx.x) * cols;
    for (int i = threadIdx.x; i < cols; i += 32) dx[row + i] = y[row + i] * partial[row + i];
}
