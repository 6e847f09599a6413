// diag(a) @ b is each row of b times one number: a block takes one stretch of one row, loads its factor once and streams
// float4 through. No index arithmetic beyond an addition. Wins on wide matrices, where a row gives whole blocks of work.
// clang-format off
/*@plan
BLOCK = tune(256, [128, 256, 512])
PER_THREAD = tune(4, [1, 2, 4, 8])
compile(defines={"PER_THREAD": PER_THREAD})

def forward(a, b):
    rows, cols = b.shape
    c = empty((rows, cols), b.dtype)
    width = 4 if cols % 4 == 0 else 1
    across = cdiv(cols // width, BLOCK * PER_THREAD)
    require(across <= 65535, "stretches of a row are counted in the grid's second dimension")
    launch(f"scale_rows<{'float4' if width == 4 else 'float'}>", grid=(rows, across), block=BLOCK,
           args=[a, b, c, cols // width])
    return c
@*/
// clang-format on

__device__ __forceinline__ float times(float factor, float v) { return factor * v; }

__device__ __forceinline__ float4 times(float factor, float4 v)
{
    return make_float4(factor * v.x, factor * v.y, factor * v.z, factor * v.w);
}

template <typename Vector>
__global__ void scale_rows(const float* __restrict__ a, const Vector* __restrict__ b, Vector* __restrict__ c, int groups)
{
    const float factor = a[blockIdx.x];
    b += static_cast<size_t>(blockIdx.x) * groups;
    c += static_cast<size_t>(blockIdx.x) * groups;
    const int begin = blockIdx.y * blockDim.x * PER_THREAD + threadIdx.x;
    // All loads before the first store: PER_THREAD of them are in flight at a time.
    Vector held[PER_THREAD];
#pragma unroll
    for (int i = 0; i < PER_THREAD; ++i) {
        const int at = begin + i * blockDim.x;
        if (at < groups) held[i] = b[at];
    }
#pragma unroll
    for (int i = 0; i < PER_THREAD; ++i) {
        const int at = begin + i * blockDim.x;
        if (at < groups) c[at] = times(factor, held[i]);
    }
}
