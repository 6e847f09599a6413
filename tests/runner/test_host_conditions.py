"""Code that can tell NVRTC from the host's compiler is not one program: the host target leaves it to a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.core.build import BuildFailure, HostBuild
from workbench.core.plan import CompileOptions
from workbench.runner.host.build import compile_host
from workbench.runner.host.conditions import Preprocessor, asks_for_compiler
from workbench.runner.host.toolchain import Prepared, prepare


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tmp_path_factory.mktemp("prepared"))


@pytest.fixture
def preprocessor(prepared: Prepared, tmp_path: Path) -> Preprocessor:
    return prepared.preprocessor(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "#ifdef __GNUC__\nint right;\n#else\nint wrong;\n#endif\n",
        "#ifndef __CUDACC_RTC__\nint right;\n#else\nint wrong;\n#endif\n",
        "#if WORKBENCH_HOST\nint right;\n#endif\n",
        "#define P(a, b) a##b\n#if P(__SS, E__)\nint right;\n#endif\n",
        "#define P(a, b) a##b\n#if P(__CUDACC_VER_, MINOR__) == 0\nint right;\n#endif\n",
        "#if __CUDACC_VER_MINOR__ == 0\nint right;\n#endif\n",
        "#ifdef printf\nint right;\n#endif\n",
        "#ifdef __forceinline__\nint right;\n#endif\n",
        "#if __has_include(<stdio.h>)\nint right;\n#endif\n",
        "%:ifdef __GNUC__\nint right;\n%:endif\n",
        "#i\\\nfdef __GNUC__\nint right;\n#endif\n",
        "#/*\n*/ifdef __GNUC__\nint right;\n#endif\n",
        "int right = __SSE__;\n",
        "int right = sizeof(long  double) == 16;\n",
        "int right = __COUNTER__;\n",
        "#ifdef __GNUC__\n#define GOOD 1\n#endif\n#if GOOD\nint right;\n#endif\n",
        # What one target's headers define, and the other's do not.
        "#include <limits>\n#ifdef CCCL_VERSION\nint wrong;\n#else\nint right;\n#endif\n",
        "#ifndef __CUDACC_RTC__\n#include <math_constants.h>\n#endif\n#ifdef CUDART_PI_F\nint right;\n#endif\n",
        "__device__ int f() { NV_IF_TARGET(NV_IS_HOST, (return right;), (return wrong;)) }\n",
        "__device__ constexpr int (htobe16)(int) { return 1; }\nint wrong = htobe16(1) == 1;\n",
        "#define P(a, b) a##b\nint wrong = P(htob, e16)(1);\n",
        "constexpr bool right = sizeof(__BASE_FILE__) == 14;\n",
        "#define P(a, b) a##b\nconstexpr bool right = sizeof(P(__BASE, _FILE__)) == 14;\n",
        "#define P(a, b) a##b\nint right = P(__COUN, TER__);\n",
        "char right = __TIMESTAMP__[0] + __DATE__[1] + __TIME__[2];\n",
        "char right = __builtin_FILE()[0];\n",
        "int right = sizeof(1.0L) + sizeof(.5l) + sizeof(0x1p3L);\n",
    ],
)
def test_code_that_asks_which_compiler_reads_it_needs_cuda(text: str, preprocessor: Preprocessor) -> None:
    found = asks_for_compiler(text, (), preprocessor)
    assert found is not None and "needs cuda" in found.message, text


STRING = "#define S_(...) #__VA_ARGS__\n#define X_(...) S_(__VA_ARGS__)\n"


@pytest.mark.parametrize(
    "macro",
    [
        "__global__",
        "FLT_MAX",
        "__launch_bounds__(3)",
        "alignas(4)",
        "assert(1)",
        "NULL",
        "a __device__ b",
        "M_PI",
    ],
)
def test_a_macro_of_the_compilers_that_becomes_a_string_needs_cuda(
    macro: str, preprocessor: Preprocessor
) -> None:
    found = asks_for_compiler(f"{STRING}int right = sizeof(X_({macro}));\n", (), preprocessor)
    assert found is not None and "needs cuda" in found.message
    pasted = f"#define P(a, b) a##b\n{STRING}int right = sizeof(X_(P({macro[:4]}, {macro[4:]})));\n"
    if " " not in macro:
        assert asks_for_compiler(pasted, (), preprocessor) is not None


@pytest.mark.parametrize(
    "text",
    [
        "int a = sizeof(S_(FLT_MAX __global__));\n",
        "#define UNROLL 8\nvoid f() { _Pragma(X_(unroll UNROLL)) for (;;) ; }\n",
        '#define N 4\nstatic_assert(N % 4 == 0, "N is " X_(N) " in line " X_(__LINE__));\n',
        '__global__ void k(float* p) { p[0] = FLT_MAX; } const char* a = "X_(FLT_MAX)" X_(p[0] + 1);\n',
        "#if __CUDA_ARCH__ < 700\n#error needs sm_70, not X_(__CUDA_ARCH__)\n#endif\n",
    ],
)
def test_strings_of_a_candidates_own_words_ask_for_nothing(text: str, preprocessor: Preprocessor) -> None:
    assert asks_for_compiler(STRING + text, (), preprocessor) is None


def test_a_macro_of_the_plan_that_stands_for_a_compilers_is_seen(preprocessor: Preprocessor) -> None:
    assert asks_for_compiler("#if X\nint right;\n#endif\n", (("X", "__SSE__"),), preprocessor) is not None


@pytest.mark.parametrize(
    "text",
    [
        "#include <cuda_fp16.h>\nint a;\n",
        "#ifndef __CUDACC_RTC__\n#include <cuda_runtime.h>\n#endif\nint a;\n",
        "#ifndef BLOCK\n#define BLOCK 256\n#endif\nint a = BLOCK;\n",
        "#define M_PI 3.14159265\nfloat a = M_PI;\n",
        "#ifndef M_PI\n#define M_PI 3.14159265\n#endif\nfloat a = M_PI;\n",
        "#ifndef FLT_EPSILON\n#define FLT_EPSILON 1e-7f\n#endif\nfloat a = FLT_EPSILON + UINT32_MAX;\n",
        "#if __CUDA_ARCH__ >= 800\nint a;\n#endif\n",
        "#ifdef DEBUG\nint a;\n#endif\n",
        "// __BASE_FILE__, __DATE__ and __TIME__ in a comment\nconst char *a = __FILE__ __func__;\n",
        "#define NAME(a, b) a##b\nint NAME(x, y) = __LINE__;\n",
        '// __GNUC__ in a comment, and in a string\nconst char *a = "#ifdef __GNUC__";\n',
        "__global__ void k(float *__restrict__ p) { p[0] = INFINITY + FLT_MAX; }\n",
        "#define LINE_MAX 80\nint a[LINE_MAX + FLT_DIG + SIZE_MAX + 1L + 0x1eL]; // of linux, unix and 1.0L\n",
        "#include <math_constants.h>\n#ifndef CUDART_INF_F\n#define CUDART_INF_F 1\n#endif\nfloat a = CUDART_INF_F;\n",
    ],
)
def test_what_is_the_same_for_both_compilers_asks_for_nothing(text: str, preprocessor: Preprocessor) -> None:
    assert asks_for_compiler(text, (), preprocessor) is None, text


KERNEL = 'extern "C" __global__ void k(int *p) { printf("%d", p[0]); assert(p[0] != 3); p[0] = std::max(INT_MAX, 1); }\n'


@pytest.mark.parametrize(
    "text",
    [
        # NVRTC finds an empty header, where the system's would tell that a host reads it.
        "#include <cstdio>\n#ifdef BUFSIZ\n#error the host\n#endif\n",
        "#ifndef __CUDACC_RTC__\n#include <csignal>\n#endif\n#ifdef SIGINT\n#error the host\n#endif\n",
        "# include   <stdio.h> // for printf\n#ifdef SEEK_END\n#error the host\n#endif\n",
        "__device__ constexpr int SEEK_END = 7;\n%:include <cstdio>\nstatic_assert(SEEK_END == 7);\n",
        "#ifdef __CUDACC_RTC__\n#include <cuda_fp16.h>\n#else\n#include <vector>\n#include <no_such.h>\n#endif\n",
        "#include <cstdio> /* a comment\nthat goes on */\n#include <cassert>\n#include <cmath>\n#include <cuda_fp16.h>\n",
    ],
)
def test_a_header_that_nvrtc_finds_empty_is_not_read_here_either(
    text: str, prepared: Prepared, tmp_path: Path
) -> None:
    text = "#include <algorithm>\n" + text + KERNEL
    built = compile_host(text, "x.cu", CompileOptions(), ("k",), tmp_path, prepared=prepared)
    assert isinstance(built, HostBuild), built


@pytest.mark.parametrize(
    "text", ["#include_next <cstdio>\n", "#include \\\n<cstdio>\n", "#import <cstdio>\n"]
)
def test_an_include_that_is_not_written_plainly_needs_cuda(
    text: str, prepared: Prepared, tmp_path: Path
) -> None:
    built = compile_host(text + KERNEL, "x.cu", CompileOptions(), ("k",), tmp_path, prepared=prepared)
    assert isinstance(built, BuildFailure) and built.cause == "unsupported"
    assert "needs cuda" in built.diagnostics[0].message and built.diagnostics[0].line == 1


@pytest.mark.parametrize("header", ["", "#include <algorithm>\n#include <functional>\n"])
def test_null_is_an_int_as_it_is_to_nvrtc(header: str, prepared: Prepared, tmp_path: Path) -> None:
    body = "static_assert(sizeof(NULL) == sizeof(int)); int *q = NULL; if (q != NULL || !p) p[0] = 0;"
    text = f'{header}extern "C" __global__ void k(int *p) {{ {body} }}\n'
    made = compile_host(text, "x.cu", CompileOptions(), ("k",), tmp_path, prepared=prepared)
    assert isinstance(made, HostBuild), made
