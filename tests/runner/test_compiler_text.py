"""What is refused before compiling, and how compilers' logs are read; text in, text out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from workbench.core.plan import CompileOptions, Diagnostic
from workbench.runner.compiler.diagnostics import MAX_DIAGNOSTICS, merged, nvrtc_diagnostics
from workbench.runner.compiler.headers import complete_headers, find_headers, heavy_includes
from workbench.runner.compiler.includes import check_includes, check_options
from workbench.runner.compiler.kernels import ptxas_report

REFUSED = {
    "absolute": '#include "/etc/passwd"',
    "absolute in angles": "#include </etc/passwd>",
    "parent": '#include "../x.h"',
    "parent inside": "#include <cub/../../x.h>",
    "backslashes": '#include "..\\x.h"',
    "spaces": '  #   include   "/x"',
    "comment between": '#/* a */include/* b */"/x"',
    "comment before": '/* a */ #include "/x"',
    "comment over lines": '/* a\n */ #include "/x"',
    "splice": '#inc\\\nlude "/x"',
    "splice in a line comment": '// a \\\n b\n#include "/x"',
    "digraph": '%:include "/x"',
    "trigraph": '??=include "/x"',
    "macro": '#define H "/x"\n#include H',
    "include_next": '#include_next "/x"',
    "import": '#import "/x"',
    "embed": '#embed "/x"',
    "embed inside": "#embed <x.bin>",
    "has_include": '#if __has_include("/x")\n#endif',
    "has_include by macro": "#if __has_include(P)\n#endif",
    "has_include in a define": "#define T __has_include(</x>)",
    "line": '#line 3 "x.h"',
    "marker": '# 3 "x.h" 1',
    "marker behind a spliced raw string": 'auto s = R\\\n"(\n/*)";\n#line 3 "x.h"\n/* */',
    "after a raw string": 'const char* s = R"x( )y" )x";\n#include "/x"',
    "after a digit separator": 'int a = 1\'000;\n#include "/x"',
    "after a quote in a comment": '// don\'t\n#include "/x"',
    "after an unterminated string": 'char c = \';\n#include "/x"',
    "hdrstop": "#pragma nv_hdrstop",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_what_reaches_outside_is_refused(text: str) -> None:
    found = check_includes("int first;\n" + text + "\nint last;\n")
    assert found and all(2 <= d.line <= text.count("\n") + 2 for d in found)


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("int a;\n// #line 3\n", 2, 4),
        ("#define A(x) x \\\n + 1 \\\n + 2\n/* #line 3 */\n", 4, 4),
        ("// a \\\n b\n/* c \\\r\n d */ int e; // #li\\\nne 3\n", 4, 17),
    ],
)
def test_a_line_marker_in_a_comment_is_blamed_where_it_stands(text: str, line: int, column: int) -> None:
    (found,) = check_includes(text)
    assert (found.line, found.column) == (line, column) and "`#line" in found.message


ALLOWED = {
    "toolkit": '#include <cuda_fp16.h>\n#include <cub/block/block_reduce.cuh>\n#include "cooperative_groups.h"',
    "two dots in a name": "#include <a..b.h>",
    "in a comment": '// #include "/etc/passwd"\n/* #include "/x" */',
    "in a string": 'const char* s = "#include </x>";',
    "in a raw string": 'const char* s = R"(\n#include "/x"\n)";',
    "an operator": "int a = 1 # 2;",
    "has_include": "#if __has_include(<cuda_fp8.h>)\n#endif",
    "pragmas": "#pragma unroll 4\n#pragma once",
    "stringify": '#define S(x) #x\n#define L(x) #x "line"',
    "a list in a comment": "/*\n # 1 first\n */",
}


@pytest.mark.parametrize("text", ALLOWED.values(), ids=ALLOWED.keys())
def test_what_stays_inside_is_let_through(text: str) -> None:
    assert check_includes(text) == ()


def test_defines_are_names_and_single_lines() -> None:
    assert check_options(CompileOptions(defines=(("N", "256"), ("F(x)", "(x) * 2"))), 1) == ()
    for name, text in (
        ("1N", "1"),
        ("N M", "1"),
        ("N", "1\n2"),
        ("N", "1 \\"),
        ("N", "/* x"),
        ("defined", "1"),
    ):
        assert check_options(CompileOptions(defines=((name, text),)), 7)[0].line == 7
    assert check_options(CompileOptions(max_registers=8), 1)


def test_only_includes_that_cannot_change_their_meaning_are_lifted() -> None:
    headers = find_headers()
    if headers.resolve("cub/block/block_reduce.cuh") is None:
        pytest.skip("CUB's headers are not here")
    include = "#include <cub/block/block_reduce.cuh>\n"
    assert heavy_includes(f"#define BLOCK 4\n{include}", (), headers) == ("cub/block/block_reduce.cuh",)
    assert heavy_includes(include, (("BLOCK", "4"),), headers)
    assert not heavy_includes(f"#define CUB_NS x\n{include}", (), headers)
    assert not heavy_includes(f"#if 0\n{include}#endif\n", (), headers)
    assert not heavy_includes(include, (("_CCCL_X", "1"),), headers)
    assert not heavy_includes("#include <cub/none.cuh>\n", (), headers)
    assert not heavy_includes("#include <cuda_fp16.h>\n", (), headers)


LOG = """/candidate.cu(4): error: identifier "y" is undefined
      y = 2;
      ^

/candidate.cu(9): warning #177-D: variable "unused" was declared but never referenced
      int unused;
          ^

/opt/include/cub/block/block_reduce.cuh(88): error: static assertion failed with "no"
          detected during:
            instantiation of "float cub::Sum(T) [with T=float]" at line 12 of /candidate.cu
            instantiation of "void k()" at line 40

/candidate.cu(2): catastrophic error: cannot open source file "torch/extension.h"
  #include <torch/extension.h>
                              ^

2 errors detected in the compilation of "candidate.cu".
"""


def test_a_log_becomes_diagnostics_at_the_candidates_lines() -> None:
    found = nvrtc_diagnostics(LOG, "")
    assert [(d.line, d.severity) for d in found] == [
        (4, "error"),
        (12, "error"),
        (2, "error"),
        (9, "warning"),
    ]
    assert found[0].column == 5
    assert "block_reduce.cuh" in found[1].message
    assert "no host code" in found[2].message


NAMES = """__nv_name_map(2): error: identifier "scales" is undefined
  #pragma nv_mangled_name workbench_probe_ea7bf2eba03dcf1122dc47a2<decltype(scales)>
                                                                            ^

__nv_name_map(2): error: Name expression cannot form address of a non-__global__/__tile_global__ function. Input name expression was: " workbench_probe_ea7bf2eba03dcf1122dc47a2 < decltype ( scales ) >"
  #pragma nv_mangled_name workbench_probe_ea7bf2eba03dcf1122dc47a2<decltype(scales)>
                          ^

__nv_name_map(3): error: Error in parsing name expression for lowered name lookup. Input name expression was: " scales"
  #pragma nv_mangled_name scales
                          ^

3 errors detected in the compilation of "candidate.cu".
"""


def test_a_kernel_that_is_not_there_is_named_even_where_nvrtc_says_so_only_of_our_probe() -> None:
    (found,) = nvrtc_diagnostics(NAMES, 'extern "C" __global__ void scale(float* x) {}')
    assert found.message.startswith('There is no kernel "scales" for the plan to launch')
    assert found.message.endswith("The file's kernels: scale.") and "probe" not in found.message


def test_the_same_error_of_both_compilers_is_shown_once() -> None:
    cuda = (Diagnostic("identifier is undefined", 4, 5), Diagnostic("other", 9, 1))
    host = (Diagnostic("was not declared in this scope", 4, 5), Diagnostic("only here", 11, 1))
    assert [d.line for d in merged(cuda, host)] == [4, 9, 11]
    many = tuple(Diagnostic(f"error {i}", i + 1) for i in range(100))
    assert len(merged(many, ())) == MAX_DIAGNOSTICS


def test_spills_and_shared_memory_are_read_for_each_kernel() -> None:
    log = """ptxas info    : Compiling entry function 'a' for 'sm_90a'
ptxas info    : Function properties for a
ptxas         .     16 bytes stack frame, 12 bytes spill stores, 20 bytes spill loads
ptxas info    : Used 24 registers, used 1 barriers, 1024 bytes smem
ptxas info    : Compiling entry function 'b' for 'sm_90a'
ptxas info    : Function properties for helper
    8 bytes stack frame, 4 bytes spill stores, 4 bytes spill loads
ptxas info    : Function properties for b
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 10 registers, used 0 barriers
"""
    found = ptxas_report(log)
    assert (found["a"].spill_bytes, found["a"].shared_bytes) == (20, 1024)
    assert (found["b"].spill_bytes, found["b"].shared_bytes) == (0, 0)


def _folder(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    return root


def test_headers_that_are_incomplete_give_way_to_complete_ones(tmp_path: Path) -> None:
    wheels = _folder(tmp_path / "wheels", "cuda_fp16.h")
    toolkit = _folder(
        tmp_path / "toolkit",
        "cuda_fp16.h",
        "crt/host_defines.h",
        "crt/mma.h",
        "cccl/cub/block/block_reduce.cuh",
    )
    found = complete_headers([(wheels, "wheels"), (toolkit, "toolkit")])
    assert found.origin == "toolkit" and not found.absent()
    assert str(wheels) not in found.folders


def test_headers_that_lie_in_two_places_are_read_from_both(tmp_path: Path) -> None:
    wheels = _folder(tmp_path / "wheels", "cuda_fp16.h", "cccl/cub/block/block_reduce.cuh")
    triton = _folder(tmp_path / "triton", "cuda_fp16.h", "crt/host_defines.h", "crt/mma.h")
    nothing_new = _folder(tmp_path / "more", "cuda_fp16.h", "crt/mma.h")
    found = complete_headers([(wheels, "wheels"), (triton, "triton"), (nothing_new, "toolkit")])
    assert found.origin == "wheels and triton" and not found.absent()
    assert found.resolve("cuda_fp16.h") == wheels / "cuda_fp16.h"
    assert complete_headers([]).origin == ""


def test_the_compiler_process_imports_nothing_that_starts_threads() -> None:
    # numpy's OpenBLAS starts one thread a core, which Landlock would not reach and which a fork would lose.
    code = "import sys, workbench.runner.compiler.__main__; print({'numpy', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
