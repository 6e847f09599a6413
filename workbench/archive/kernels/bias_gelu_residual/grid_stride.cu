// The whole matrix as one array of float4 and a grid-stride loop: every thread does many elements, blocks never run out in
// the middle of a wave. The bias column moves along by additions, so no division is paid for each element. Wins on few
// rows (decoding) and needs no thought about the shape; on tall matrices it fetches the bias again for every row.
// clang-format off
/*@plan
BLOCK = tune(256, [128, 256, 512])
PER_THREAD = tune(4, [1, 2, 4, 8])

def forward(x, bias, residual):
    cols = x.shape[-1]
    y = empty_like(x)
    width = 4 if cols % 4 == 0 else 1
    groups = x.numel // width
    grid = min(cdiv(groups, BLOCK * PER_THREAD), 2**20)
    launch("vector4" if width == 4 else "single", grid=grid, block=BLOCK,
           args=[x, bias, residual, y, i64(groups), cols // width])
    return y
@*/
// clang-format on

__device__ __forceinline__ float gelu_plus(float v, float residual)
{
    return 0.5f * v * (1.0f + erff(v * 0.70710678118654752f)) + residual;
}

// Where this thread starts in the array and in the bias, and by how much both move on.
struct Walk {
    long long index, step;
    int column, column_step, columns;

    __device__ explicit Walk(int columns) : columns(columns)
    {
        index = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
        step = static_cast<long long>(gridDim.x) * blockDim.x;
        column = static_cast<int>(index % columns);
        column_step = static_cast<int>(step % columns);
    }

    __device__ void next()
    {
        index += step;
        column += column_step;
        if (column >= columns) column -= columns;
    }
};

extern "C" __global__ void vector4(const float4* __restrict__ x, const float4* __restrict__ bias,
                                   const float4* __restrict__ residual, float4* __restrict__ y,
                                   long long count, int columns)
{
    for (Walk at(columns); at.index < count; at.next()) {
        const float4 v = x[at.index], b = bias[at.column], r = residual[at.index];
        y[at.index] = make_float4(gelu_plus(v.x + b.x, r.x), gelu_plus(v.y + b.y, r.y),
                                  gelu_plus(v.z + b.z, r.z), gelu_plus(v.w + b.w, r.w));
    }
}

extern "C" __global__ void single(const float* __restrict__ x, const float* __restrict__ bias,
                                  const float* __restrict__ residual, float* __restrict__ y,
                                  long long count, int columns)
{
    for (Walk at(columns); at.index < count; at.next())
        y[at.index] = gelu_plus(x[at.index] + bias[at.column], residual[at.index]);
}
