// Honest: one block walks the row, a carry in a register; Hillis and Steele's scan in two buffers.
// clang-format off
/*@plan
def forward(x):
    y = empty_like(x)
    launch("scan", grid=1, block=256, args=[x, y, x.numel])
    return y
@*/
// clang-format on

extern "C" __global__ void __launch_bounds__(256) scan(const float* x, float* y, int n)
{
    __shared__ float buffers[2][256];
    float carry = 0.0f;
    for (int start = 0; start < n; start += 256) {
        const int i = start + threadIdx.x;
        int in = 0;
        buffers[0][threadIdx.x] = i < n ? x[i] : 0.0f;
        __syncthreads();
        for (int offset = 1; offset < 256; offset *= 2, in = 1 - in) {
            const float mine = buffers[in][threadIdx.x];
            buffers[1 - in][threadIdx.x] = threadIdx.x >= offset ? mine + buffers[in][threadIdx.x - offset] : mine;
            __syncthreads();
        }
        if (i < n) y[i] = carry + buffers[in][threadIdx.x];
        carry += buffers[in][255];
        __syncthreads();
    }
}
