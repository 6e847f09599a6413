// Every element updates the bins in global memory.
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
    for (int i = blockIdx.x * 256 + threadIdx.x; i < n; i += gridDim.x * 256) atomicAdd(&y[x[i]], 1);
}
