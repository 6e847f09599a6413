// One half a thread: two bytes an access.
// clang-format off
/*@plan
def forward(x):
    y = empty_like(x)
    launch("affine", grid=cdiv(x.numel, 256), block=256, args=[x, y, i64(x.numel)])
    return y
@*/
// clang-format on

#include <cuda_fp16.h>

extern "C" __global__ void affine(const __half* __restrict__ x, __half* __restrict__ y, long long n)
{
    const long long i = (long long)blockIdx.x * 256 + threadIdx.x;
    if (i < n) y[i] = __float2half(__half2float(x[i]) * 2.0f + 1.0f);
}
