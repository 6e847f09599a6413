// Honest: each lane keeps the best of its tokens and the warp the best of those; of equals it takes the last.
// clang-format off
/*@plan
def forward(x, head_weight, banned):
    y = empty((), int64)
    launch("choose", grid=1, block=32, args=[x, head_weight, banned, y, x.shape[1], head_weight.shape[0]])
    return y
@*/
// clang-format on

extern "C" __global__ void choose(const float* x, const float* weight, const float* banned, long long* y, int hidden,
                                  int vocabulary)
{
    float best = -INFINITY;
    int at = 0;
    for (int token = threadIdx.x; token < vocabulary; token += 32) {
        if (banned[token] > 0.0f) continue;
        float sum = 0.0f;
        for (int i = 0; i < hidden; ++i) sum += x[i] * weight[token * hidden + i];
        if (sum >= best) {
            best = sum;
            at = token;
        }
    }
    for (int offset = 16; offset > 0; offset /= 2) {
        const float other = __shfl_xor_sync(0xffffffffu, best, offset);
        const int place = __shfl_xor_sync(0xffffffffu, at, offset);
        if (other > best || (other == best && place > at)) {
            best = other;
            at = place;
        }
    }
    if (threadIdx.x == 0) *y = at;
}
