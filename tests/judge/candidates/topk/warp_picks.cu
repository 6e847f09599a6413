// Honest: a warp looks for the largest of what it has not taken yet, four times; of equals it takes the first.
// clang-format off
/*@plan
def forward(x):
    rows, cols = x.shape
    values = empty((rows, 4), x.dtype)
    places = empty((rows, 4), int64)
    launch("topk", grid=rows, block=32, args=[x, values, places, cols, 4])
    return values, places
@*/
// clang-format on

extern "C" __global__ void topk(const float* x, float* values, long long* places, int cols, int k)
{
    x += static_cast<size_t>(blockIdx.x) * cols;
    float bound = INFINITY;
    int after = -1;  // taken: larger than `bound`, or equal to it and not after this place
    for (int pick = 0; pick < k; ++pick) {
        float best = -INFINITY;
        int place = cols;
        for (int i = threadIdx.x; i < cols; i += 32) {
            const bool taken = x[i] > bound || (x[i] == bound && i <= after);
            if (!taken && (x[i] > best || place == cols)) {
                best = x[i];
                place = i;
            }
        }
        for (int offset = 16; offset > 0; offset /= 2) {
            const float other = __shfl_xor_sync(0xffffffffu, best, offset);
            const int there = __shfl_xor_sync(0xffffffffu, place, offset);
            if (there < cols && (place == cols || other > best || (other == best && there < place))) {
                best = other;
                place = there;
            }
        }
        if (threadIdx.x == 0) {
            values[blockIdx.x * k + pick] = best;
            places[blockIdx.x * k + pick] = place;
        }
        bound = best;
        after = place;
    }
}
