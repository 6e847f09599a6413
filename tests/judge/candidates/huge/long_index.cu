// Honest: 64 bits.
// clang-format off
/*@plan
def forward(x, weight):
    rows, cols = x.shape
    y = empty_like(x)
    launch("gate", grid=cdiv(rows * cols, 256), block=256, args=[x, weight, y, i64(rows * cols), cols])
    return y
@*/
// clang-format on
#define SIGMOID(v) (1.0f / (1.0f + expf(-(v))))

extern "C" __global__ void gate(const float *x, const float *w, float *y, long long n, int cols)
{
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = SIGMOID(x[i]) * w[i % cols];
}
