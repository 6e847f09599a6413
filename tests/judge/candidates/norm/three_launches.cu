// Honest: partial sums, their sum, and the scaling, through scratch.
// clang-format off
/*@plan
def forward(x, weight, eps):
    rows, cols = x.shape
    parts = cdiv(cols, 32)
    partial = empty((rows, parts), float32)
    scale = empty(rows, float32)
    y = empty_like(x)
    launch("part", grid=(parts, rows), block=32, args=[x, partial, cols])
    launch("total", grid=cdiv(rows, 32), block=32, args=[partial, scale, rows, parts, cols, eps])
    launch("apply", grid=cdiv(x.numel, 256), block=256, args=[x, weight, scale, y, x.numel, cols])
    return y
@*/
// clang-format on

extern "C" __global__ void part(const float* x, float* partial, int cols)
{
    const int i = blockIdx.x * 32 + threadIdx.x;
    float v = i < cols ? x[(size_t)blockIdx.y * cols + i] : 0.0f;
    v *= v;
    for (int offset = 16; offset > 0; offset /= 2) v += __shfl_down_sync(0xffffffffu, v, offset);
    if (threadIdx.x == 0) partial[blockIdx.y * gridDim.x + blockIdx.x] = v;
}

extern "C" __global__ void total(const float* partial, float* scale, int rows, int parts, int cols, float eps)
{
    const int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows) return;
    float sum = 0;
    for (int i = 0; i < parts; ++i) sum += partial[row * parts + i];
    scale[row] = rsqrtf(sum / cols + eps);
}

extern "C" __global__ void apply(const float* x, const float* w, const float* scale, float* y, int n, int cols)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i] * scale[i / cols] * w[i % cols];
}
