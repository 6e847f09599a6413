// A thread for each column and 128 rows, partial sums joined by a second launch.
// clang-format off
/*@plan
def forward(x):
    rows, cols = x.shape
    parts = cdiv(rows, 128)
    partial = empty((parts, cols), float32)
    y = empty(cols, float32)
    launch("part", grid=(cdiv(cols, 256), parts), block=256, args=[x, partial, rows, cols])
    launch("join", grid=cdiv(cols, 256), block=256, args=[partial, y, parts, cols])
    return y
@*/
// clang-format on

extern "C" __global__ void part(const float* __restrict__ x, float* __restrict__ partial, int rows, int cols)
{
    const int column = blockIdx.x * 256 + threadIdx.x;
    if (column >= cols) return;
    const int last = min(rows, (int)(blockIdx.y + 1) * 128);
    float sum = 0.0f;
    for (int row = blockIdx.y * 128; row < last; ++row) sum += x[(size_t)row * cols + column];
    partial[(size_t)blockIdx.y * cols + column] = sum;
}

extern "C" __global__ void join(const float* __restrict__ partial, float* __restrict__ y, int parts, int cols)
{
    const int column = blockIdx.x * 256 + threadIdx.x;
    if (column >= cols) return;
    float sum = 0.0f;
    for (int i = 0; i < parts; ++i) sum += partial[(size_t)i * cols + column];
    y[column] = sum;
}
