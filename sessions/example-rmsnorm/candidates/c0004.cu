// Forward and backward, for training: forward saves each row's 1/rms, so backward reads `x` once and reduces once a row. The
// weight's gradient is summed in two fixed steps, slabs of rows and then the slabs, so that runs agree bit for bit. Wins where
// gradients are wanted at all: eager PyTorch launches a kernel for every step of both. Not for decoding.
// clang-format off
/*@plan
BLOCK = tune(256, [64, 128, 256, 512])
SLAB = tune(32, [16, 32, 64])
compile(defines={"BLOCK": BLOCK, "SLAB": SLAB})

def forward(x, weight, eps):
    cols = x.shape[-1]
    rows = x.numel // cols
    y = empty_like(x)
    rstd = empty(rows, float32)
    launch("forward", grid=rows, block=BLOCK, args=[x, weight, y, rstd, cols, eps])
    save(rstd)
    return y

def backward(x, weight, rstd, grad_y):
    cols = x.shape[-1]
    rows = x.numel // cols
    slabs = cdiv(rows, SLAB)
    grad_x, grad_weight = empty_like(x), empty_like(weight)
    partial = empty((slabs, cols), float32)
    launch("backward_x", grid=rows, block=BLOCK, args=[x, weight, rstd, grad_y, grad_x, cols])
    launch("backward_weight", grid=(cdiv(cols, BLOCK), slabs), block=BLOCK, args=[x, rstd, grad_y, partial, rows, cols])
    launch("sum_slabs", grid=cdiv(cols, BLOCK), block=BLOCK, args=[partial, grad_weight, slabs, cols])
    return grad_x, grad_weight
@*/
// clang-format on

__device__ __forceinline__ float over_warp(float value)
{
    for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
    return value;
}

// Sum of one value a thread, for every thread of the block.
__device__ __forceinline__ float over_block(float value)
{
    constexpr int WARPS = BLOCK / 32;
    __shared__ float partial[WARPS];
    const int lane = threadIdx.x % 32;
    value = over_warp(value);
    if (lane == 0) partial[threadIdx.x / 32] = value;
    __syncthreads();
    return over_warp(lane < WARPS ? partial[lane] : 0.0f);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
forward(const float* __restrict__ x, const float* __restrict__ weight, float* __restrict__ y, float* __restrict__ rstd,
        int cols, float eps)
{
    x += static_cast<size_t>(blockIdx.x) * cols;
    y += static_cast<size_t>(blockIdx.x) * cols;
    float squares = 0.0f;
    for (int i = threadIdx.x; i < cols; i += BLOCK) squares += x[i] * x[i];
    const float scale = 1.0f / sqrtf(over_block(squares) / cols + eps);
    if (threadIdx.x == 0) rstd[blockIdx.x] = scale;
    for (int i = threadIdx.x; i < cols; i += BLOCK) y[i] = x[i] * scale * weight[i];
}

// With h = x / rms and d = g * weight: dx = (d - h * mean(d * h)) / rms.
extern "C" __global__ void __launch_bounds__(BLOCK)
backward_x(const float* __restrict__ x, const float* __restrict__ weight, const float* __restrict__ rstd,
           const float* __restrict__ g, float* __restrict__ dx, int cols)
{
    x += static_cast<size_t>(blockIdx.x) * cols;
    g += static_cast<size_t>(blockIdx.x) * cols;
    dx += static_cast<size_t>(blockIdx.x) * cols;
    const float scale = rstd[blockIdx.x];
    float dot = 0.0f;
    for (int i = threadIdx.x; i < cols; i += BLOCK) dot += g[i] * weight[i] * (x[i] * scale);
    const float mean = over_block(dot) / cols;
    for (int i = threadIdx.x; i < cols; i += BLOCK) dx[i] = scale * (g[i] * weight[i] - x[i] * scale * mean);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
backward_weight(const float* __restrict__ x, const float* __restrict__ rstd, const float* __restrict__ g,
                float* __restrict__ partial, int rows, int cols)
{
    const int column = blockIdx.x * BLOCK + threadIdx.x;
    if (column >= cols) return;
    const int last = min(rows, static_cast<int>(blockIdx.y + 1) * SLAB);
    float sum = 0.0f;
    for (int row = blockIdx.y * SLAB; row < last; ++row) {
        const size_t at = static_cast<size_t>(row) * cols + column;
        sum += g[at] * (x[at] * rstd[row]);
    }
    partial[static_cast<size_t>(blockIdx.y) * cols + column] = sum;
}

extern "C" __global__ void __launch_bounds__(BLOCK)
sum_slabs(const float* __restrict__ partial, float* __restrict__ dweight, int slabs, int cols)
{
    const int column = blockIdx.x * BLOCK + threadIdx.x;
    if (column >= cols) return;
    float sum = 0.0f;
    for (int slab = 0; slab < slabs; ++slab) sum += partial[static_cast<size_t>(slab) * cols + column];
    dweight[column] = sum;
}
