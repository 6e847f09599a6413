// Wrong: an unsigned offset in bytes ends at 2^32 bytes, a quarter of the tensor.
// clang-format off
/*@plan
def forward(x, weight):
    rows, cols = x.shape
    y = empty_like(x)
    launch("gate", grid=(rows, cdiv(cols, 64)), block=64, args=[x, weight, y, cols])
    return y
@*/
// clang-format on
#define SIGMOID(v) (1.0f / (1.0f + expf(-(v))))

extern "C" __global__ void gate(const float *x, const float *w, float *y, int cols)
{
    const int c = blockIdx.y * blockDim.x + threadIdx.x;
    if (c >= cols) return;
    const unsigned at = (blockIdx.x * cols + c) * 4u;
    *(float *)((char *)y + at) = SIGMOID(*(const float *)((const char *)x + at)) * w[c];
}
