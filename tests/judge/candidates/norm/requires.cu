// Honest: covers only rows that can be read as float4, and says so.
// clang-format off
/*@plan
def forward(x, weight, eps):
    rows, cols = x.shape
    require(cols % 4 == 0, "rows are read as float4")
    y = empty_like(x)
    launch("rms_norm", grid=rows, block=128, args=[x, weight, y, cols, eps])
    return y
@*/
// clang-format on

extern "C" __global__ void rms_norm(const float* x, const float* w, float* y, int cols, float eps)
{
    __shared__ float partial[4];
    const size_t row = blockIdx.x;
    const float4* x4 = reinterpret_cast<const float4*>(x + row * cols);
    const float4* w4 = reinterpret_cast<const float4*>(w);
    float4* y4 = reinterpret_cast<float4*>(y + row * cols);
    float sum = 0;
    for (int i = threadIdx.x; i < cols / 4; i += 128) {
        const float4 v = x4[i];
        sum += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
    }
    for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = sum;
    __syncthreads();
    const float r = rsqrtf((partial[0] + partial[1] + partial[2] + partial[3]) / cols + eps);
    for (int i = threadIdx.x; i < cols / 4; i += 128) {
        const float4 v = x4[i], a = w4[i];
        y4[i] = make_float4(v.x * r * a.x, v.y * r * a.y, v.z * r * a.z, v.w * r * a.w);
    }
}
