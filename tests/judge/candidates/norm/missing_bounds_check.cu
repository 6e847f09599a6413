// Wrong: the last block has more threads than there are elements left.
// clang-format off
/*@plan
def forward(x, weight, eps):
    rows, cols = x.shape
    sums = zeros(rows, float32)
    y = empty_like(x)
    launch("squares", grid=(cdiv(cols, 64), rows), block=64, args=[x, sums, cols])
    launch("apply", grid=cdiv(x.numel, 512), block=512, args=[x, weight, sums, y, x.numel, cols, eps])
    return y
@*/
// clang-format on

extern "C" __global__ void squares(const float* x, float* sums, int cols)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < cols) {
        const float v = x[(size_t)blockIdx.y * cols + i];
        atomicAdd(&sums[blockIdx.y], v * v);
    }
}

extern "C" __global__ void apply(const float* x, const float* w, const float* sums, float* y, int n, int cols, float eps)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    y[i] = x[i] * rsqrtf(sums[i / cols] / cols + eps) * w[i % cols];
}
