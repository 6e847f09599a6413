// Wrong: the maximum is never set; what stands there is smaller than any input on the plain build, and infinity on the other.
// clang-format off
/*@plan
def forward(x):
    n, c, h, w = x.shape
    oh, ow = (h - 1) // 2 + 1, (w - 1) // 2 + 1
    y = empty((n, c, oh, ow), x.dtype)
    where = empty((n, c, oh, ow), int64)
    launch("max_pool", grid=cdiv(y.numel, 64), block=64, args=[x, y, where, y.numel, h, w, oh, ow])
    return y, where
@*/
// clang-format on

extern "C" __global__ void max_pool(const float* __restrict__ x, float* __restrict__ y, long long* __restrict__ where,
                                    int windows, int h, int w, int oh, int ow)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= windows) return;
    const float* plane = x + static_cast<size_t>(i / (oh * ow)) * h * w;
    const int top = i / ow % oh * 2 - 1, left = i % ow * 2 - 1;
    float largest;
    int place = max(top, 0) * w + max(left, 0);
    for (int row = max(top, 0); row < min(top + 3, h); ++row)
        for (int col = max(left, 0); col < min(left + 3, w); ++col) {
            const float v = plane[row * w + col];
            if (v >= largest || v != v) {
                largest = v;
                place = row * w + col;
            }
        }
    y[i] = largest;
    where[i] = place;
}
