// Honest: a thread for each element.
// clang-format off
/*@plan
def forward(x, pad):
    filled, added = empty_like(x), empty_like(x)
    launch("mask", grid=cdiv(x.numel, 128), block=128, args=[x, pad, filled, added, x.numel, x.shape[1]])
    return filled, added
@*/
// clang-format on

extern "C" __global__ void mask(const float* x, const bool* pad, float* filled, float* added, int count, int cols)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const bool out = pad[i % cols];
    const float score = x[i] * 0.125f;
    filled[i] = out ? -1e9f : score;
    added[i] = score + (out ? -1e4f : 0.0f);
}
