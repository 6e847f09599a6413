// Wrong: flips the taps, as the mathematical convolution does and PyTorch's does not.
// clang-format off
/*@plan
def forward(x, conv_weight, conv_bias):
    n, c, h, w = x.shape
    k = conv_weight.shape[0]
    y = empty((n, k, h, w), x.dtype)
    launch("conv", grid=(cdiv(h * w, 32), k, n), block=32, args=[x, conv_weight, conv_bias, y, c, h, w])
    return y
@*/
// clang-format on

extern "C" __global__ void conv(const float* x, const float* weight, const float* bias, float* y, int c, int h, int w)
{
    const int at = blockIdx.x * blockDim.x + threadIdx.x, k = blockIdx.y;
    if (at >= h * w) return;
    const int row = at / w, col = at % w;
    float sum = bias[k];
    for (int channel = 0; channel < c; ++channel) {
        const float* plane = x + (static_cast<size_t>(blockIdx.z) * c + channel) * h * w;
        const float* taps = weight + (k * c + channel) * 9;
        for (int dy = -1; dy <= 1; ++dy)
            for (int dx = -1; dx <= 1; ++dx) {
                const int r = row + dy, s = col + dx;
                if (r >= 0 && r < h && s >= 0 && s < w) sum += plane[r * w + s] * taps[(1 - dy) * 3 + 1 - dx];
            }
    }
    y[((static_cast<size_t>(blockIdx.z) * gridDim.y + k) * h + row) * w + col] = sum;
}
