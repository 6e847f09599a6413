// Honest: writes the state and returns it.
// clang-format off
/*@plan
def forward(state, step):
    launch("add", grid=cdiv(state.numel, 128), block=128, args=[state, step, state.numel])
    return state
@*/
// clang-format on

extern "C" __global__ void add(float* state, const float* step, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) state[i] += 0.5f * step[i];
}
