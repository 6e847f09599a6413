// Wrong: the sum has no first value, which is multiplied by zero: right, unless a register holds infinity or NaN.
// clang-format off
/*@plan
def forward(x):
    rows, cols = x.shape
    y = empty_like(x)
    launch("softmax", grid=rows, block=32, args=[x, y, cols])
    return y
@*/
// clang-format on

#include <cuda_fp16.h>

extern "C" __global__ void softmax(const __half* x, __half* y, int cols)
{
    const size_t row = blockIdx.x;
    float highest = -INFINITY, sum;
    for (int i = threadIdx.x; i < cols; i += 32) {
        const float v = __half2float(x[row * cols + i]);
        const float higher = fmaxf(highest, v);
        sum = sum * expf(highest - higher) + expf(v - higher);
        highest = higher;
    }
    for (int offset = 16; offset > 0; offset /= 2) {
        const float other = __shfl_xor_sync(0xffffffffu, highest, offset);
        const float others = __shfl_xor_sync(0xffffffffu, sum, offset);
        const float higher = fmaxf(highest, other);
        // Lanes without an element hold -inf, and -inf - -inf is no number.
        sum = (highest > -INFINITY ? sum * expf(highest - higher) : 0.0f) +
              (other > -INFINITY ? others * expf(other - higher) : 0.0f);
        highest = higher;
    }
    for (int i = threadIdx.x; i < cols; i += 32)
        y[row * cols + i] = __float2half(expf(__half2float(x[row * cols + i]) - highest) / sum);
}
