// Honest: a thread for each row; Kahan's compensation carries what an addition would drop.
// clang-format off
/*@plan
def forward(x, norm_weight, norm_bias, norm_eps):
    rows, cols = x.shape
    y = empty_like(x)
    launch("layer_norm", grid=cdiv(rows, 32), block=32, args=[x, norm_weight, norm_bias, y, rows, cols, norm_eps])
    return y
@*/
// clang-format on

struct Kahan {
    float sum = 0.0f, lost = 0.0f;

    __device__ void add(float value)
    {
        const float corrected = value - lost;
        const float next = sum + corrected;
        lost = (next - sum) - corrected;
        sum = next;
    }
};

extern "C" __global__ void layer_norm(const float* x, const float* weight, const float* bias, float* y, int rows,
                                      int cols, float eps)
{
    const int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows) return;
    x += static_cast<size_t>(row) * cols;
    y += static_cast<size_t>(row) * cols;

    Kahan total, squares;
    for (int i = 0; i < cols; ++i) total.add(x[i]);
    const float mean = total.sum / cols;
    for (int i = 0; i < cols; ++i) squares.add((x[i] - mean) * (x[i] - mean));
    const float scale = rsqrtf(squares.sum / cols + eps);
    for (int i = 0; i < cols; ++i) y[i] = (x[i] - mean) * scale * weight[i] + bias[i];
}
