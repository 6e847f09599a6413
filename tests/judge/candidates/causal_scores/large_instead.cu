// Wrong: a large finite number stands for minus infinity.
// clang-format off
/*@plan
def forward(scores):
    n, steps, _ = scores.shape
    out = empty_like(scores)
    launch("mask", grid=(steps, n), block=128, args=[scores, out, steps])
    return out
@*/
// clang-format on
extern "C" __global__ void mask(const float* __restrict__ scores, float* __restrict__ out, int steps)
{
    const size_t row = (static_cast<size_t>(blockIdx.y) * steps + blockIdx.x) * steps;
    for (int i = threadIdx.x; i < steps; i += blockDim.x)
        out[row + i] = i > blockIdx.x ? -1e9f : scores[row + i] * 0.7f;
}
