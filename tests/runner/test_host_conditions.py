"""Code that can tell NVRTC from the host's compiler is not one program: the host target leaves it to a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.runner.host.conditions import Preprocessor, asks_for_compiler
from workbench.runner.host.toolchain import prepare


@pytest.fixture(scope="module")
def preprocessor(tmp_path_factory: pytest.TempPathFactory) -> Preprocessor:
    folder: Path = tmp_path_factory.mktemp("conditions")
    return prepare(folder / "prepared").preprocessor(folder)


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
    ],
)
def test_code_that_asks_which_compiler_reads_it_needs_cuda(text: str, preprocessor: Preprocessor) -> None:
    found = asks_for_compiler(text, (), preprocessor)
    assert found is not None and "needs cuda" in found.message, text


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
        "#define NAME(a, b) a##b\nint NAME(x, y) = __LINE__;\n",
        '// __GNUC__ in a comment, and in a string\nconst char *a = "#ifdef __GNUC__";\n',
        "__global__ void k(float *__restrict__ p) { p[0] = INFINITY + FLT_MAX; }\n",
    ],
)
def test_what_is_the_same_for_both_compilers_asks_for_nothing(text: str, preprocessor: Preprocessor) -> None:
    assert asks_for_compiler(text, (), preprocessor) is None, text
