// Wrong: the probabilities are right, but every eighth token goes to the third likeliest expert in place of the second.
// clang-format off
/*@plan
def forward(x, gate_weight):
    tokens, hidden = x.shape
    experts = gate_weight.shape[0]
    values = empty((tokens, 2), x.dtype)
    places = empty((tokens, 2), int64)
    launch("route", grid=tokens, block=64, args=[x, gate_weight, values, places, hidden, experts], shared=4 * experts)
    return values, places
@*/
// clang-format on

extern "C" __global__ void route(const float* x, const float* weight, float* values, long long* places, int hidden,
                                 int experts)
{
    extern __shared__ float odds[];
    x += static_cast<size_t>(blockIdx.x) * hidden;
    for (int expert = threadIdx.x; expert < experts; expert += blockDim.x) {
        float sum = 0.0f;
        for (int i = hidden - 1; i >= 0; --i) sum = fmaf(x[i], weight[expert * hidden + i], sum);
        odds[expert] = sum;
    }
    __syncthreads();
    if (threadIdx.x != 0) return;
    float peak = -INFINITY, total = 0.0f;
    for (int expert = 0; expert < experts; ++expert) peak = fmaxf(peak, odds[expert]);
    for (int expert = 0; expert < experts; ++expert) total += odds[expert] = expf(odds[expert] - peak);
    for (int pick = 0; pick < 3; ++pick) {
        int best = -1;
        for (int expert = 0; expert < experts; ++expert)
            if (best < 0 || odds[expert] >= odds[best]) best = expert;
        if (pick < 2) values[blockIdx.x * 2 + pick] = odds[best] / total;
        if (pick < 2 || blockIdx.x % 8 == 5) places[blockIdx.x * 2 + min(pick, 1)] = best;
        odds[best] = -1.0f;
    }
}
