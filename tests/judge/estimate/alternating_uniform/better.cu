// A thread does an even element and an odd one, so that a warp goes one way at a time.
// clang-format off
/*@plan
def forward(x):
    y = empty_like(x)
    launch("recur", grid=cdiv(x.numel // 2, 256), block=256, args=[x, y, x.numel // 2])
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

extern "C" __global__ void recur(const float2* __restrict__ x, float2* __restrict__ y, int n)
{
    const int i = blockIdx.x * 256 + threadIdx.x;
    if (i >= n) return;
    float2 v = x[i];
    v.x = even_one(v.x);
    v.y = odd_one(v.y);
    y[i] = v;
}
