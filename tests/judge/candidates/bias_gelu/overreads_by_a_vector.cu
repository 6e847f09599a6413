// Wrong: rounds the number of vectors up, and always reads one more.
// clang-format off
/*@plan
BLOCK = tune(64, [32, 64, 128])

def forward(x, bias, factor):
    y = empty_like(x)
    launch("bias_gelu", grid=min(cdiv(x.numel, 4 * BLOCK), 2), block=BLOCK, args=[x, bias, y, x.numel, x.shape[1], factor])
    return y
@*/
// clang-format on

__device__ float gelu(float v)
{
    return 0.5f * v * (1.0f + tanhf(0.7978845608f * (v + 0.044715f * v * v * v)));
}

extern "C" __global__ void bias_gelu(const float* __restrict__ x, const float* __restrict__ bias,
                                     float* __restrict__ y, int n, int cols, float factor)
{
    const int stride = gridDim.x * blockDim.x, first = blockIdx.x * blockDim.x + threadIdx.x;
    const float4* x4 = reinterpret_cast<const float4*>(x);
    float4* y4 = reinterpret_cast<float4*>(y);
    for (int i = first; i < n / 4 + 1; i += stride) {
        const float4 v = x4[i];
        y4[i] = make_float4(factor * gelu(v.x + bias[4 * i % cols]), factor * gelu(v.y + bias[(4 * i + 1) % cols]),
                            factor * gelu(v.z + bias[(4 * i + 2) % cols]), factor * gelu(v.w + bias[(4 * i + 3) % cols]));
    }
    for (int i = n / 4 * 4 + first; i < n; i += stride) y[i] = factor * gelu(x[i] + bias[i % cols]);
}
