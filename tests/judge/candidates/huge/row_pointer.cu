// Honest: the row's pointer is 64 bits wide, and what is added to it fits an int.
// clang-format off
/*@plan
def forward(x, weight):
    rows, cols = x.shape
    y = empty_like(x)
    launch("gate", grid=rows, block=128, args=[x, weight, y, cols])
    return y
@*/
// clang-format on
#define SIGMOID(v) (1.0f / (1.0f + expf(-(v))))

extern "C" __global__ void gate(const float *x, const float *w, float *y, int cols)
{
    x += (size_t)blockIdx.x * cols;
    y += (size_t)blockIdx.x * cols;
    for (int c = threadIdx.x; c < cols; c += blockDim.x) y[c] = SIGMOID(x[c]) * w[c];
}
