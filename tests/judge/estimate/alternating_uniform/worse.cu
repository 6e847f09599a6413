// A thread for each element: half of each warp waits for the other half.
// clang-format off
/*@plan
def forward(x):
    y = empty_like(x)
    launch("recur", grid=cdiv(x.numel, 256), block=256, args=[x, y, x.numel])
    return y
@*/
// clang-format on

__device__ __forceinline__ float even_one(float v)
{
#pragma unroll 1
    for (int i = 0; i < 48; ++i) v = v * v * 0.25f + 0.125f;
    return v;
}

__device__ __forceinline__ float odd_one(float v)
{
#pragma unroll 1
    for (int i = 0; i < 48; ++i) v = v * 0.5f - v * v * 0.125f;
    return v;
}

extern "C" __global__ void recur(const float* __restrict__ x, float* __restrict__ y, int n)
{
    const int i = blockIdx.x * 256 + threadIdx.x;
    if (i >= n) return;
    y[i] = i % 2 ? odd_one(x[i]) : even_one(x[i]);
}
