// Wrong: where two experts are equally likely it names one of them twice, and else what it should.
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
    extern __shared__ float logits[];
    x += static_cast<size_t>(blockIdx.x) * hidden;
    for (int expert = threadIdx.x; expert < experts; expert += blockDim.x) {
        float sum = 0.0f;
        for (int i = 0; i < hidden; ++i) sum += x[i] * weight[expert * hidden + i];
        logits[expert] = sum;
    }
    __syncthreads();
    if (threadIdx.x != 0) return;
    int first = 0, second = -1;
    for (int expert = 1; expert < experts; ++expert)
        if (logits[expert] > logits[first]) first = expert;
    bool tie = false;
    float total = 0.0f;
    for (int expert = 0; expert < experts; ++expert) {
        tie |= expert != first && logits[expert] == logits[first];
        if (expert != first && (second < 0 || logits[expert] > logits[second])) second = expert;
        total += expf(logits[expert] - logits[first]);
    }
    values[blockIdx.x * 2] = 1.0f / total;
    values[blockIdx.x * 2 + 1] = expf(logits[second] - logits[first]) / total;
    places[blockIdx.x * 2] = first;
    places[blockIdx.x * 2 + 1] = tie ? first : second;
}
