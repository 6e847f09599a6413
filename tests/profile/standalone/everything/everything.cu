// Launches of every kind, with arguments of every type.
// clang-format off
/*@plan
compile(defines={"STEP": 3, "TYPE": "float"}, max_registers=64)

def forward(x, half, state, mask, weight, shift, eps):
    y, h, count = empty_like(x), empty_like(half), zeros((), int64)
    flags = zeros(4097, uint8)
    scratch = empty((2, 3), float32)
    launch("scalars", grid=(2, 3, 4), block=(8, 4, 2),
           args=[-1, 2**63, -2**40, 7, -3, 255, True, 1.5, 0.1, 0.1, 1e-3, eps, f64(eps), y])
    launch("tables", grid=1, block=32, args=[pointers([x, half, weight]), y, pointers([y, scratch])], shared=65536)
    launch("copies<TYPE, STEP>", grid=8, block=64, args=[x, view(y, (x.numel,)), i64(x.numel)], cluster=(4, 1, 1))
    launch("together", grid=4, block=128, args=[state, mask, shift, half, h, count, flags], cooperative=True)
    launch("copies<long long, 2 + 1>", grid=1, block=1, args=[state, count, i64(0)])
    launch("nothing", grid=1, block=1, args=[])
    return y, h, count
@*/
// clang-format on

#include <cuda_bf16.h>
#include <cuda_fp16.h>

extern "C" __global__ void scalars(int a, unsigned long long b, long long c, unsigned d, short e, unsigned char f, bool g,
                                   __half h, float i, double j, __nv_bfloat16 k, float l, double m, float* y)
{
    y[0] = a + b + c + d + e + f + g + (float)h + i + j + (float)k + l + m;
}

extern "C" __global__ void tables(const float* const* in, float* y, float** out)
{
    extern __shared__ float kept[];
    kept[threadIdx.x] = in[0][threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = kept[31 - threadIdx.x];
    out[0][0] = 0;
}

template <class T, int N> __global__ void copies(const T* x, T* y, long long n)
{
    for (long long i = threadIdx.x; i < n; i += N) y[i] = x[i];
}

extern "C" __global__ void nothing() {}

extern "C" __global__ void together(long long* state, const bool* mask, const int* shift, const __nv_bfloat16* half,
                                    __nv_bfloat16* h, long long* count, unsigned char* flags)
{
    state[0] += mask[0] + shift[0];
    h[0] = half[0];
    count[0] = flags[0];
}
