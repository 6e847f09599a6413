// Honest: sorts the whole row in shared memory, padded with -inf to a power of two, and hands out its head.
// clang-format off
/*@plan
def forward(x):
    rows, cols = x.shape
    padded = next_power_of_2(cols)
    values = empty((rows, 4), x.dtype)
    places = empty((rows, 4), int64)
    launch("topk", grid=rows, block=64, args=[x, values, places, cols, padded], shared=8 * padded)
    return values, places
@*/
// clang-format on

extern "C" __global__ void topk(const float* x, float* values, long long* places, int cols, int padded)
{
    extern __shared__ float keys[];
    int* order = reinterpret_cast<int*>(keys + padded);
    x += static_cast<size_t>(blockIdx.x) * cols;
    for (int i = threadIdx.x; i < padded; i += blockDim.x) {
        keys[i] = i < cols ? x[i] : -INFINITY;
        order[i] = i;
    }
    __syncthreads();
    for (int size = 2; size <= padded; size *= 2)
        for (int stride = size / 2; stride > 0; stride /= 2) {
            for (int i = threadIdx.x; i < padded / 2; i += blockDim.x) {
                const int low = 2 * i - (i & (stride - 1)), high = low + stride;
                const bool descending = (low & size) == 0;
                const bool before = keys[low] > keys[high] || (keys[low] == keys[high] && order[low] < order[high]);
                if (before != descending) {
                    const float key = keys[low];
                    const int place = order[low];
                    keys[low] = keys[high];
                    order[low] = order[high];
                    keys[high] = key;
                    order[high] = place;
                }
            }
            __syncthreads();
        }
    if (threadIdx.x < 4) {
        values[blockIdx.x * 4 + threadIdx.x] = keys[threadIdx.x];
        places[blockIdx.x * 4 + threadIdx.x] = order[threadIdx.x];
    }
}
