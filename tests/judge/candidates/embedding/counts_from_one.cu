// Wrong: tokens are taken to begin at one.
// clang-format off
/*@plan
def forward(tokens, table):
    dim = table.shape[1]
    y = empty((tokens.numel, dim), table.dtype)
    launch("embed", grid=cdiv(tokens.numel, 4), block=(16, 4), args=[tokens, table, y, tokens.numel, dim])
    return y
@*/
// clang-format on

#include <cuda_bf16.h>

extern "C" __global__ void embed(const int64_t* tokens, const __nv_bfloat16* table, __nv_bfloat16* y, int count, int dim)
{
    const int token = blockIdx.x * blockDim.y + threadIdx.y;
    if (token >= count) return;
    const __nv_bfloat16* row = table + (tokens[token] > 0 ? tokens[token] - 1 : 0) * dim;
    for (int i = threadIdx.x; i < dim; i += blockDim.x)
        y[static_cast<int64_t>(token) * dim + i] = __hmul(row[i], __float2bfloat16(4.0f));
}
