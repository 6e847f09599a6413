"""What the host compiler is given and what it says: lines and columns stay the file's own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from host_kernels import harness
from host_kernels.harness import HostRunners, build, built, empty, given, must_run, run, zeros

from workbench.core.build import BuildFailure, HostBuild
from workbench.core.plan import CompileOptions
from workbench.runner.host.build import KILLED, compile_host
from workbench.runner.host.rewrite import rewrite, unsupported

COMPILERS = [c for c in ("g++", "clang++") if shutil.which(c)]


def failed(source: str, *kernels: str, **options: object) -> BuildFailure:
    result = build(source, kernels, **options)  # type: ignore[arg-type]  # each test names options of its own types
    assert isinstance(result, BuildFailure)
    print(result.diagnostics)
    return result


def test_an_error_is_at_its_own_line_and_column() -> None:
    result = failed(
        '// one\nextern "C" __global__ void k(float *x)\n{\n    x[0] = undefined_thing;\n}\n', "k"
    )
    assert result.cause == "source"
    assert (result.diagnostics[0].line, result.diagnostics[0].column) == (4, 12)


def test_an_error_behind_dynamic_shared_memory_in_the_same_line_keeps_its_column() -> None:
    source = "__global__ void k() { extern __shared__ float s[]; s[0] = nothing; }"
    result = failed(source, "k")
    assert (result.diagnostics[0].line, result.diagnostics[0].column) == (1, source.index("nothing") + 1)


@pytest.mark.parametrize(
    ("source", "what", "line"),
    [
        ('__global__ void k(int *x) {\n asm volatile("mov.u32 %0, 1;" : "=r"(x[0]));\n}', "inline PTX", 2),
        ("#include <mma.h>\n__global__ void k() {}", "<mma.h>", 1),
        ("#include <cub/block/block_reduce.cuh>\n__global__ void k() {}", "<cub/block/block_reduce.cuh>", 1),
        ("__global__ void k(const __grid_constant__ CUtensorMap m) {}", "TMA", 1),
        ("\n\n__global__ void __cluster_dims__(2) k() {}", "clusters", 3),
        ("__global__ void k(long long *t) { t[0] = clock64(); }", "clock64()", 1),
        ("__global__ void k(int *x) {\n __nv_some_new_thing(x);\n}", "__nv_some_new_thing", 2),
    ],
)
def test_what_only_a_gpu_can_run_is_named(source: str, what: str, line: int) -> None:
    result = failed(source, "k")
    assert result.cause == "unsupported"
    assert f"{what} at line {line}; this needs cuda" in result.diagnostics[0].message
    assert result.diagnostics[0].line == line


def test_an_empty_asm_is_only_a_fence_and_a_comment_is_no_code() -> None:
    assert unsupported('void f() { asm volatile("" ::: "memory"); } // asm("x") wmma\n/* <mma.h> */') is None


def test_a_kernel_that_is_not_there_is_named() -> None:
    result = failed("__global__ void k() {}", "other")
    assert "'other'" in result.diagnostics[0].message


@pytest.mark.parametrize("name", ["k; system(0)", "k/*", 'k"', "k\n", "k<(1)>", "", "a" * 600])
def test_a_kernel_name_cannot_smuggle_code(name: str) -> None:
    assert failed("__global__ void k() {}", name).cause == "source"


def test_a_define_cannot_span_lines() -> None:
    assert failed("__global__ void k() {}", "k", defines={"A": "1\n#include </etc/passwd>"}).cause == "source"
    assert failed("__global__ void k() {}", "k", defines={"A": "1 \\"}).cause == "source"


def test_a_file_that_ends_inside_a_comment_or_a_conditional_does_not_build() -> None:
    failed('extern "C" __global__ void k() {} /* open', "k")
    failed('#if 1\nextern "C" __global__ void k() {}', "k")


def test_an_undefined_function_does_not_build() -> None:
    result = failed('extern "C" void absent(); extern "C" __global__ void k() { absent(); }', "k")
    assert "absent" in result.diagnostics[0].message


def test_lines_stay_when_a_declaration_is_rewritten() -> None:
    source = "extern __shared__ __align__(16)\n  unsigned char a[]; int b;\nvoid f() { extern __shared__ int4 c[], d[]; }\n"
    changed = rewrite(source)
    assert changed.text.count("\n") == source.count("\n")
    assert changed.dynamic_image
    assert changed.text.splitlines()[1].endswith("int b;")
    assert "(&c)" in changed.text and "(&d)" in changed.text


def test_strings_and_comments_are_left_alone() -> None:
    source = 'const char *s = "extern __shared__ float x[];"; // extern __shared__ float y[];\n'
    assert rewrite(source).text == source


SHARED = """
extern __shared__ float outside[];
struct __align__(16) Box { float v[4]; };
namespace deep {
extern __shared__ __align__(16) unsigned char inner[];
}
extern "C" __global__ void first(const float *x, float *y, int n) {
    outside[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = outside[n - 1 - threadIdx.x];
}
template <class T> __global__ void second(const T *x, T *y, int n) {
    alignas(16) extern __shared__ unsigned char raw[];
    auto *s = reinterpret_cast<T *>(raw);
    if (threadIdx.x < n) { s[threadIdx.x] = x[threadIdx.x]; }
    __syncthreads();
    if (threadIdx.x < n) y[threadIdx.x] = s[n - 1 - threadIdx.x];
}
extern "C" __global__ void past(float *y, int n) {
    outside[threadIdx.x] = 1.f;
    outside[n] = 2.f;
    y[threadIdx.x] = outside[threadIdx.x];
}
extern "C" __global__ void div(float *y) { y[threadIdx.x] = 3.f; }
"""


def test_dynamic_shared_memory_may_be_declared_anywhere() -> None:
    x = np.arange(64, dtype=np.float32)
    names = ("first", "second<float>", "second<double>", "past", "div")
    with HostRunners(workers=2) as pool, pool.start(built(SHARED, *names)) as runner:
        for kernel, dtype in (
            ("first", np.float32),
            ("second<float>", np.float32),
            ("second<double>", np.float64),
        ):
            y = empty(64, dtype)
            must_run(runner, kernel, 3, 64, [given(x.astype(dtype)), y, 64], shared=64 * y.data.itemsize)
            np.testing.assert_array_equal(y.result, x[::-1])
        found = run(runner, "past", 1, 32, [empty(32, np.float32), 32], shared=128).report.fault
        assert found is not None
        assert found.kind == "illegal access"
        y = empty(32, np.float32)
        must_run(runner, "div", 1, 32, [y])  # the C library has one too
        np.testing.assert_array_equal(y.result, 3)


def test_what_device_code_often_uses_compiles() -> None:
    source = """
#include <cuda_runtime.h>
#include <cuda_fp16.h>
#include <cuda_bf16.h>
#include <cuda_fp8.h>
#include <cstdint>
#include <cfloat>
#include <math_constants.h>
#include <type_traits>
#define CEIL_DIV(a, b) (((a) + (b) - 1) / (b))
using bf16 = __nv_bfloat16;
enum class Mode { A, B };
template <typename T> struct Vec { using type = float4; };
template <> struct Vec<__half> { using type = uint4; };
static __device__ __forceinline__ float gelu(float x) { return 0.5f * x * (1.f + erff(x * M_SQRT1_2)); }
__device__ __forceinline__ inline float4 operator+(float4 a, float4 b) { return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w); }
static __constant__ const int kTable[3] = {1, 2, 3};
__device__ const float kScale = 2.f;
template <int N, typename T, Mode M = Mode::A>
__global__ void __launch_bounds__(N, 2) kernel(const T *__restrict__ x, T *__restrict__ y, const uint32_t n, int64_t stride) {
    static_assert(sizeof(T) <= 8);
    constexpr int kPer = CEIL_DIV(N, 32);
    __shared__ alignas(16) T tile[kPer][32 + 1];
    __shared__ typename Vec<T>::type vec[4];
    volatile __shared__ int flag;
    const dim3 d = blockDim; (void)d;
    const unsigned mask = __activemask();
    if constexpr (std::is_same_v<T, __half>) { tile[0][0] = __hadd(x[0], __float2half(1.f)); }
    #pragma unroll 4
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        T v = __ldg(&x[i * stride]);
        y[i] = static_cast<T>(static_cast<float>(v) * kScale + gelu(0.f) + kTable[0] - 1);
    }
    if (threadIdx.x == 0) flag = min((int)n, 3) + max(1u, n) + (mask ? 0 : 1);
    auto f = [&](int a) { return a + flag; };
    float m = -CUDART_INF_F; m = fmaxf(m, -FLT_MAX);
    if (f(0) == -12345 && m > 0) y[0] = T(isnan(m) || isinf(m) || std::isfinite(m));
    __stcs(&y[0], y[0]);
    float4 a = reinterpret_cast<const float4 *>(vec)[0] + make_float4(1, 2, 3, 4);
    if (a.x == 1e30f) __trap();
    __nv_fp8_e4m3 q(1.5f); if (float(q) != 1.5f) __trap();
    assert(n > 0);
    __builtin_assume(n > 0);
    half2 h = __floats2half2_rn(1.f, 2.f); h = __hfma2(h, h, h); if (__low2float(h) != 2.f) __trap();
    bf16 b = __float2bfloat16(3.f); b = hexp(b - b); if (float(b) != 1.f) __trap();
}
"""
    names = ("kernel<128, float>", "kernel<64, __half>", "kernel<256, double, Mode::B>", "kernel<32, bf16>")
    with HostRunners(workers=1) as pool, pool.start(built(source, *names)) as runner:
        x = np.arange(50, dtype=np.float32)
        y = empty(50, np.float32)
        must_run(runner, names[0], 1, 128, [given(x), y, np.uint32(50), np.int64(1)])
        np.testing.assert_array_equal(y.result, 2 * x)


def test_a_build_names_its_compiler_and_takes_defines() -> None:
    result = built(
        'extern "C" __global__ void k(int *x) { x[0] = N; }', "k", defines={"N": "BIG + 1", "BIG": 41}
    )
    assert isinstance(result, HostBuild)
    assert result.version.startswith(("g++", "clang++"))
    assert result.entries == {"k": "wb_entry_0"}


def test_static_beside_shared_and_shared_outside_of_functions_compile() -> None:
    source = """
__shared__ int outer[32];
extern "C" __global__ void k(int *y) {
    static __shared__ int inner[32]; __shared__ static int other[32];
    inner[threadIdx.x] = outer[threadIdx.x] = other[threadIdx.x] = threadIdx.x;
    __syncthreads();
    y[threadIdx.x] = inner[31 - threadIdx.x] + outer[31 - threadIdx.x] + other[0];
}
static int helper(int x) { return x; }
"""
    with HostRunners(workers=1) as pool, pool.start(built(source, "k")) as runner:
        y = empty(32, np.int32)
        must_run(runner, "k", 2, 32, [y])
        np.testing.assert_array_equal(y.result, 2 * np.arange(32)[::-1])


def test_printf_writes_where_the_judge_wants_it() -> None:
    reader, writer = os.pipe()
    source = 'extern "C" __global__ void k(int *y) { printf("thread %d of %d\\n", (int)threadIdx.x, y[0]); }'
    try:
        with HostRunners(workers=1, output=writer) as pool, pool.start(built(source, "k")) as runner:
            must_run(runner, "k", 1, 2, [zeros(1, np.int32)])
        assert os.read(reader, 1000) == b"thread 0 of 0\nthread 1 of 0\n"
    finally:
        os.close(reader)
        os.close(writer)


def test_the_candidate_finds_the_number_of_the_architecture_that_is_judged(tmp_path: Path) -> None:
    text = """#if __CUDA_ARCH__ != 800
#error another architecture
#endif
extern "C" __global__ void kernel(float *y) { y[0] = 1.0f; }
"""
    for number, kind in ((800, HostBuild), (900, BuildFailure)):
        work = tmp_path / str(number)
        work.mkdir()
        found = compile_host(
            text, "k.cu", CompileOptions(), ("kernel",), work, prepared=harness.prepared(), cuda_arch=number
        )
        assert isinstance(found, kind), found


@pytest.mark.parametrize(
    ("said", "killed"),
    [
        ("g++: fatal error: Killed signal terminated program cc1plus\ncompilation terminated.", True),
        ("clang++: error: unable to execute command: Killed", True),
        ("x.cu:3:2: error: #error Killed", False),
        ("x.cu:3:2: error: 'Killed' was not declared in this scope", False),
    ],
)
def test_a_compiler_that_the_system_killed_is_told_from_a_source_that_speaks_of_it(
    said: str, killed: bool
) -> None:
    assert bool(KILLED.search(said)) == killed


NAMED = 'extern "C" __global__ void {0}(const float* x, float* y, int n) {{ y[threadIdx.x] = x[threadIdx.x] * n; {1} }}'


@pytest.mark.parametrize("compiler", COMPILERS)
def test_a_kernel_may_have_the_name_of_a_function_that_cuda_does_not_have(compiler: str) -> None:
    names = ("index", "ffs", "bzero", "bcopy", "finite", "scalb", "drem", "significand", "basename", "strsep")
    names += ("bcmp", "mempcpy", "gammaf", "signgam", "strcat", "memchr")
    source = "\n".join(NAMED.format(name, "") for name in names)
    made = built(source, *names, compiler=compiler)
    with HostRunners() as pool, pool.start(made) as runner:
        out = empty(4, np.float32)
        must_run(runner, "ffs", 1, 4, [given(np.ones(4, np.float32)), out, 3])
    assert out.result.tolist() == [3] * 4


@pytest.mark.parametrize("compiler", COMPILERS)
def test_a_kernel_whose_name_the_c_library_has_otherwise_needs_cuda(compiler: str) -> None:
    result = failed(NAMED.format("strcspn", ""), "strcspn", compiler=compiler)
    assert result.cause == "unsupported"
    assert result.diagnostics[0].message.startswith("`strcspn` is a function of the C library")
    assert (result.diagnostics[0].line, len(result.diagnostics)) == (1, 1)


def test_a_renamed_kernel_cannot_find_out_its_name() -> None:
    asks = "if (sizeof(__func__) > 8) y[0] = 0;"
    result = failed(NAMED.format("index", asks), "index")
    assert result.cause == "unsupported" and "needs cuda" in result.diagnostics[0].message
    pasted = "#define P(a, b) a##b\n" + NAMED.format("index", asks.replace("__func__", "P(__FUNC, TION__)"))
    assert failed(pasted, "index").cause == "unsupported"
    assert isinstance(build(NAMED.format("scale", asks), ["scale"]), HostBuild)
