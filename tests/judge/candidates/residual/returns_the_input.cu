// Honest: returns its input, as the reference does.
// clang-format off
/*@plan
def forward(x):
    y = empty_like(x)
    launch("silu", grid=cdiv(x.numel, 128), block=128, args=[x, y, x.numel])
    return x, y
@*/
// clang-format on

extern "C" __global__ void silu(const float* x, float* y, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i] / (1.0f + expf(-x[i]));
}
