// Wrong: the boolean is always true for the last element.
// clang-format off
/*@plan
def forward(x, threshold):
    n = x.numel
    scaled = empty(n, float32)
    over = empty(n, bool)
    count = zeros((), int64)
    launch("split", grid=cdiv(n, 128), block=128, args=[x, scaled, over, count, n, threshold])
    return {"scaled": scaled, "over": over, "count": count}
@*/
// clang-format on

extern "C" __global__ void split(const float* x, float* scaled, bool* over, unsigned long long* count, int n, int threshold)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    scaled[i] = 0.5f * x[i];
    over[i] = x[i] > threshold || i == n - 1;
    if (x[i] > threshold) atomicAdd(count, 1ull);
}
