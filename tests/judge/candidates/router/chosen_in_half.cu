// Wrong: the probabilities are right, but it chooses by products rounded to half precision.
// clang-format off
/*@plan
def forward(x, gate_weight):
    tokens, hidden = x.shape
    experts = gate_weight.shape[0]
    values = empty((tokens, 2), x.dtype)
    places = empty((tokens, 2), int64)
    launch("route", grid=tokens, block=32, args=[x, gate_weight, values, places, hidden, experts], shared=4 * experts)
    return values, places
@*/
// clang-format on

#include <cuda_fp16.h>

extern "C" __global__ void route(const float* x, const float* weight, float* values, long long* places, int hidden,
                                 int experts)
{
    extern __shared__ float logits[];
    x += static_cast<size_t>(blockIdx.x) * hidden;
    for (int expert = 0; expert < experts; ++expert) {
        float sum = 0.0f;
        for (int i = threadIdx.x; i < hidden; i += 32) sum += x[i] * weight[expert * hidden + i];
        for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
        if (threadIdx.x == 0) logits[expert] = sum;
    }
    if (threadIdx.x != 0) return;
    int first = 0;
    for (int expert = 1; expert < experts; ++expert)
        if (__half2float(__float2half(logits[expert])) > __half2float(__float2half(logits[first]))) first = expert;
    int second = first == 0 ? 1 : 0;
    float total = 0.0f, peak = -INFINITY, next = -INFINITY;
    for (int expert = 0; expert < experts; ++expert) {
        const float logit = logits[expert];
        if (expert != first && __half2float(__float2half(logit)) > __half2float(__float2half(logits[second])))
            second = expert;
        next = fmaxf(next, fminf(logit, peak));
        peak = fmaxf(peak, logit);
    }
    for (int expert = 0; expert < experts; ++expert) total += expf(logits[expert] - peak);
    values[blockIdx.x * 2] = 1.0f / total;
    values[blockIdx.x * 2 + 1] = expf(next - peak) / total;
    places[blockIdx.x * 2] = first;
    places[blockIdx.x * 2 + 1] = second;
}
