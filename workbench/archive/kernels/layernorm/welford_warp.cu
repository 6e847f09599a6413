// One warp for each row with Welford's update: mean and spread in one pass over a row of any length, without the
// cancellation of E[x^2] - E[x]^2; the lanes' results are joined by Chan's formula through shuffles. No shared memory, no
// barrier. Wins on many short rows (up to some 700 columns on an H200); on longer ones its chain of divisions costs more
// than a second pass over registers.
// clang-format off
/*@plan
WARPS = tune(8, [2, 4, 8, 16])
compile(defines={"WARPS": WARPS})

def forward(x, weight, bias, eps):
    cols = x.shape[-1]
    rows = x.numel // cols
    y = empty_like(x)
    launch("layernorm", grid=cdiv(rows, WARPS), block=(32, WARPS),
           args=[x, weight, bias, y, rows, cols, eps])
    return y
@*/
// clang-format on

// Count, mean and sum of squared distances from the mean of the values seen so far.
struct Moments {
    float count = 0.0f;
    float mean = 0.0f;
    float spread = 0.0f;

    __device__ void join(float other_count, float other_mean, float other_spread)
    {
        const float joined = count + other_count;
        if (joined == 0.0f) return;  // two lanes that saw nothing
        const float share = other_count / joined;
        const float delta = other_mean - mean;
        spread += other_spread + delta * delta * count * share;
        mean += delta * share;
        count = joined;
    }

    // Four values at once: their own moments about their mean are cheap, and one division serves them all.
    __device__ void add(float4 v)
    {
        const float middle = v.x + ((v.y - v.x) + (v.z - v.x) + (v.w - v.x)) * 0.25f;
        const float a = v.x - middle, b = v.y - middle, c = v.z - middle, d = v.w - middle;
        join(4.0f, middle, (a * a + b * b) + (c * c + d * d));
    }
};

extern "C" __global__ void __launch_bounds__(32 * WARPS)
layernorm(const float* __restrict__ x, const float* __restrict__ weight, const float* __restrict__ bias,
          float* __restrict__ y, int rows, int cols, float eps)
{
    const int row = blockIdx.x * WARPS + threadIdx.y;
    const int lane = threadIdx.x;
    if (row >= rows) return;  // a whole warp at a time, so the shuffles below are still complete
    x += static_cast<size_t>(row) * cols;
    y += static_cast<size_t>(row) * cols;

    Moments seen;
    const bool vector = cols % 4 == 0;  // else rows do not start on 16 bytes
    if (vector) {
        const float4* x4 = reinterpret_cast<const float4*>(x);
        for (int i = lane; i < cols / 4; i += 32) seen.add(x4[i]);
    } else {
        for (int i = lane; i < cols; i += 32) seen.join(1.0f, x[i], 0.0f);
    }
    for (int offset = 16; offset > 0; offset /= 2) {
        const float count = __shfl_down_sync(0xffffffffu, seen.count, offset);
        const float mean = __shfl_down_sync(0xffffffffu, seen.mean, offset);
        const float spread = __shfl_down_sync(0xffffffffu, seen.spread, offset);
        seen.join(count, mean, spread);
    }
    // Chan's formula is not symmetric in rounding, so all lanes take what lane 0 found.
    const float mean = __shfl_sync(0xffffffffu, seen.mean, 0);
    const float scale = 1.0f / sqrtf(__shfl_sync(0xffffffffu, seen.spread, 0) / cols + eps);

    if (vector) {
        const float4* x4 = reinterpret_cast<const float4*>(x);
        const float4* w4 = reinterpret_cast<const float4*>(weight);
        const float4* b4 = reinterpret_cast<const float4*>(bias);
        float4* y4 = reinterpret_cast<float4*>(y);
        for (int i = lane; i < cols / 4; i += 32) {
            const float4 v = x4[i], w = w4[i], b = b4[i];
            y4[i] = make_float4((v.x - mean) * scale * w.x + b.x, (v.y - mean) * scale * w.y + b.y,
                                (v.z - mean) * scale * w.z + b.z, (v.w - mean) * scale * w.w + b.w);
        }
    } else {
        for (int i = lane; i < cols; i += 32) y[i] = (x[i] - mean) * scale * weight[i] + bias[i];
    }
}
