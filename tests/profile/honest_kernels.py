"""Kernels of honest authors: what the toolkit offers, each on the architectures that have it.

All of them stand in one file for each architecture, so that reading the headers is paid for once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

ARCHITECTURES = ("sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120a")

HEADERS = """#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>
#include <cooperative_groups/reduce.h>
#include <cooperative_groups/scan.h>
#include <cub/agent/single_pass_scan_operators.cuh>
#include <cub/block/block_load.cuh>
#include <cub/block/block_merge_sort.cuh>
#include <cub/block/block_radix_sort.cuh>
#include <cub/block/block_reduce.cuh>
#include <cub/block/block_scan.cuh>
#include <cub/block/block_store.cuh>
#include <cub/warp/warp_reduce.cuh>
#include <cub/warp/warp_scan.cuh>
#include <cuda/atomic>
#include <cuda/barrier>
#include <cuda/pipeline>
#include <cuda/ptx>
#include <cuda/semaphore>
#include <cuda/std/array>
#include <cuda/std/complex>
#include <cuda/std/limits>
#include <cuda/std/tuple>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <mma.h>
namespace cg = cooperative_groups;
"""

LIGHT_HEADERS = "#include <cuda_bf16.h>\n#include <cuda_fp16.h>\n#include <cuda_fp8.h>\n"


def number(arch: str) -> int:
    """90 of "sm_90a"."""
    return int("".join(c for c in arch if c.isdigit()))


def since(first: int) -> Callable[[int], bool]:
    """Every architecture from `first` on."""
    return lambda arch: arch >= first


@dataclass(frozen=True)
class Honest:
    """A kernel `NAME(const float* x, float* y, int n)` in a text whose NAME is filled in."""

    text: str
    on: Callable[[int], bool] = lambda arch: True
    tables: tuple[str, ...] = ()
    """Initialised globals that it reaches."""
    unchecked: frozenset[str] = frozenset()
    """What cannot be established of it on some architectures."""


def _k(body: str, before: str = "", attributes: str = "") -> str:
    return f'{before}\nextern "C" __global__ {attributes} void NAME(const float* x, float* y, int n) {{\n{body}\n}}\n'


_INDEX = "int i = blockIdx.x * blockDim.x + threadIdx.x;"

HONEST: dict[str, Honest] = {
    # --- plain CUDA
    "elementwise": Honest(_k(f"{_INDEX} if (i < n) y[i] = fmaxf(x[i], 0.f) * 2;")),
    "grid_stride": Honest(
        _k(
            "for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) y[i] = x[i] + 1;"
        )
    ),
    "vector_loads": Honest(
        _k(f"{_INDEX} float4 v = ((const float4*)x)[i]; v.x *= 2; v.w += v.y; ((float4*)y)[i] = v;")
    ),
    "math": Honest(
        _k(
            "double d = x[1]; y[0] = expf(x[0]) + erff(x[1]) + tgammaf(x[2]) + sin(d) / (1 + d) + powf(x[3], x[4])"
            " + rsqrtf(x[5]) + (float)lgamma(d) + sinf(x[6] * 1e6f) + cosf(x[7]) + normcdff(x[8]) + j0f(x[9]);"
        )
    ),
    "integers": Honest(
        _k(
            "const int* p = (const int*)x; long long a = p[0], b = p[1]; ((long long*)y)[1] = a / b + a % 7 + p[2] / n"
            " + __popc(p[3]) + __ffs(p[4]) + __brev(p[5]) + __clz(p[6]) + __mulhi(p[7], n) + __dp4a(p[8], p[9], 1)"
            " + __byte_perm(p[1], p[2], 0x1234) + __funnelshift_l(p[3], p[4], 3) + __umul64hi(a, b);"
        )
    ),
    "local_array": Honest(
        _k(
            "float mine[16]; for (int i = 0; i < 16; ++i) mine[i] = x[i]; y[0] = mine[n & 15] + mine[(n + 3) & 15];"
        )
    ),
    "lookup_in_local_array": Honest(
        _k("const float t[8] = {1, 2, 4, 8, 16, 32, 64, 128}; y[threadIdx.x] = x[threadIdx.x] * t[n & 7];")
    ),
    "static_constexpr_table": Honest(
        _k(
            "static constexpr float t[4] = {.1f, .2f, .3f, .4f}; float s = 0;\n"
            "#pragma unroll\nfor (int i = 0; i < 4; ++i) s += t[i] * x[i]; y[0] = s;"
        )
    ),
    "constant_table": Honest(
        _k("y[0] = x[0] * NAME_t[n];", before="__constant__ float NAME_t[4] = {1, 2, 3, 4};"),
        tables=("NAME_t",),
    ),
    "const_device_table": Honest(
        _k("y[0] = x[0] * NAME_t[n];", before="__device__ const float NAME_t[4] = {1, 2, 3, 4};"),
        tables=("NAME_t",),
    ),
    "recursion": Honest(
        _k(
            "y[0] = NAME_f(x, n);",
            before="__device__ __noinline__ float NAME_f(const float* p, int n) {"
            " return n <= 1 ? p[0] : NAME_f(p, n / 2) + NAME_f(p + n / 2, n - n / 2) * 2; }",
        )
    ),
    "noinline": Honest(
        _k(
            "y[0] = NAME_f(x[0], n) + NAME_f(x[1], n + 1);",
            before="__device__ __noinline__ float NAME_f(float v, int n) {"
            " for (int i = 0; i < n; ++i) v = v * v + 1; return v; }",
        )
    ),
    "switch_in_a_loop": Honest(  # whose table leads to labels before fillers, from sm_100a on
        _k(
            "float s = 0; for (int i = threadIdx.x; i < n; i += blockDim.x) s += NAME_f(x[i], (int)x[i]); y[threadIdx.x] = s;",
            before="__device__ float NAME_f(float v, int kind) { switch (kind) { case 0: return v; case 1: return fmaxf(v, 0.f);"
            " case 2: return v / (1.f + expf(-v)); case 3: return tanhf(v);"
            " case 4: return 0.5f * v * (1.f + erff(v * 0.70710678f)); case 5: return expf(v) - 1.f; } return 0.f; }",
        )
    ),
    "switch_statement": Honest(
        _k(
            "switch (n) { case 0: y[0] = x[1]; break; case 1: y[3] = x[5] * 3; break; case 2: y[4] = x[7] * 2; break;"
            " case 3: y[5] = x[1] / 3; break; case 4: y[6] = sinf(x[3]); break; case 5: y[8] = x[9] + 1; break;"
            " case 6: y[2] = sqrtf(x[9]); break; default: y[7] = x[2] - 1; }"
        )
    ),
    "lambda_and_template": Honest(
        _k(
            "auto twice = [n](float v) { return v * n; }; y[0] = NAME_f<4>(x, twice);",
            before="template <int N, class F> __device__ float NAME_f(const float* p, F f) {"
            " float s = 0; for (int i = 0; i < N; ++i) s += f(p[i]); return s; }",
        )
    ),
    "dynamic_shared": Honest(
        _k(
            "tile_NAME[threadIdx.x] = x[threadIdx.x]; __syncthreads();"
            " y[threadIdx.x] = tile_NAME[blockDim.x - 1 - threadIdx.x] * 2;",
            before="extern __shared__ __align__(16) float tile_NAME[];",
        )
    ),
    "dynamic_shared_size": Honest(
        _k('unsigned size; asm("mov.u32 %0, %dynamic_smem_size;" : "=r"(size)); y[0] = x[0] * size;')
    ),
    "large_static_shared": Honest(
        _k(
            "__shared__ float t[64][65]; for (int r = threadIdx.y; r < 64; r += blockDim.y)"
            " t[r][threadIdx.x] = x[r * n + threadIdx.x] * 2; __syncthreads(); y[threadIdx.x] = t[threadIdx.x][n];"
        )
    ),
    "warp_shuffles": Honest(
        _k(
            "float v = x[threadIdx.x]; for (int o = 16; o; o /= 2) v += __shfl_xor_sync(~0u, v, o);"
            " unsigned b = __ballot_sync(~0u, v > 0); if (__any_sync(b, v > 2)) v += __shfl_down_sync(~0u, v, 1);"
            " y[threadIdx.x] = v + __popc(b & __activemask());"
        )
    ),
    "warp_reduce_and_match": Honest(
        _k(
            "unsigned v = ((const unsigned*)x)[threadIdx.x]; ((unsigned*)y)[0] ="
            " __reduce_add_sync(~0u, v) + __reduce_max_sync(~0u, v) + __match_any_sync(~0u, v);"
        ),
        since(80),
    ),
    "atomics": Honest(
        _k(
            "atomicAdd(y, x[0]); atomicMax((int*)y + 1, n); atomicCAS((unsigned*)y + 2, 1u, 2u);"
            " atomicAdd((double*)y + 2, (double)x[1]); atomicExch(y + 7, x[2]); atomicAnd((int*)y + 9, n);"
            " atomicAdd_block(y + 10, x[3]); atomicAdd_system(y + 11, x[4]);"
        )
    ),
    "fences": Honest(
        _k("y[0] = x[0] * 2; __threadfence(); __threadfence_block(); __syncwarp(); y[1] = y[0] + 1;")
    ),
    "cache_hints": Honest(
        _k("__stcs(y, __ldg(x) * 2); __stcg(y + 1, __ldcs(x + 1) * 3); y[2] = __ldcg(x + 2) + __ldlu(x + 3);")
    ),
    "named_barriers": Honest(
        _k(
            "__shared__ float s[64]; s[threadIdx.x] = x[threadIdx.x];"
            ' asm volatile("bar.sync 1, 64;" ::: "memory"); y[threadIdx.x] = s[63 - threadIdx.x] * 2;'
        )
    ),
    "trap_and_unreachable": Honest(
        _k("if (n < 0) __trap(); if (n == 7) __builtin_unreachable(); y[0] = x[0] * n;")
    ),
    "nanosleep": Honest(_k("while (((volatile int*)y)[1] == 0) __nanosleep(64); y[0] = x[0] * 2;")),
    "assert_off": Honest(
        _k('y[0] = x[0] * 2;\n#ifdef WORKBENCH_DEBUG\nprintf("%f", y[0]); assert(n > 0);\n#endif')
    ),
    "philox": Honest(
        _k(
            "unsigned c[4] = {threadIdx.x, blockIdx.x, 0, 0}, k[2] = {(unsigned)n, 7};"
            " for (int r = 0; r < 10; ++r) { unsigned h0 = __umulhi(0xD2511F53u, c[0]), h1 = __umulhi(0xCD9E8D57u, c[2]);"
            " unsigned l0 = 0xD2511F53u * c[0], l1 = 0xCD9E8D57u * c[2]; c[0] = h1 ^ c[1] ^ k[0]; c[1] = l1;"
            " c[2] = h0 ^ c[3] ^ k[1]; c[3] = l0; k[0] += 0x9E3779B9; k[1] += 0xBB67AE85; }"
            " y[threadIdx.x] = x[threadIdx.x] * (c[0] * 2.3283064e-10f > .5f);"
        )
    ),
    "struct_parameter_in_parts": Honest(
        'struct NAME_s { const float* x; float* y; int shape[4]; float scale; };\nextern "C" __global__ void'
        " NAME(NAME_s s, float extra) {\n y[0]; }\n".replace(
            "y[0];", "s.y[s.shape[1]] = s.x[s.shape[2]] * s.scale + extra;"
        )
    ),
    "launch_bounds": Honest(
        _k("y[threadIdx.x] = x[threadIdx.x] * 2;", attributes="__launch_bounds__(128, 2)")
    ),
    "bit_casts": Honest(
        _k(
            "y[0] = __int_as_float(__float_as_int(x[0]) & 0x7fffffff); y[1] = __uint_as_float(0x7f800000u) * x[1];"
        )
    ),
    "volatile_and_decoupled_look_back": Honest(
        _k(
            """__shared__ float before; float mine = x[blockIdx.x];
volatile int* flags = (volatile int*)(y + n); volatile float* sums = y + 2 * n;
if (threadIdx.x == 0) { float s = 0; int b = blockIdx.x - 1;
    while (b >= 0) { while (flags[b] == 0) {} __threadfence(); s += sums[b]; if (flags[b] == 2) break; --b; }
    before = s; sums[blockIdx.x] = s + mine; __threadfence(); flags[blockIdx.x] = 2; }
__syncthreads(); y[blockIdx.x] = before + mine;"""
        )
    ),
    "virtual_function": Honest(
        _k(
            "NAME_a a; NAME_b b; NAME_base* p = n ? (NAME_base*)&a : &b; y[0] = p->f(x[0]);",
            before="struct NAME_base { virtual __device__ float f(float v) = 0; };"
            " struct NAME_a : NAME_base { __device__ float f(float v) override { return v * 2; } };"
            " struct NAME_b : NAME_base { __device__ float f(float v) override { return v + 2; } };",
        ),
        # The object that is chosen lies in local memory, and its function is really called on sm_90.
        unchecked=frozenset(["return addresses beside local arrays that are written at computed indices"]),
    ),
    "function_pointer": Honest(
        _k(
            "float (*p)(float) = n ? NAME_f : NAME_g; float v = x[0]; for (int i = 0; i < n; ++i) v = p(v); y[0] = v;",
            before="__device__ float NAME_f(float v) { return v * 2; } __device__ float NAME_g(float v) { return v + 2; }",
        )
    ),
    "switch_without_default": Honest(
        _k(
            "switch (n) { case 0: y[0] = x[1]; break; case 1: y[3] = x[5] * 3; break; case 2: y[4] = x[7] * 2; break;"
            " case 3: y[5] = x[1] + 3; break; case 4: y[6] = x[3] * 5; break; case 5: y[8] = x[9] + 1; break;"
            " case 6: y[2] = x[9]; break; default: __builtin_unreachable(); }"
        )
    ),
    # --- small types
    "half": Honest(
        _k(
            "const __half2* p = (const __half2*)x; __half2 v = __hfma2(p[0], p[1], p[2]); v = h2exp(v);"
            " ((__half2*)y)[0] = __hmax2(v, __float2half2_rn(1.f)); y[1] = __half2float(__hadd(v.x, v.y)) + __low2float(v);"
            " atomicAdd((__half2*)y + 3, v); ((__half*)y)[8] = hrsqrt(v.x);"
        )
    ),
    "bfloat16": Honest(
        _k(
            "const __nv_bfloat162* p = (const __nv_bfloat162*)x; __nv_bfloat162 v = __hfma2(p[0], p[1], p[2]);"
            " ((__nv_bfloat162*)y)[0] = h2log(v); y[1] = __bfloat162float(v.x) + (float)v.y;"
            " atomicAdd((__nv_bfloat16*)y + 5, v.x);"
        ),
        since(80),
    ),
    "fp8": Honest(
        _k(
            "__nv_fp8_e4m3 a(x[0]); __nv_fp8_e5m2 b(x[1]); y[0] = float(a) * float(b);"
            " ((__nv_fp8x4_e4m3*)y)[1] = __nv_fp8x4_e4m3(((const float4*)x)[1]);"
        ),
        since(80),
    ),
    # --- tensor cores and asynchronous copies
    "wmma": Honest(
        _k(
            "nvcuda::wmma::fragment<nvcuda::wmma::matrix_a, 16, 16, 16, __half, nvcuda::wmma::row_major> a;"
            " nvcuda::wmma::fragment<nvcuda::wmma::matrix_b, 16, 16, 16, __half, nvcuda::wmma::col_major> b;"
            " nvcuda::wmma::fragment<nvcuda::wmma::accumulator, 16, 16, 16, float> c;"
            " nvcuda::wmma::fill_fragment(c, 0.f); nvcuda::wmma::load_matrix_sync(a, (const __half*)x, n);"
            " nvcuda::wmma::load_matrix_sync(b, (const __half*)x + 256, n); nvcuda::wmma::mma_sync(c, a, b, c);"
            " nvcuda::wmma::store_matrix_sync(y, c, n, nvcuda::wmma::mem_row_major);"
        )
    ),
    "mma_sync_and_ldmatrix": Honest(
        _k(
            """__shared__ __align__(16) unsigned s[128]; s[threadIdx.x] = ((const unsigned*)x)[threadIdx.x]; __syncwarp();
unsigned a0, a1, a2, a3; float c0 = 0, c1 = 0, c2 = 0, c3 = 0; const unsigned* b = (const unsigned*)x;
asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(a0), "=r"(a1), "=r"(a2), "=r"(a3)
    : "r"((unsigned)__cvta_generic_to_shared(s + threadIdx.x * 4 % 128)));
asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
    : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b[0]), "r"(b[1]));
y[threadIdx.x] = c0 + c1 + c2 + c3;"""
        ),
        since(80),
    ),
    "mma_int8_and_tf32": Honest(
        _k(
            """const unsigned* p = (const unsigned*)x; int d0 = 0, d1 = 0, d2 = 0, d3 = 0; float c0 = 0, c1 = 0, c2 = 0, c3 = 0;
asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
    : "+r"(d0), "+r"(d1), "+r"(d2), "+r"(d3) : "r"(p[0]), "r"(p[1]), "r"(p[2]), "r"(p[3]), "r"(p[4]), "r"(p[5]));
asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
    : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3) : "r"(p[0]), "r"(p[1]), "r"(p[2]), "r"(p[3]), "r"(p[4]), "r"(p[5]));
((int*)y)[threadIdx.x] = d0 + d1 + d2 + d3; y[threadIdx.x + 64] = c0 + c1 + c2 + c3;"""
        ),
        since(80),
    ),
    "cp_async": Honest(
        _k(
            """__shared__ __align__(16) float s[2][128]; unsigned at = (unsigned)__cvta_generic_to_shared(&s[0][threadIdx.x * 4]);
asm volatile("cp.async.ca.shared.global [%0], [%1], 16;" :: "r"(at), "l"(x + threadIdx.x * 4));
asm volatile("cp.async.commit_group;"); asm volatile("cp.async.wait_group 0;"); __syncthreads();
y[threadIdx.x] = s[0][127 - threadIdx.x] * 2;"""
        ),
        since(80),
    ),
    "pipeline_primitives": Honest(
        _k(
            "__shared__ __align__(16) float s[128]; __pipeline_memcpy_async(s + threadIdx.x, x + threadIdx.x, 4);"
            " __pipeline_commit(); __pipeline_wait_prior(0); __syncthreads(); y[threadIdx.x] = s[127 - threadIdx.x] * 2;",
            before="#include <cuda_pipeline.h>",
        )
    ),
    "mbarrier": Honest(
        _k(
            """__shared__ __align__(8) unsigned long long b; unsigned at = (unsigned)__cvta_generic_to_shared(&b);
if (threadIdx.x == 0) asm volatile("mbarrier.init.shared.b64 [%0], %1;" :: "r"(at), "r"(blockDim.x));
__syncthreads(); unsigned long long state; unsigned done = 0;
asm volatile("mbarrier.arrive.shared.b64 %0, [%1];" : "=l"(state) : "r"(at));
while (!done) asm volatile("{ .reg .pred p; mbarrier.test_wait.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
    : "=r"(done) : "r"(at), "l"(state));
y[threadIdx.x] = x[threadIdx.x] * 2;"""
        ),
        since(80),
    ),
    "mbarrier_try_wait": Honest(
        _k(
            """__shared__ __align__(8) unsigned long long b; unsigned at = (unsigned)__cvta_generic_to_shared(&b);
if (threadIdx.x == 0) asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" :: "r"(at));
__syncthreads(); if (threadIdx.x == 0) asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], 0;" :: "r"(at));
asm volatile("{ .reg .pred p; L: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], 0; @p bra D; bra L; D: }" :: "r"(at));
y[threadIdx.x] = x[threadIdx.x] * 2;"""
        ),
        since(90),
    ),
    "bulk_copy": Honest(
        _k(
            """__shared__ __align__(128) float s[256]; __shared__ __align__(8) unsigned long long b;
unsigned at = (unsigned)__cvta_generic_to_shared(&b), to = (unsigned)__cvta_generic_to_shared(s);
if (threadIdx.x == 0) { asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" :: "r"(at));
    asm volatile("fence.mbarrier_init.release.cluster;");
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], 1024;" :: "r"(at));
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], 1024, [%2];"
        :: "r"(to), "l"(x), "r"(at) : "memory"); }
__syncthreads();
asm volatile("{ .reg .pred p; L: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], 0; @p bra D; bra L; D: }" :: "r"(at));
s[threadIdx.x] *= 2; asm volatile("fence.proxy.async.shared::cta;"); __syncthreads();
if (threadIdx.x == 0) { asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], 1024;" :: "l"(y), "r"(to));
    asm volatile("cp.async.bulk.commit_group;"); asm volatile("cp.async.bulk.wait_group.read 0;"); }"""
        ),
        since(90),
    ),
    "elect_and_fences": Honest(
        _k(
            "unsigned leader = 0, pred = 0;"
            ' asm volatile("{ .reg .pred p; elect.sync %0|p, 0xffffffff; selp.u32 %1, 1, 0, p; }" : "=r"(leader), "=r"(pred));'
            " if (pred) y[0] = x[leader] * 2;"
        ),
        since(90),
    ),
    "setmaxnreg": Honest(
        _k(
            'if (threadIdx.x < 128) { asm volatile("setmaxnreg.dec.sync.aligned.u32 40;"); y[0] = x[0]; } else {'
            ' asm volatile("setmaxnreg.inc.sync.aligned.u32 232;"); y[threadIdx.x] = x[threadIdx.x] * 2; }',
            attributes="__launch_bounds__(256, 1)",
        ),
        lambda arch: arch >= 90,
    ),
    "wgmma": Honest(
        _k(
            """__shared__ __align__(128) __half s[64 * 64]; for (int i = threadIdx.x; i < 4096; i += 128) s[i] = __float2half(x[i]);
__syncthreads(); float d[4] = {}; unsigned long long a = ((unsigned)__cvta_generic_to_shared(s) >> 4) | 1ull << 62;
asm volatile("wgmma.fence.sync.aligned;");
asm volatile("wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%0,%1,%2,%3}, %4, %5, 1, 1, 1, 0, 0;"
    : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "l"(a), "l"(a));
asm volatile("wgmma.commit_group.sync.aligned;"); asm volatile("wgmma.wait_group.sync.aligned 0;");
y[threadIdx.x] = d[0] + d[1] + d[2] + d[3];"""
        ),
        lambda arch: arch == 90,
    ),
    "stmatrix": Honest(
        _k(
            "__shared__ __align__(16) unsigned s[256]; unsigned v = __float_as_uint(x[threadIdx.x] * 2);"
            ' asm volatile("stmatrix.sync.aligned.m8n8.x1.shared.b16 [%0], {%1};" ::'
            ' "r"((unsigned)__cvta_generic_to_shared(s + (threadIdx.x & 7) * 4)), "r"(v)); __syncwarp();'
            " y[threadIdx.x] = __uint_as_float(s[threadIdx.x]);"
        ),
        since(90),
    ),
    "mma_fp8": Honest(
        _k(
            """const unsigned* p = (const unsigned*)x; float c0 = 0, c1 = 0, c2 = 0, c3 = 0;
asm volatile("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
    : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3) : "r"(p[0]), "r"(p[1]), "r"(p[2]), "r"(p[3]), "r"(p[4]), "r"(p[5]));
y[threadIdx.x] = c0 + c1 + c2 + c3;"""
        ),
        since(89),
    ),
    "tcgen05": Honest(
        _k(
            """__shared__ unsigned base; __shared__ __align__(128) __half s[128 * 64];
unsigned at = (unsigned)__cvta_generic_to_shared(&base);
for (int i = threadIdx.x; i < 8192; i += blockDim.x) s[i] = __float2half(x[i]);
if (threadIdx.x < 32) { asm volatile("tcgen05.alloc.cta_group::1.sync.aligned.shared::cta.b32 [%0], 64;" :: "r"(at));
    asm volatile("tcgen05.relinquish_alloc_permit.cta_group::1.sync.aligned;"); }
__syncthreads(); unsigned t = base; unsigned long long a = ((unsigned)__cvta_generic_to_shared(s) >> 4) | 1ull << 46;
if (threadIdx.x == 0) asm volatile("{ .reg .pred p; setp.ne.u32 p, 0, 0;"
    " tcgen05.mma.cta_group::1.kind::f16 [%0], %1, %2, %3, p; }" :: "r"(t), "l"(a), "l"(a), "r"(0x8080490));
unsigned v; asm volatile("tcgen05.ld.sync.aligned.32x32b.x1.b32 {%0}, [%1];" : "=r"(v) : "r"(t));
asm volatile("tcgen05.wait::ld.sync.aligned;"); y[threadIdx.x] = __uint_as_float(v); __syncthreads();
if (threadIdx.x < 32) asm volatile("tcgen05.dealloc.cta_group::1.sync.aligned.b32 %0, 64;" :: "r"(t));"""
        ),
        lambda arch: arch == 100,
    ),
    # --- clusters
    "cluster_by_assembly": Honest(
        _k(
            """__shared__ float s[32]; s[threadIdx.x & 31] = x[threadIdx.x]; unsigned rank, count, other; float v;
asm volatile("mov.u32 %0, %cluster_ctarank;" : "=r"(rank)); asm volatile("mov.u32 %0, %cluster_nctarank;" : "=r"(count));
asm volatile("barrier.cluster.arrive.aligned;"); asm volatile("barrier.cluster.wait.aligned;");
asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(other)
    : "r"((unsigned)__cvta_generic_to_shared(s)), "r"((rank + 1) % count));
asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(v) : "r"(other)); y[threadIdx.x] = v * 2;
asm volatile("barrier.cluster.arrive.aligned;"); asm volatile("barrier.cluster.wait.aligned;");"""
        ),
        since(90),
    ),
    "cluster_groups": Honest(
        _k(
            """auto cluster = cg::this_cluster(); __shared__ float tile[32]; tile[threadIdx.x & 31] = x[threadIdx.x]; cluster.sync();
float* other = cluster.map_shared_rank(tile, (cluster.block_rank() + 1) % cluster.num_blocks());
y[threadIdx.x] = other[threadIdx.x & 31] + cluster.num_threads() + cluster.dim_blocks().y + cluster.block_index().z
    + cluster.dim_threads().x + cluster.query_shared_rank(other) + cluster.thread_rank();
cluster.barrier_arrive(); cluster.barrier_wait();"""
        ),
        since(90),
    ),
    "cluster_dims_and_ids": Honest(
        _k(
            """unsigned a, b, c; asm("mov.u32 %0, %clusterid.x;" : "=r"(a)); asm("mov.u32 %0, %nclusterid.y;" : "=r"(b));
asm("mov.u32 %0, %cluster_nctaid.x;" : "=r"(c)); y[a + b + c] = x[0] * 2;""",
            attributes="__cluster_dims__(2, 1, 1)",
        ),
        since(90),
    ),
    # --- cooperative groups
    "grid_sync": Honest(
        _k(
            "auto grid = cg::this_grid(); y[grid.thread_rank()] = x[grid.thread_rank()] * 2; grid.sync();"
            " if (grid.is_valid()) y[0] += y[grid.size() - 1] + grid.num_blocks() + grid.block_rank()"
            " + grid.group_dim().x + grid.dim_blocks().y;"
        )
    ),
    "grid_sync_in_parts": Honest(
        _k(
            "auto grid = cg::this_grid(); y[1] = x[1] * 2; auto t = grid.barrier_arrive(); grid.barrier_wait(cuda::std::move(t)); y[0] += y[1];"
        )
    ),
    "tiles": Honest(
        _k(
            "auto block = cg::this_thread_block(); auto tile = cg::tiled_partition<8>(block); auto warp = cg::tiled_partition<32>(block);"
            " float v = cg::reduce(warp, x[block.thread_rank()], cg::plus<float>()); v += cg::inclusive_scan(tile, v);"
            " v += tile.shfl_xor(v, 1) + tile.any(n) + tile.meta_group_rank() + tile.match_any(n);"
            " auto active = cg::coalesced_threads(); if (v > 0) { auto some = cg::coalesced_threads(); v += some.size() + some.thread_rank(); }"
            " auto odd = cg::labeled_partition(active, n & 1); v += odd.size(); y[block.thread_rank()] = v;"
            " block.sync(); block.group_index(); auto b2 = cg::binary_partition(warp, n > 1); y[0] += b2.size();"
        )
    ),
    "group_memcpy_async": Honest(
        _k(
            "__shared__ float s[256]; auto block = cg::this_thread_block(); cg::memcpy_async(block, s, x, sizeof(float) * 256);"
            " cg::wait(block); y[threadIdx.x] = s[255 - threadIdx.x] * 2;"
        )
    ),
    "grid_reduce": Honest(
        _k(
            "auto warp = cg::tiled_partition<32>(cg::this_thread_block()); cg::reduce_update_async(warp,"
            " *(cuda::atomic<int, cuda::thread_scope_device>*)y, (int)x[threadIdx.x], cg::plus<int>());"
            " cg::invoke_one(warp, [&] { y[1] = x[0] * 2; });"
        )
    ),
    # --- libcu++
    "barrier": Honest(
        _k(
            """#pragma nv_diag_suppress static_var_with_dynamic_init
__shared__ cuda::barrier<cuda::thread_scope_block> barrier; if (threadIdx.x == 0) init(&barrier, blockDim.x); __syncthreads();
__shared__ float tile[64]; cuda::memcpy_async(tile + threadIdx.x, x + threadIdx.x, sizeof(float), barrier);
barrier.arrive_and_wait(); auto t = barrier.arrive(); barrier.wait(cuda::std::move(t)); y[threadIdx.x] = tile[63 - threadIdx.x] * 2;
barrier.arrive_and_drop();"""
        )
    ),
    "barrier_and_own_assembly": Honest(
        _k(
            """__shared__ cuda::barrier<cuda::thread_scope_block> barrier; if (threadIdx.x == 0) init(&barrier, blockDim.x); __syncthreads();
float v; asm volatile("ld.global.nc.f32 %0, [%1];" : "=f"(v) : "l"(x + threadIdx.x)); __shared__ float tile[64]; tile[threadIdx.x] = v;
barrier.arrive_and_wait(); y[threadIdx.x] = tile[63 - threadIdx.x] * 2;"""
        )
    ),
    "barrier_and_bulk_copy": Honest(
        _k(
            """__shared__ cuda::barrier<cuda::thread_scope_block> barrier; __shared__ __align__(128) float tile[256];
if (threadIdx.x == 0) { init(&barrier, blockDim.x); cuda::ptx::fence_proxy_async(cuda::ptx::space_shared); } __syncthreads();
cuda::barrier<cuda::thread_scope_block>::arrival_token t;
if (threadIdx.x == 0) { cuda::memcpy_async(tile, x, cuda::aligned_size_t<16>(1024), barrier); t = cuda::device::barrier_arrive_tx(barrier, 1, 1024); }
else t = barrier.arrive();
barrier.wait(cuda::std::move(t)); y[threadIdx.x] = tile[255 - threadIdx.x] * 2;"""
        ),
        since(90),
    ),
    "pipeline": Honest(
        _k(
            """__shared__ float s[2][128]; auto block = cg::this_thread_block();
__shared__ cuda::pipeline_shared_state<cuda::thread_scope_block, 2> state; auto pipe = cuda::make_pipeline(block, &state);
float sum = 0; for (int i = 0; i < n; ++i) { pipe.producer_acquire(); cuda::memcpy_async(block, s[i & 1], x + i * 128, sizeof(float) * 128, pipe);
    pipe.producer_commit(); pipe.consumer_wait(); sum += s[i & 1][threadIdx.x]; pipe.consumer_release(); }
y[threadIdx.x] = sum;"""
        )
    ),
    "thread_pipeline": Honest(
        _k(
            "__shared__ float s[128]; auto pipe = cuda::make_pipeline(); pipe.producer_acquire();"
            " cuda::memcpy_async(s + threadIdx.x, x + threadIdx.x, sizeof(float), pipe); pipe.producer_commit();"
            " cuda::pipeline_consumer_wait_prior<0>(pipe); __syncthreads(); y[threadIdx.x] = s[127 - threadIdx.x] * 2; pipe.consumer_release();"
        )
    ),
    "atomic_ref": Honest(
        _k(
            "cuda::atomic_ref<int, cuda::thread_scope_device> a(*(int*)y); a.fetch_add(1, cuda::memory_order_relaxed);"
            " cuda::atomic_ref<float, cuda::thread_scope_block> f(y[1]); f.fetch_add(x[0]); f.fetch_max(x[1]);"
            " while (a.load(cuda::memory_order_acquire) < n) {} int e = 1; a.compare_exchange_strong(e, 2);"
            " cuda::atomic_thread_fence(cuda::memory_order_seq_cst, cuda::thread_scope_device); y[2] = x[2] * 2;"
        )
    ),
    "atomic_wait": Honest(
        _k(
            "cuda::atomic_ref<int, cuda::thread_scope_device> a(*(int*)y); if (threadIdx.x == 0) { a.store(1); a.notify_all(); }"
            " else a.wait(0); y[1] = x[0] * 2;"
        )
    ),
    "semaphore": Honest(
        _k(
            "__shared__ cuda::binary_semaphore<cuda::thread_scope_block> s; if (threadIdx.x == 0) new (&s) cuda::binary_semaphore<cuda::thread_scope_block>(1);"
            " __syncthreads(); s.acquire(); y[0] += x[threadIdx.x]; s.release();"
        )
    ),
    "std_array_tuple_complex": Honest(
        _k(
            "cuda::std::array<float, 4> a{x[0], x[1], x[2], x[3]}; auto [p, q] = cuda::std::make_tuple(a[n & 3], 2.f);"
            " cuda::std::complex<float> c(p, q); c *= c; y[0] = c.real() + cuda::std::numeric_limits<float>::max() * c.imag();"
        )
    ),
    # --- CUB
    "cub_block": Honest(
        _k(
            """using Reduce = cub::BlockReduce<float, 128>; using Scan = cub::BlockScan<float, 128>;
using Load = cub::BlockLoad<float, 128, 4, cub::BLOCK_LOAD_WARP_TRANSPOSE>; using Store = cub::BlockStore<float, 128, 4, cub::BLOCK_STORE_TRANSPOSE>;
__shared__ union { typename Reduce::TempStorage reduce; typename Scan::TempStorage scan; typename Load::TempStorage load; typename Store::TempStorage store; } t;
float v[4]; Load(t.load).Load(x, v, n, 0.f); __syncthreads(); Scan(t.scan).InclusiveSum(v, v); __syncthreads();
float s = Reduce(t.reduce).Sum(v); __syncthreads(); v[0] += s; Store(t.store).Store(y, v, n);"""
        )
    ),
    "cub_sort": Honest(
        _k(
            "using Sort = cub::BlockRadixSort<float, 128, 4, int>; __shared__ typename Sort::TempStorage t; float k[4]; int v[4];"
            " for (int i = 0; i < 4; ++i) { k[i] = x[threadIdx.x * 4 + i]; v[i] = threadIdx.x * 4 + i; } Sort(t).SortDescending(k, v);"
            " for (int i = 0; i < 4; ++i) { y[threadIdx.x * 4 + i] = k[i]; ((int*)y)[n + threadIdx.x * 4 + i] = v[i]; }"
        )
    ),
    "cub_warp": Honest(
        _k(
            "using Reduce = cub::WarpReduce<float>; using Scan = cub::WarpScan<int>; __shared__ typename Reduce::TempStorage r[4];"
            " __shared__ typename Scan::TempStorage s[4]; float v = Reduce(r[threadIdx.x / 32]).Sum(x[threadIdx.x]); int c;"
            " Scan(s[threadIdx.x / 32]).ExclusiveSum((int)x[threadIdx.x], c); y[threadIdx.x] = v + c;"
        )
    ),
    "cub_look_back": Honest(
        _k(
            """using State = cub::ScanTileState<float>; using Prefix = cub::TilePrefixCallbackOp<float, cuda::std::plus<float>, State>;
using Scan = cub::BlockScan<float, 128>; __shared__ typename Prefix::TempStorage p; __shared__ typename Scan::TempStorage s;
State state; state.Init(n, y + 1024, 4096); float v = x[blockIdx.x * 128 + threadIdx.x];
if (blockIdx.x == 0) { float all; Scan(s).InclusiveScan(v, v, cuda::std::plus<float>{}, all); if (threadIdx.x == 0) state.SetInclusive(0, all); }
else { Prefix op(state, p, cuda::std::plus<float>{}); Scan(s).InclusiveScan(v, v, cuda::std::plus<float>{}, op); }
y[blockIdx.x * 128 + threadIdx.x] = v;"""
        )
    ),
}


def applies(name: str, arch: str) -> bool:
    """Whether the architecture has what the kernel uses."""
    return HONEST[name].on(number(arch))


def kernel(name: str) -> str:
    """What the kernel is called in the file; plain names would meet the toolkit's own (`half`)."""
    return f"k_{name}"


def is_light(name: str) -> bool:
    """Whether it needs none of the headers that take seconds to read."""
    return not any(word in HONEST[name].text for word in ("cg::", "cuda::", "cub::", "wmma"))


def text_for(names: list[str]) -> str:
    """One file with these kernels."""
    headers = LIGHT_HEADERS if all(map(is_light, names)) else HEADERS
    return headers + "".join(HONEST[name].text.replace("NAME", kernel(name)) for name in names)
