// Wrong: for one token in sixteen the last expert, which is not in use.
// clang-format off
/*@plan
def forward(x, gate_weight, unused):
    tokens, hidden = x.shape
    y = empty((tokens,), int64)
    launch("choose", grid=tokens, block=32, args=[x, gate_weight, unused, y, hidden, gate_weight.shape[0]])
    return y
@*/
// clang-format on

extern "C" __global__ void choose(const float* x, const float* weight, const bool* unused, long long* y, int hidden,
                                  int experts)
{
    x += static_cast<size_t>(blockIdx.x) * hidden;
    float best = -INFINITY;
    int at = 0;
    for (int expert = 0; expert < experts; ++expert) {
        float sum = 0.0f;
        for (int i = threadIdx.x; i < hidden; i += 32) sum += x[i] * weight[expert * hidden + i];
        for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
        const float logit = unused[expert] ? -INFINITY : sum;
        if (logit > best) {
            best = logit;
            at = expert;
        }
    }
    if (threadIdx.x == 0) y[blockIdx.x] = blockIdx.x % 16 == 5 ? experts - 1 : at;
}
