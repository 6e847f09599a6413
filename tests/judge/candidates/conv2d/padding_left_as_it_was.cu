// Wrong: the taps in the padding are taken for zero, but nobody writes them.
// clang-format off
/*@plan
def forward(x, conv_weight, conv_bias):
    n, c, h, w = x.shape
    k = conv_weight.shape[0]
    columns = empty((n, c * 9, h * w), x.dtype)
    y = empty((n, k, h, w), x.dtype)
    launch("unfold", grid=(cdiv(h * w, 32), c * 9, n), block=32, args=[x, columns, c, h, w])
    launch("multiply", grid=(cdiv(h * w, 32), k, n), block=32, args=[columns, conv_weight, conv_bias, y, c * 9, h * w])
    return y
@*/
// clang-format on

extern "C" __global__ void unfold(const float* x, float* columns, int c, int h, int w)
{
    const int at = blockIdx.x * blockDim.x + threadIdx.x, tap = blockIdx.y;
    if (at >= h * w) return;
    const int r = at / w + tap % 9 / 3 - 1, s = at % w + tap % 3 - 1;
    const float* plane = x + (static_cast<size_t>(blockIdx.z) * c + tap / 9) * h * w;
    const bool inside = r >= 0 && r < h && s >= 0 && s < w;
    if (inside) columns[(static_cast<size_t>(blockIdx.z) * gridDim.y + tap) * h * w + at] = plane[r * w + s];
}

extern "C" __global__ void multiply(const float* columns, const float* weight, const float* bias, float* y, int taps,
                                    int pixels)
{
    const int at = blockIdx.x * blockDim.x + threadIdx.x, k = blockIdx.y;
    if (at >= pixels) return;
    float sum = bias[k];
    for (int tap = 0; tap < taps; ++tap)
        sum += weight[k * taps + tap] * columns[(static_cast<size_t>(blockIdx.z) * taps + tap) * pixels + at];
    y[(static_cast<size_t>(blockIdx.z) * gridDim.y + k) * pixels + at] = sum;
}
