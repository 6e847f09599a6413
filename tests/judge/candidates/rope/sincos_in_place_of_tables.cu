// Honest: one thread turns one pair, sine and cosine from one call.
// clang-format off
/*@plan
def forward(x, angles):
    steps, heads, dim = x.shape
    y = empty_like(x)
    launch("rope", grid=(steps, heads), block=32, args=[x, angles, y, heads, dim // 2])
    return y
@*/
// clang-format on

#include <cuda_bf16.h>

extern "C" __global__ void rope(const __nv_bfloat16* __restrict__ x, const float* __restrict__ angles,
                                __nv_bfloat16* __restrict__ y, int heads, int half)
{
    const size_t start = (static_cast<size_t>(blockIdx.x) * heads + blockIdx.y) * 2 * half;
    for (int i = threadIdx.x; i < half; i += blockDim.x) {
        float sine, cosine;
        sincosf(angles[blockIdx.x * half + i], &sine, &cosine);
        const float left = __bfloat162float(x[start + i]), right = __bfloat162float(x[start + half + i]);
        y[start + i] = __float2bfloat16(left * cosine - right * sine);
        y[start + half + i] = __float2bfloat16(right * cosine + left * sine);
    }
}
