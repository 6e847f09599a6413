"""The compiler process, for real: NVRTC, the host compiler and the sandbox; no part is replaced."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from reachable import open_to_others

from workbench.core.build import BuildFailure, CudaBuild, HostBuild
from workbench.core.plan import CompileOptions
from workbench.dialect.source import CandidateSource
from workbench.runner.compiler import Builds, Compiler, client

ARCH = "sm_90a"
SCALE = """extern "C" __global__ void scale(const float* __restrict__ x, float* y, int n, float by) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i] * by;
}
"""


def source(text: str) -> CandidateSource:
    return CandidateSource(plan="", plan_line=1, device=text, sha256="")


def build(
    compiler: Compiler,
    text: str,
    kernels: tuple[str, ...] = ("scale",),
    *,
    options: CompileOptions | None = None,
    cuda: bool = True,
    host: bool = False,
    arch: str = ARCH,
) -> Builds:
    return compiler.build(
        source(text),
        options or CompileOptions(),
        kernels,
        arch=arch if cuda else None,
        host=host,
    )


def good(builds: Builds) -> CudaBuild:
    assert isinstance(builds.cuda, CudaBuild), builds.cuda
    return builds.cuda


def bad(builds: Builds) -> BuildFailure:
    assert isinstance(builds.cuda, BuildFailure), builds.cuda
    return builds.cuda


@pytest.fixture(scope="module")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compiler]:
    with Compiler(cache=tmp_path_factory.mktemp("builds")) as running:
        yield running


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compiler]:
    """A compiler for sources that would use up any time they are given."""
    with Compiler(cache=tmp_path_factory.mktemp("builds"), timeout_s=3.0) as running:
        yield running


def test_both_compilers_build_one_candidate_and_say_who_they_are(compiler: Compiler) -> None:
    builds = build(compiler, SCALE, host="host" in compiler.versions)
    assert good(builds).version.startswith("NVRTC 13")
    assert good(builds).cubin[:4] == b"\x7fELF"
    if "host" in compiler.versions:
        assert isinstance(builds.host, HostBuild)
        assert builds.host.library[:4] == b"\x7fELF" and "scale" in builds.host.entries


def test_the_process_says_what_confines_it(compiler: Compiler) -> None:
    assert any("seccomp" in means for means in compiler.evidence.means)


def test_parameters_carry_the_types_that_the_source_wrote(compiler: Compiler) -> None:
    text = """#include <cuda_fp16.h>
#include <cuda_bf16.h>
struct Pair { float a; int b[3]; };
enum Mode { FAST, EXACT };
template <typename T, int N> __global__ void mixed(const T* __restrict__ x, T* y, __half h, __nv_bfloat16 b,
    double d, long long n, size_t m, unsigned char c, bool flag, Pair pair, Mode mode, float* const* rows) {
    y[0] = x[n] + T(N);
}
"""
    (kernel,) = good(build(compiler, text, ("mixed<float, 4>",))).kernels
    assert [p.type for p in kernel.parameters] == [
        "const float*",
        "float*",
        "__half",
        "__nv_bfloat16",
        "double",
        "long long",
        "unsigned long",
        "unsigned char",
        "bool",
        "Pair",
        "Mode",
        "float* const*",
    ]
    kinds = [p.kind for p in kernel.parameters]
    assert kinds == [
        *("pointer", "pointer", "float", "float", "float"),
        *("int", "int", "int", "int", "struct", "int", "pointer"),
    ]
    assert [p.size for p in kernel.parameters] == [8, 8, 2, 2, 8, 8, 8, 1, 1, 16, 4, 8]
    assert kernel.name == "mixed<float, 4>" and kernel.symbol.startswith("_Z5mixed")


def test_a_half_pointer_is_told_from_a_float_pointer_in_extern_c_code(compiler: Compiler) -> None:
    text = '#include <cuda_fp16.h>\nextern "C" __global__ void k(const __half* x, float* y) { y[0] = __half2float(x[0]); }\n'
    (kernel,) = good(build(compiler, text, ("k",))).kernels
    assert [p.type for p in kernel.parameters] == ["const __half*", "float*"]


def test_resources_are_those_that_ptxas_counts(compiler: Compiler) -> None:
    text = """__constant__ float table[8];
extern "C" __global__ void __launch_bounds__(128) k(const float* x, float* y, int n) {
    __shared__ float tile[256];
    volatile float local[100];
    for (int i = 0; i < 100; ++i) local[i] = x[i * n];
    tile[threadIdx.x] = local[n] + table[n & 7];
    __syncthreads();
    y[threadIdx.x] = tile[127 - threadIdx.x];
}
"""
    (kernel,) = good(build(compiler, text, ("k",))).kernels
    assert kernel.shared_bytes == 1024
    assert kernel.constant_bytes == 32
    assert kernel.max_threads == 128
    assert kernel.stack_bytes >= 400
    assert 0 < kernel.registers <= 255
    assert kernel.instructions > 10


def test_a_register_limit_shows_as_spills(compiler: Compiler) -> None:
    body = (
        "".join(f"float a{i} = x[{i} * n];\n" for i in range(64))
        + "y[0] = "
        + " * ".join(f"(a{i} + a{63 - i} * n)" for i in range(64))
    )
    text = f'extern "C" __global__ void k(const float* x, float* y, int n) {{ {body}; __syncthreads(); y[1] = a0 + a63; }}'
    free = good(build(compiler, text, ("k",))).kernels[0]
    tight = good(build(compiler, text, ("k",), options=CompileOptions(max_registers=24))).kernels[0]
    assert free.spill_bytes == 0
    assert tight.spill_bytes > 0 and tight.registers <= 24


def test_the_prelude_keeps_line_numbers_the_files_own(compiler: Compiler) -> None:
    text = """
extern "C" __global__ void k(float* y, size_t n, int64_t m, uint8_t b) {
    static_assert(__LINE__ == 3, "the third line");
    constexpr float inf = INFINITY;
    y[0] = inf; y[1] = NAN; y[2] = FLT_MAX; y[3] = M_PI; y[n] = m + b;
}
"""
    assert good(build(compiler, text, ("k",))).kernels


def test_an_error_stands_at_the_candidates_line_and_column(compiler: Compiler) -> None:
    failure = bad(build(compiler, "\n\n__global__ void k(float* x) {\n    x[0] = wrong;\n}\n", ("k",)))
    first = failure.diagnostics[0]
    assert failure.cause == "source"
    assert (first.line, first.column, first.severity) == (4, 12, "error")
    assert "wrong" in first.message


def test_an_error_in_inline_assembly_stands_at_its_line(compiler: Compiler) -> None:
    text = 'extern "C" __global__ void k(float* x) {\n    x[0] = 1;\n    asm volatile("no.such.thing;");\n}\n'
    failure = bad(build(compiler, text, ("k",)))
    assert failure.diagnostics[0].line == 3


@pytest.mark.parametrize("linkage", ['extern "C" ', ""])
@pytest.mark.parametrize("asked", ["scales", "zscale"])
def test_an_unknown_kernel_is_answered_with_the_kernels_there_are(
    compiler: Compiler, asked: str, linkage: str
) -> None:
    # NVRTC goes through all names in their order, our probes' among them: they stand before "z" and after "s".
    text = SCALE.replace('extern "C" ', linkage)
    for names in [(asked,), ("scale", asked), (asked, "scale")]:
        (first,) = bad(build(compiler, text, names)).diagnostics
        assert f'no kernel "{asked}"' in first.message
        assert "scale." in first.message


def test_a_template_without_arguments_is_told_to_name_them(compiler: Compiler) -> None:
    failure = bad(build(compiler, "template <typename T> __global__ void k(T* x) { x[0] = 1; }", ("k",)))
    assert "template" in failure.diagnostics[0].message


@pytest.mark.parametrize("linkage", ['extern "C" ', ""])
def test_a_kernel_named_like_a_function_of_cuda_is_told_to_take_another_name(
    compiler: Compiler, linkage: str
) -> None:
    text = f"\n{linkage}__global__ void norm(float* x) {{ x[0] = 1; }}\n"
    first = bad(build(compiler, text, ("norm",))).diagnostics[0]
    assert 'CUDA has a function "norm" of its own' in first.message and "norm_kernel" in first.message
    assert first.line == 2


def test_two_kernels_of_one_name_are_told_from_a_name_that_cuda_has(compiler: Compiler) -> None:
    text = "__global__ void mine(float* x) {}\n__global__ void mine(int* x) {}\n"
    first = bad(build(compiler, text, ("mine",))).diagnostics[0]
    assert 'several functions "mine"' in first.message and first.line == 1


def test_too_many_errors_are_cut_to_twenty(compiler: Compiler) -> None:
    text = "\n".join(f"__device__ void f{i}() {{ missing{i}; }}" for i in range(500)) + SCALE
    assert 1 <= len(bad(build(compiler, text)).diagnostics) <= 20


@pytest.mark.parametrize(
    "text",
    [
        '#include "/etc/passwd"\n',
        '#include "../../../etc/passwd"\n',
        "#include </etc/passwd>\n",
        '#if __has_include("/etc/shadow")\n#endif\n',
        '#define P "/etc/passwd"\n#include P\n',
        '#line 7 "/usr/include/cuda/std/__thread/threading_support.h"\n',
        '#em\\\nbed "/etc/passwd"\n',
    ],
)
def test_a_file_outside_is_refused_by_name_before_anything_is_compiled(compiler: Compiler, text: str) -> None:
    failure = bad(build(compiler, text + SCALE))
    assert failure.cause == "source" and failure.version == ""
    assert failure.diagnostics[0].line in (1, 2)


def test_the_sandbox_refuses_what_the_check_would_have_let_through(
    compiler: Compiler, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(client, "check_includes", lambda device: ())
    secret = tmp_path / "secret.h"
    secret.write_text("#define STOLEN_WORD 1\n")
    open_to_others(tmp_path)
    host = "host" in compiler.versions
    for path in (str(secret), "/etc/passwd", "../../../../../../../../etc/passwd"):
        text = f'#include "{path}"\n#ifndef STOLEN_WORD\n#error nothing was read\n#endif\n{SCALE}'
        builds = build(compiler, text, host=host)
        for failure in (builds.cuda, builds.host) if host else (builds.cuda,):
            assert isinstance(failure, BuildFailure)
            said = " ".join(d.message for d in failure.diagnostics)
            assert "root:" not in said
    assembler = 'asm(".pushsection .rodata\\n.incbin \\"/etc/passwd\\"\\n.popsection");\n' + SCALE
    if host:
        answer = build(compiler, assembler, cuda=False, host=True).host
        assert isinstance(answer, BuildFailure) or b"root:" not in answer.library


def test_a_define_cannot_smuggle_in_a_directive(compiler: Compiler) -> None:
    options = CompileOptions(defines=(("X", '1\n#include "/etc/passwd"'),))
    assert "one plain line" in bad(build(compiler, SCALE, options=options)).diagnostics[0].message
    options = CompileOptions(defines=(("X 1\n#include", "y"),))
    assert "no name" in bad(build(compiler, SCALE, options=options)).diagnostics[0].message


def test_what_was_built_once_comes_from_the_cache(compiler: Compiler) -> None:
    text = SCALE + "// cached\n"
    first = good(build(compiler, text))
    again = compiler.build(source(text), CompileOptions(), ("scale",), arch=ARCH, host=False).cuda
    assert isinstance(again, CudaBuild)
    assert not first.cached and again.cached and again.cubin == first.cubin
    other = good(build(compiler, text, options=CompileOptions(defines=(("N", "1"),))))
    assert not other.cached
    assert not good(build(compiler, text, arch="sm_80")).cached


def test_a_failure_is_cached_too_and_a_damaged_file_is_built_again(tmp_path: Path) -> None:
    with Compiler(cache=tmp_path) as compiler:
        assert not bad(build(compiler, "broken")).cached
        assert bad(build(compiler, "broken")).cached
        good(build(compiler, SCALE))
        files = [p for p in tmp_path.rglob("*") if p.is_file() and "prepared" not in p.parts]
        assert len(files) == 2
        for path in files:
            path.write_bytes(path.read_bytes()[:-7] + b"garbage")
        again = good(build(compiler, SCALE))
        assert not again.cached
        assert good(build(compiler, SCALE)).cached


def test_two_builds_of_one_text_are_the_same_bytes(tmp_path: Path) -> None:
    cubins = []
    for name in ("a", "b"):
        with Compiler(cache=tmp_path / name) as compiler:
            cubins.append(good(build(compiler, SCALE)).cubin)
    assert cubins[0] == cubins[1]


def test_a_killed_process_fails_nothing_but_the_build_it_was_at(tmp_path: Path) -> None:
    with Compiler(cache=tmp_path) as compiler:
        good(build(compiler, SCALE))
        assert compiler._process is not None
        os.kill(compiler._process.pid, signal.SIGKILL)
        compiler._process.wait()
        assert not good(build(compiler, SCALE + "// again\n")).cached


def test_a_process_that_cannot_be_started_is_an_answer_and_the_next_build_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(tempfile, "tempdir", str(tmp_path / "full or gone"))
        running = Compiler(cache=tmp_path)
        failure = bad(build(running, SCALE))
    assert failure.cause == "died" and "No such file" in failure.diagnostics[0].message
    with running:
        assert good(build(running, SCALE)).cubin


def test_an_interrupted_build_ends_as_died_and_the_next_one_works(tmp_path: Path) -> None:
    with Compiler(cache=tmp_path) as compiler:
        good(build(compiler, SCALE))
        stop = threading.Event()

        def interrupt() -> None:
            while not stop.wait(0.05):
                compiler.interrupt()

        thread = threading.Thread(target=interrupt)
        thread.start()
        try:
            failure = bad(build(compiler, f"{ENDLESS}{SCALE}"))
        finally:
            stop.set()
            thread.join()
        assert failure.cause == "died"
        good(build(compiler, SCALE + "// after\n"))


def test_an_interrupted_process_is_not_asked_again_while_it_is_still_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Compiler(cache=tmp_path) as compiler:
        good(build(compiler, SCALE))
        before = compiler._process
        with monkeypatch.context() as slow:  # the signal has not arrived yet
            slow.setattr(compiler, "_kill", lambda: None)
            compiler.interrupt()
        assert not good(build(compiler, SCALE + "// after\n")).cached
        assert compiler._process is not before


ENDLESS = """constexpr unsigned long long spin(unsigned long long n) {
    unsigned long long s = 1;
    for (unsigned long long i = 0; i < n; ++i) s = s * 6364136223846793005ull + i;
    return s;
}
template <int D, int W> struct Tree {
    static constexpr unsigned long long value = Tree<D - 1, 2 * W>::value + Tree<D - 1, 2 * W + 1>::value;
};
template <int W> struct Tree<0, W> { static constexpr unsigned long long value = W; };
__device__ unsigned long long forever[Tree<24, 0>::value % 2 + 1];
"""


def test_a_template_bomb_is_cut_and_the_next_candidate_still_compiles(tmp_path: Path) -> None:
    with Compiler(cache=tmp_path, timeout_s=3.0) as compiler:
        failure = bad(build(compiler, ENDLESS + SCALE))
        assert failure.cause in ("timeout", "memory", "died")
    with Compiler(cache=tmp_path) as compiler:
        good(build(compiler, SCALE))


def test_a_host_build_that_does_not_end_is_cut(tmp_path: Path) -> None:
    text = ENDLESS.replace("__device__", "static").replace("24, 0", "22, 0")
    source = CandidateSource(plan="", plan_line=1, device=text + SCALE, sha256="")
    with Compiler(cache=tmp_path, timeout_s=2.0) as compiler:
        builds = compiler.build(source, CompileOptions(), ("scale",), arch=None, host=True)
        failure = builds.host
        assert isinstance(failure, BuildFailure)
        assert failure.cause == "timeout", failure


def test_a_timeout_leaves_a_compiler_that_works(tmp_path: Path) -> None:
    with Compiler(cache=tmp_path, timeout_s=4.0) as compiler:
        first = compiler.versions
        assert bad(build(compiler, ENDLESS + SCALE)).cause in ("timeout", "memory", "died")
        # A build may be slow here, but the process is another one and answers.
        assert compiler.versions == first


@pytest.mark.parametrize(
    "text",
    [
        "#define A B B\n"
        + "".join(f"#define {chr(66 + i)} {chr(67 + i)} {chr(67 + i)}\n" for i in range(20))
        + "A\n",
        "__device__ char huge[1ull << 46];\n",
        "template <int N> struct R { typename R<N + 1>::type t; };\nR<0> r;\n",
        "(" * 20000,
        '#include "candidate.cu"\n',
        "int x = " + "1+" * 50000 + "1;\n",
    ],
    ids=["macros", "huge array", "recursion", "parentheses", "self", "expression"],
)
def test_a_source_made_to_break_a_compiler_gets_an_answer_and_the_compiler_goes_on(
    compiler: Compiler, hasty: Compiler, text: str
) -> None:
    assert build(hasty, text + SCALE).cuda is not None
    assert hasty.versions == compiler.versions


def test_a_candidate_cannot_name_the_probe_and_the_probe_is_no_kernel(compiler: Compiler) -> None:
    made = good(build(compiler, SCALE))
    assert [kernel.name for kernel in made.kernels] == ["scale"]
    assert b"workbench_probe_" in made.cubin


def test_cub_gives_the_same_code_with_and_without_precompiled_headers(tmp_path: Path) -> None:
    text = """#include <cub/block/block_reduce.cuh>
extern "C" __global__ void k(const float* x, float* y) {
    using Reduce = cub::BlockReduce<float, 128>;
    __shared__ typename Reduce::TempStorage storage;
    float sum = Reduce(storage).Sum(x[threadIdx.x]);
    if (threadIdx.x == 0) y[0] = sum;
}
"""
    codes = set()
    with Compiler(cache=tmp_path) as compiler:
        for number in range(8):
            made = good(build(compiler, f"{text}// {number}\n", ("k",)))
            codes.add(tuple(k.instructions for k in made.kernels))
            folder = compiler._work
            assert folder is not None
            if number > 1 and list(folder.glob("pch/*.pch")):
                break
            time.sleep(1)
    assert len(codes) == 1


def test_closing_leaves_no_process_and_no_folder(tmp_path: Path) -> None:
    compiler = Compiler(cache=tmp_path)
    good(build(compiler, SCALE))
    process, work = compiler._process, compiler._work
    compiler.close()
    assert process is not None and process.poll() is not None
    assert work is not None and not work.exists()
    assert bad(build(compiler, SCALE + "//")).cause == "died"
