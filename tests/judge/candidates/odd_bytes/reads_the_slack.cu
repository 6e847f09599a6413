// Wrong: looks at the element behind, which is in the slack that the buffer's alignment leaves.
// clang-format off
/*@plan
def forward(x):
    y = empty_like(x)
    launch("affine", grid=1, block=64, args=[x, y, x.numel])
    return y
@*/
// clang-format on

extern "C" __global__ void affine(const float* x, float* y, int n)
{
    const int i = threadIdx.x;
    if (i < n) y[i] = x[i] * 2 + 1 + (x[i + 1] == 1.2345e-30f ? 1.0f : 0.0f);
}
