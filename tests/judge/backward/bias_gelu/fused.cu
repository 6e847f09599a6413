// Two outputs: the rectifier's gradient takes the other side at 0 than PyTorch does, which is as right.
/*@plan
def forward(x, residual, bias):
    rows, cols = x.shape
    y, z = empty_like(x), empty_like(x)
    launch("forward", grid=(cdiv(cols, 64), rows), block=64, args=[x, bias, residual, y, z, cols])
    return y, z

def backward(x, residual, bias, grad_y, grad_z):
    rows, cols = x.shape
    grad_x, grad_r, grad_b = empty_like(x), empty_like(x), empty_like(bias)
    partial = empty((cdiv(rows, 8), cols), float32)
    launch("elements", grid=(cdiv(cols, 64), rows), block=64, args=[x, bias, residual, grad_y, grad_z, grad_x, grad_r, cols])
    launch("slabs", grid=(cdiv(cols, 64), cdiv(rows, 8)), block=64, args=[grad_x, partial, rows, cols])
    launch("slab_sum", grid=cdiv(cols, 64), block=64, args=[partial, grad_b, cdiv(rows, 8), cols])
    return grad_x, grad_r, grad_b
@*/
extern "C" __global__ void forward(const float* x, const float* bias, const float* residual, float* y, float* z, int cols)
{
    const int i = blockIdx.x * 64 + threadIdx.x;
    if (i >= cols) return;
    const size_t at = size_t(blockIdx.y) * cols + i;
    const float v = x[at] + bias[i];
    y[at] = 0.5f * v * (1.0f + erff(v * 0.70710678f)) + residual[at];
    z[at] = fmaxf(residual[at], 0.0f);
}

extern "C" __global__ void elements(const float* x, const float* bias, const float* residual, const float* gy,
                                    const float* gz, float* dx, float* dr, int cols)
{
    const int i = blockIdx.x * 64 + threadIdx.x;
    if (i >= cols) return;
    const size_t at = size_t(blockIdx.y) * cols + i;
    const float v = x[at] + bias[i];
    const float slope = 0.5f * (1.0f + erff(v * 0.70710678f)) + v * expf(-0.5f * v * v) * 0.39894228f;
    dx[at] = gy[at] * slope;
    dr[at] = gy[at] + (residual[at] >= 0.0f ? gz[at] : 0.0f);
}

extern "C" __global__ void slabs(const float* dx, float* partial, int rows, int cols)
{
    const int i = blockIdx.x * 64 + threadIdx.x;
    if (i >= cols) return;
    float sum = 0.0f;
    for (int r = blockIdx.y * 8; r < min(rows, int(blockIdx.y) * 8 + 8); ++r) sum += dx[size_t(r) * cols + i];
    partial[size_t(blockIdx.y) * cols + i] = sum;
}

extern "C" __global__ void slab_sum(const float* partial, float* db, int slabs, int cols)
{
    const int i = blockIdx.x * 64 + threadIdx.x;
    if (i >= cols) return;
    float sum = 0.0f;
    for (int s = 0; s < slabs; ++s) sum += partial[size_t(s) * cols + i];
    db[i] = sum;
}
