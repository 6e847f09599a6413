// Bins of each block in shared memory first.
// clang-format off
/*@plan
def forward(x):
    y = zeros(64, int32)
    launch("histogram", grid=min(cdiv(x.numel, 256), 1056), block=256, args=[x, y, x.numel])
    return y
@*/
// clang-format on

extern "C" __global__ void histogram(const int* __restrict__ x, int* __restrict__ y, int n)
{
    __shared__ int bins[64];
    if (threadIdx.x < 64) bins[threadIdx.x] = 0;
    __syncthreads();
    for (int i = blockIdx.x * 256 + threadIdx.x; i < n; i += gridDim.x * 256) atomicAdd(&bins[x[i]], 1);
    __syncthreads();
    if (threadIdx.x < 64) atomicAdd(&y[threadIdx.x], bins[threadIdx.x]);
}
