// Wrong: every row uses the first row's mask.
// clang-format off
/*@plan
def forward(scores, mask):
    rows, cols = scores.shape
    y = empty_like(scores)
    launch("masked_softmax", grid=cdiv(rows, 4), block=(32, 4), args=[scores, mask, y, rows, cols])
    return y
@*/
// clang-format on

extern "C" __global__ void masked_softmax(const float* scores, const bool* mask, float* y, int rows, int cols)
{
    const int row = blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= rows) return;
    const size_t start = static_cast<size_t>(row) * cols;
    float highest = -INFINITY, sum = 0.0f;
    for (int i = threadIdx.x; i < cols; i += 32) {
        if (!mask[i]) continue;
        const float v = scores[start + i];
        if (v > highest) {
            sum *= expf(highest - v);
            highest = v;
        }
        sum += expf(v - highest);
    }
    for (int offset = 16; offset > 0; offset /= 2) {
        const float other = __shfl_xor_sync(0xffffffffu, highest, offset);
        const float others = __shfl_xor_sync(0xffffffffu, sum, offset);
        const float higher = fmaxf(highest, other);
        if (higher > -INFINITY) sum = sum * expf(highest - higher) + others * expf(other - higher);
        highest = higher;
    }
    for (int i = threadIdx.x; i < cols; i += 32)
        y[start + i] = mask[i] ? expf(scores[start + i] - highest) / sum : 0.0f;
}
