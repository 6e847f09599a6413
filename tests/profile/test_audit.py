"""Each exploit is a candidate that must be refused, at its line; each honest one must be clean."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest

from tests.profile.conftest import Audit, Build
from workbench.core.build import CudaBuild
from workbench.core.errors import JudgeError
from workbench.core.plan import LIMITS
from workbench.profile import sass
from workbench.profile.audit import audit
from workbench.profile.places import readable

KERNEL = 'extern "C" __global__ void k(const float* x, float* y, int n)'

STATE = {
    "an uninitialised global": f"__device__ int calls;\n{KERNEL} {{\n  calls += n;\n  y[0] = x[0] * calls;\n}}",
    "a static device variable": f"static __device__ float kept[32];\n{KERNEL} {{\n  y[0] = x[0] * kept[n];\n  kept[n] = x[1];\n}}",
    "a pointer kept for later": f"__device__ float* kept;\n{KERNEL} {{\n  y[0] = kept ? kept[0] : x[0] * 2;\n  kept = y;\n}}",
    "a static inside a function": f"__device__ int next() {{\n static int calls; return ++calls; }}\n{KERNEL} {{ y[0] = x[0] * next(); }}",
    "a global reached through a pointer table": f"__device__ int a;\n__device__ int* const table[1] = {{&a}};\n{KERNEL} {{ y[0] = x[0] * (*table[n])++; }}",
    "a global in a function that is not inlined": f"__device__ int a;\n__device__ __noinline__ float f(float v) {{\n  a++;\n  return v * a; }}\n{KERNEL} {{ y[0] = f(x[0]); }}",
    "a global in a virtual function": f"""__device__ int a;
struct Base {{ virtual __device__ float f(float v) {{ return v; }} }};
struct Kept : Base {{ __device__ float f(float v) override {{ return v * a++; }} }};
{KERNEL} {{ Kept kept; Base base; Base* p = n ? (Base*)&kept : &base; y[0] = p->f(x[0]); }}""",
    "an initialised global that is written": f"__device__ int calls = 5;\n{KERNEL} {{\n  y[0] = x[0] * calls;\n  calls = n;\n}}",
    "a variable template": f"template <class T> __device__ T kept;\n{KERNEL} {{ y[0] = x[0] * kept<int>++; }}",
    "an atomic on a global": f"__device__ unsigned ticket;\n{KERNEL} {{ y[0] = x[0] * atomicAdd(&ticket, 1u); }}",
}


@pytest.mark.parametrize("text", STATE.values(), ids=STATE.keys())
def test_state_that_outlives_a_launch_is_refused(audited: Audit, text: str) -> None:
    report = audited(text)
    assert "state" in {f.what for f in report.failed}
    assert all(1 <= f.line <= text.count("\n") + 1 for f in report.failed if f.what == "state")


@pytest.mark.parametrize("arch", ["sm_75", "sm_80", "sm_100a", "sm_120a"])
def test_state_is_refused_on_every_family_of_architectures(audited: Audit, arch: str) -> None:
    for name in ("an uninitialised global", "an initialised global that is written"):
        assert "state" in {f.what for f in audited(STATE[name], arch=arch).failed}


def test_a_global_that_only_another_kernel_reaches_does_not_count(audited: Audit) -> None:
    text = f'__device__ int calls;\nextern "C" __global__ void other(float* y) {{ y[0] = calls++; }}\n{KERNEL} {{ y[0] = x[0] * 2; }}'
    assert not audited(text).findings
    assert audited(text, "other").failed


def test_constant_tables_are_named_and_not_refused(audited: Audit) -> None:
    text = f"__constant__ float a[4] = {{1, 2, 3, 4}};\n__device__ const float b[4] = {{1, 2, 3, 4}};\n{KERNEL} {{ y[0] = x[0] * a[n] + b[n]; }}"
    report = audited(text)
    assert not report.findings
    assert set(report.tables) == {"a", "b"}


CALLS = {
    "malloc": "float* p = (float*)malloc(n); p[0] = x[0]; y[0] = p[0] * 2; free(p);",
    "new": "float* p = new float[n]; p[0] = x[0]; y[0] = p[n] * 2; delete[] p;",
    "printf": 'printf("%f", x[0]); y[0] = x[0] * 2;',
    "assert": "assert(n > 0); y[0] = x[0] * 2;",
}


@pytest.mark.parametrize("body", CALLS.values(), ids=CALLS.keys())
def test_a_system_call_is_refused_at_its_line(audited: Audit, body: str) -> None:
    report = audited(f"// first\n{KERNEL} {{\n  {body}\n}}")
    found = [f for f in report.failed if f.what == "system call"]
    assert found and {f.line for f in found} == {3}


def test_a_table_whose_address_is_kept_in_memory_is_named(audited: Audit) -> None:
    text = f"""__device__ float t[4] = {{1, 2, 3, 4}};
{KERNEL} {{ float* volatile p[2]; p[0] = t; p[1] = y; *p[n] = x[0] * 2; y[1] = x[1] + t[n]; }}"""
    assert audited(text).unchecked == ("writes to `t` through an address kept in memory",)
    reads = text.replace("*p[n] = x[0] * 2;", "y[2] = *p[n] * 2;")
    assert not audited(reads).unchecked and not audited(reads).failed


def test_return_addresses_beside_a_local_array_are_named(audited: Audit) -> None:
    text = f"""__device__ __noinline__ float f(const float* p, int n) {{
    float t[16]; for (int i = 0; i < 16; ++i) t[i] = p[i];
    t[n] = 3; return t[p[3] > 0 ? n : 2]; }}
{KERNEL} {{ y[0] = f(x, n) * 2; }}"""
    named = "return addresses beside local arrays that are written at computed indices"
    assert audited(text).unchecked == (named,)
    assert not audited(text.replace("t[n] = 3;", "")).unchecked
    # Without a call there is no return address, whatever the index.
    assert not audited(
        text.replace("__noinline__", "__forceinline__").replace("f(x, n) * 2", "f(x, n) / x[1]")
    ).unchecked


BESIDE = {
    "two words": "v2.u32 {%0,%1}, [k_param_0+16+8];",
    "four words": "v4.u32 {%0,%1,%2,%3}, [k_param_2];",
    "before": "u32 %0, [k_param_0+-8];",
    "a wide one before": "v2.u32 {%0,%1}, [k_param_0+-8];",
    "after": "u32 %0, [k_param_2+8];",
}


@pytest.mark.parametrize("arch", ["sm_80", "sm_90a", "sm_100a"])
def test_words_beside_the_parameters_are_refused_however_wide_the_read(build: Build, arch: str) -> None:
    read = 'unsigned a[4] = {{0, 0, 0, 0}}; asm volatile("ld.param.{}" : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3]));'
    body = f"{read} y[0] = x[0] * (a[0] + a[1] + a[2] + a[3]);"
    bodies = [body.format(place.replace("k_param", f"k{n}_param")) for n, place in enumerate(BESIDE.values())]
    made, names = each_a_kernel(build, bodies, arch)
    found = {
        what: {f.what for f in audit(made, [name]).failed} for what, name in zip(BESIDE, names, strict=True)
    }
    assert found == {what: {"constants"} for what in BESIDE}


WORKSPACE = {
    "asked for": "volatile unsigned* w = (unsigned*)cooperative_groups::details::get_grid_workspace();",
    "copied out of the group": "auto g = cooperative_groups::this_grid(); volatile unsigned* w; memcpy(&w, &g, 8);",
}


@pytest.mark.parametrize("arch", ["sm_80", "sm_90a", "sm_100a"])
def test_the_workspace_of_grid_sync_is_not_the_candidates(build: Build, arch: str) -> None:
    uses = {
        "read": "y[0] = x[0] * *w;",
        "written": "*w = n; y[0] = x[0] * 2;",
        "told": "y[0] = x[0] * (long long)w;",
    }
    bodies = [f"{take} {use}" for take in WORKSPACE.values() for use in uses.values()]
    bodies.append("cooperative_groups::this_grid().sync(); y[0] = x[0] * 2;")
    lines = [f"{KERNEL} {{ {body} }}".replace(" k(", f" k{n}(") for n, body in enumerate(bodies)]
    names = [f"k{n}" for n in range(len(lines))]
    made = build("\n".join(["#include <cooperative_groups.h>", *lines]), *names, arch=arch)
    found = [{f.what for f in audit(made, [name]).failed} for name in names]
    assert found == [{"constants"}] * 6 + [set()]


@pytest.mark.parametrize("arch", ["sm_80", "sm_90a", "sm_100a"])
def test_assembly_that_says_it_is_cooperative_groups_gets_no_workspace(build: Build, arch: str) -> None:
    sync = "cooperative_groups::this_grid().sync();"
    asked = (
        'unsigned h, l, v; asm volatile("// end inline asm\\n.loc FILE 1 1\\n// begin inline asm\\n'
        "{ .reg .b64 p; mov.u32 %0, %envreg1; mov.u32 %1, %envreg2; mov.b64 p, {%1, %0}; ld.global.u32 %2, [p]; }"
        '" : "=r"(h), "=r"(l), "=r"(v)); y[0] = x[0] * v;'
    )
    text = "#include <cooperative_groups.h>\n" + f"{KERNEL} {{ {sync} {asked} }}"
    plain = build(text.replace("FILE", "1"), "k", arch=arch)
    header = re.search(r'\.file\s+(\d+)\s+"[^"]*cooperative_groups[^"]*"', plain.ptx)
    assert header is not None
    forged = build(text.replace("FILE", header[1]), "k", arch=arch)
    assert {f.what for f in audit(forged, ["k"]).failed} == {"constants"}


def test_a_trap_is_allowed(audited: Audit) -> None:
    assert not audited(f"{KERNEL} {{ if (n < 0) __trap(); y[0] = x[0] * 2; }}").findings


CLOCKS = {
    "clock": "y[0] = x[0] * clock();",
    "clock64": "y[0] = x[0] * clock64();",
    "globaltimer": 'unsigned long long t; asm volatile("mov.u64 %0, %globaltimer;" : "=l"(t)); y[0] = x[0] * t;',
    "clock_hi": 'unsigned t; asm volatile("mov.u32 %0, %clock_hi;" : "=r"(t)); y[0] = x[0] * t;',
}


@pytest.mark.parametrize("arch", ["sm_75", "sm_80", "sm_90a", "sm_100a", "sm_120a"])
def test_a_clock_is_refused_at_its_line(build: Build, arch: str) -> None:
    made, names = each_a_kernel(build, CLOCKS.values(), arch)
    for number, name in enumerate(names, 1):
        assert [(f.what, f.line) for f in audit(made, [name]).failed] == [("clock", number)]


def each_a_kernel(build: Build, bodies: Iterable[str], arch: str) -> tuple[CudaBuild, list[str]]:
    """One build with a kernel for each body, on a line of its own."""
    lines = [f"{KERNEL} {{ {body} }}".replace(" k(", f" k{n}(") for n, body in enumerate(bodies)]
    names = [f"k{n}" for n in range(len(lines))]
    return build("\n".join(lines), *names, arch=arch), names


def test_a_clock_read_through_libcuxx_is_the_candidates(audited: Audit) -> None:
    text = f"#include <cuda/std/chrono>\n{KERNEL} {{\n  y[0] = x[0] * cuda::std::chrono::system_clock::now().time_since_epoch().count();\n}}"
    assert [(f.what, f.line) for f in audited(text).failed] == [("clock", 3)]


IDENTITY = [
    "gridid",
    "smid",
    "nsmid",
    "warpid",
    "pm0",
    "pm3",
    "envreg0",
    "envreg1",
    "envreg2",
    "envreg3",
    "envreg9",
]


@pytest.mark.parametrize(
    "arch", ["sm_75", "sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_103a", "sm_120a"]
)
def test_a_register_that_tells_launches_or_places_apart_is_refused(build: Build, arch: str) -> None:
    bodies = [f'unsigned v; asm volatile("mov.u32 %0, %{r};" : "=r"(v)); y[0] = x[0] * v;' for r in IDENTITY]
    made, names = each_a_kernel(build, bodies, arch)
    let_through = [r for r, name in zip(IDENTITY, names, strict=True) if not audit(made, [name]).failed]
    assert not let_through


@pytest.mark.parametrize("arch", ["sm_80", "sm_90a", "sm_100a"])
def test_the_graph_that_runs_a_kernel_is_not_to_be_known(audited: Audit, arch: str) -> None:
    text = f'{KERNEL} {{\n unsigned long long v; asm volatile("mov.u64 %0, %current_graph_exec;" : "=l"(v)); y[0] = x[0] * v; }}'
    assert audited(text, arch=arch).failed


@pytest.mark.parametrize("arch", ["sm_80", "sm_90a", "sm_100a"])
def test_reading_beside_the_parameters_is_refused(audited: Audit, arch: str) -> None:
    behind = 'extern "C" __global__ void k(const float* x, float* y, const __grid_constant__ int n) {\n  y[0] = x[0] * (&n)[threadIdx.x];\n}'
    assert [(f.what, f.line) for f in audited(behind, arch=arch).failed] == [("constants", 2)]
    fixed = 'extern "C" __global__ void k(const float* x, float* y, const __grid_constant__ int n) {\n  y[0] = x[0] * (&n)[64];\n}'
    assert "constants" in {f.what for f in audited(fixed, arch=arch).failed}


@pytest.mark.parametrize("arch", ["sm_90a", "sm_100a"])
def test_dependent_launches_are_refused(audited: Audit, arch: str) -> None:
    for what in ("wait", "launch_dependents"):
        text = f'{KERNEL} {{ asm volatile("griddepcontrol.{what};"); y[0] = x[0] * 2; }}'
        assert "dependent launch" in {f.what for f in audited(text, arch=arch).failed}


def test_a_plan_that_only_fills_is_refused_and_one_that_only_copies_is_named(audited: Audit) -> None:
    fill = audited(f"{KERNEL} {{ y[threadIdx.x] = 0.f; }}")
    assert fill.computes == "fills" and fill.failed
    copy = audited(f"{KERNEL} {{ y[threadIdx.x] = x[threadIdx.x]; }}")
    assert copy.computes == "copies" and not copy.failed and copy.findings
    transpose = audited(
        f"{KERNEL} {{ __shared__ float t[32][33]; t[threadIdx.y][threadIdx.x] = x[threadIdx.y * n + threadIdx.x];\n"
        "__syncthreads(); y[threadIdx.x * n + threadIdx.y] = t[threadIdx.x][threadIdx.y]; }"
    )
    assert transpose.computes == "copies" and not transpose.failed


def test_one_kernel_that_computes_is_enough(audited: Audit) -> None:
    text = (
        'extern "C" __global__ void fill(float* y) { y[threadIdx.x] = 0; }\n'
        + f"{KERNEL} {{ y[0] = x[0] * 2; }}"
    )
    assert audited(text, "fill", "k").computes == "yes"


COMPUTES = {
    "relu": "y[0] = fmaxf(x[0], 0.f);",
    "negate": "y[0] = -x[0];",
    "abs": "y[0] = fabsf(x[0]);",
    "to half": "((unsigned short*)y)[0] = __float2int_rn(x[0]);",
    "integer sum": "((int*)y)[0] = ((const int*)x)[0] + ((const int*)x)[1];",
    "maximum": "((int*)y)[0] = max(((const int*)x)[0], ((const int*)x)[1]);",
    "bits": "((int*)y)[0] = ((const int*)x)[0] & ((const int*)x)[1];",
    "atomic": "atomicAdd(y, x[0]);",
    "from shared memory": "__shared__ float s[32]; s[threadIdx.x] = x[threadIdx.x] * 2; __syncthreads(); y[threadIdx.x] = s[31 - threadIdx.x];",
    "a loop": "float s = 0; for (int i = 0; i < n; ++i) s += x[i]; y[0] = s;",
    "compare": "((bool*)y)[0] = x[0] > x[1];",
}


@pytest.mark.parametrize("arch", ["sm_80", "sm_90a", "sm_100a", "sm_120a"])
def test_whatever_computes_is_seen_to_compute(build: Build, arch: str) -> None:
    made, names = each_a_kernel(build, COMPUTES.values(), arch)
    reports = {what: audit(made, [name]) for what, name in zip(COMPUTES, names, strict=True)}
    assert {what: report.computes for what, report in reports.items()} == dict.fromkeys(COMPUTES, "yes")
    assert not any(report.findings for report in reports.values())


def test_kernels_that_act_on_what_others_have_left_so_far_are_named(audited: Audit) -> None:
    assert audited(f"{KERNEL} {{ int t = atomicAdd((int*)y, 2); y[t] = x[0] * 2; }}").arrival == ("k",)
    assert audited(f"{KERNEL} {{ y[1] = x[0] * *(volatile float*)(y + n); }}").arrival == ("k",)
    assert not audited(f"{KERNEL} {{ atomicAdd((int*)y, 2); y[1] = x[0] * 2; }}").arrival


def test_sums_that_depend_on_the_order_of_threads_are_named(audited: Audit) -> None:
    assert audited(f"{KERNEL} {{ atomicAdd(y, x[n]); }}").float_atomics == ("k",)
    assert not audited(f"{KERNEL} {{ atomicAdd((int*)y, 2); y[1] = x[0] * 2; }}").float_atomics


@pytest.mark.parametrize("arch", LIMITS)
def test_dimensions_and_parameters_are_known_on_every_architecture(audited: Audit, arch: str) -> None:
    text = """extern "C" __global__ void k(const float* x, float* y, long long n, char a, short b, double c, bool d) {
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x + gridDim.x * blockIdx.y + blockDim.z * threadIdx.y
        + gridDim.y * blockIdx.z + gridDim.z * blockDim.y;
    if (i < n) y[i] = d ? x[i] * a + b : c;
}"""
    report = audited(text, arch=arch)
    assert not report.findings and not report.unchecked


def test_without_nvdisasm_the_audit_is_an_error_and_not_a_pass(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = build(f"{KERNEL} {{ y[0] = x[0] * 3.5f; }} // never disassembled before")
    monkeypatch.setattr(sass, "find_nvdisasm", lambda: None)
    monkeypatch.setattr(sass, "_recent", type(sass._recent)())
    with pytest.raises(JudgeError, match="nvdisasm"):
        audit(made, ["k"])


def test_garbage_and_unknown_kernels_are_errors(build: Build) -> None:
    made = build(f"{KERNEL} {{ y[0] = x[0] * 2; }}")
    with pytest.raises(JudgeError):
        audit(made, ["other"])
    with pytest.raises(JudgeError):
        audit(made, [])
    broken = CudaBuild(arch="sm_90a", kernels=made.kernels, cubin=made.cubin[: len(made.cubin) // 2], ptx="")
    with pytest.raises(JudgeError):
        audit(broken, ["k"])


def test_a_mangled_global_is_called_by_its_own_name() -> None:
    assert readable("_ZN12_GLOBAL__N_15countE") == "count"
    assert readable("plain") == "plain"
