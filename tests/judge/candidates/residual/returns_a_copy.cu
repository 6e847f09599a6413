// Honest: returns a copy where the reference returns its input, which it may.
// clang-format off
/*@plan
def forward(x):
    copy, y = empty_like(x), empty_like(x)
    launch("silu", grid=cdiv(x.numel, 128), block=128, args=[x, copy, y, x.numel])
    return copy, y
@*/
// clang-format on

extern "C" __global__ void silu(const float* x, float* copy, float* y, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    copy[i] = x[i];
    y[i] = x[i] / (1.0f + expf(-x[i]));
}
