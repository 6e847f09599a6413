// Honest: writes the running statistics too.
// clang-format off
/*@plan
def forward(x, norm_weight, norm_bias, norm_running_mean, norm_running_var, norm_num_batches_tracked, norm_eps, norm_momentum):
    rows, features = x.shape
    y = empty_like(x)
    launch("batch_norm", grid=features, block=32,
           args=[x, norm_weight, norm_bias, norm_running_mean, norm_running_var, norm_num_batches_tracked, y,
                 rows, features, norm_eps, norm_momentum])
    return y
@*/
// clang-format on

__device__ float total(float v)
{
    for (int offset = 16; offset > 0; offset /= 2) v += __shfl_xor_sync(0xffffffffu, v, offset);
    return v;
}

extern "C" __global__ void batch_norm(const float* x, const float* weight, const float* bias, float* running_mean,
                                      float* running_var, long long* batches, float* y, int rows, int features,
                                      float eps, float momentum)
{
    const int f = blockIdx.x, lane = threadIdx.x;
    float sum = 0;
    for (int r = lane; r < rows; r += 32) sum += x[(size_t)r * features + f];
    const float mean = total(sum) / rows;
    float squares = 0;
    for (int r = lane; r < rows; r += 32) {
        const float d = x[(size_t)r * features + f] - mean;
        squares += d * d;
    }
    const float var = total(squares) / rows;
    const float scale = rsqrtf(var + eps);
    for (int r = lane; r < rows; r += 32)
        y[(size_t)r * features + f] = (x[(size_t)r * features + f] - mean) * scale * weight[f] + bias[f];
    if (lane == 0) {
        running_mean[f] += momentum * (mean - running_mean[f]);
        running_var[f] += momentum * (var * rows / (rows - 1) - running_var[f]);
        if (f == 0) *batches += 1;
    }
}
