// Inaccurate: every other element is 9e-4 too large.
// clang-format off
/*@plan
def forward(x, mask):
    y = empty_like(x)
    launch("mix", grid=cdiv(x.numel, 128), block=128, args=[x, mask, y, x.numel])
    return y
@*/
// clang-format on

extern "C" __global__ void mix(const float* x, const float* mask, float* y, int count)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) y[i] = x[i] * (1.0f - mask[i]) * sqrtf(1.0f - mask[i]) * (1.0f + 0.0009f * (i % 2));
}
