// Wrong: the right result in a new tensor, the state left as it was.
// clang-format off
/*@plan
def forward(state, step):
    out = empty_like(state)
    launch("add", grid=cdiv(state.numel, 128), block=128, args=[state, step, out, state.numel])
    return out
@*/
// clang-format on

extern "C" __global__ void add(const float* state, const float* step, float* out, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = state[i] + 0.5f * step[i];
}
