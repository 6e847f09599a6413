"""The audit on every architecture that is promised, with the oldest NVRTC and the newest: attacks and honest kernels.

All kernels of a kind are compiled at once for each pair, so that a pair costs a compile and a disassembly.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.profile.honest_kernels import (
    ARCHITECTURES,
    HONEST,
    applies,
    is_light,
    kernel,
    number,
    text_for,
)
from workbench.core.build import CudaBuild
from workbench.core.plan import CompileOptions
from workbench.dialect.source import CandidateSource
from workbench.profile.audit import audit
from workbench.runner.compiler import Compiler

each_architecture = pytest.mark.parametrize("arch", ARCHITECTURES)


def _build(compiler: Compiler, text: str, names: list[str], arch: str) -> CudaBuild:
    source = CandidateSource(plan="", plan_line=1, device=text, sha256="")
    made = compiler.build(source, CompileOptions(), tuple(names), arch=arch, host=False).cuda
    assert isinstance(made, CudaBuild), made
    return made


def _kernel(body: str, before: str = "") -> str:
    return f'{before} extern "C" __global__ void NAME(const float* x, float* y, int n) {{ {body} }}'


def _read(register: str, kind: str = "u32") -> str:
    letter, type_ = ("l", "unsigned long long") if kind == "u64" else ("r", "unsigned")
    return _kernel(
        f'{type_} v; asm volatile("mov.{kind} %0, %{register};" : "={letter}"(v)); y[0] = x[0] * v;'
    )


REFUSED_32 = ["clock", "clock_hi", "globaltimer_lo", "globaltimer_hi", "smid", "nsmid", "warpid"]
REFUSED_32 += [f"pm{n}" for n in range(8)] + [f"envreg{n}" for n in range(32)]
REFUSED_64 = ["clock64", "globaltimer", "gridid", "current_graph_exec"] + [f"pm{n}_64" for n in range(8)]
ALLOWED_32 = ["tid.x", "ntid.y", "ctaid.z", "nctaid.x", "laneid", "total_smem_size", "dynamic_smem_size"]
ALLOWED_32 += [f"lanemask_{which}" for which in ("eq", "lt", "le", "gt", "ge")]
# From sm_90 on its end shares a word of bank 0 with %envreg10 and %envreg11, so that is refused there.
ALLOWED_32 += [f"reserved_smem_offset_{which}" for which in ("begin", "cap", "0")]
IN_CLUSTERS = ["clusterid.x", "nclusterid.y", "cluster_ctaid.z", "cluster_nctaid.x", "cluster_ctarank"]
IN_CLUSTERS += ["cluster_nctarank", "aggr_smem_size"]


@each_architecture
def test_each_special_register_is_refused_or_allowed_as_the_contract_says(
    each_compiler: Compiler, arch: str
) -> None:
    refused = {r: _read(r) for r in REFUSED_32} | {r: _read(r, "u64") for r in REFUSED_64}
    allowed = {r: _read(r) for r in ALLOWED_32 + (IN_CLUSTERS if number(arch) >= 90 else [])}
    names = {register: f"k{at}" for at, register in enumerate([*refused, *allowed])}
    text = "\n".join(t.replace("NAME", names[r]) for r, t in {**refused, **allowed}.items())
    made = _build(each_compiler, text, list(names.values()), arch)
    report = audit(made, list(names.values()))
    found = {
        register: {f.what for f in report.failed if f.kernel == name} for register, name in names.items()
    }
    assert not report.unchecked
    assert [r for r in refused if not found[r]] == []
    assert {r: found[r] for r in allowed if found[r]} == {}
    clocks = [r for r in refused if "clock" in r or "timer" in r]
    assert all(found[r] == {"clock"} for r in clocks)


_TABLE = "__device__ int NAME_t[4] = {1, 2, 3, 4};"
_BEHIND = 'extern "C" __global__ void NAME(const float* x, float* y, const __grid_constant__ int n) {{ {} }}'
UNPLACED = (
    "a forged line",
    "state behind a table of functions",
    "state behind a function chosen at run time",
    "call of an argument",
    "call of what memory holds",
    "call of a number",
    "call from a table at a computed index",
)
"""The first says itself where it comes from; the others may call each function of that type, of other kernels too."""
ATTACKS: dict[str, tuple[str, str, Callable[[int], bool]]] = {}
"""Name: what it must be refused for, its text, the architectures that have what it uses."""


def _attack(name: str, what: str, text: str, on: Callable[[int], bool] = lambda arch: True) -> None:
    ATTACKS[name] = (what, text, on)


def _from_90(arch: int) -> bool:
    return arch >= 90


_attack("uninitialised global", "state", _kernel("y[0] = x[0] * NAME_t++;", "__device__ int NAME_t;"))
_attack(
    "uninitialised global, not inlined",
    "state",
    _kernel(
        "y[0] = NAME_f(x[0]);",
        "__device__ int NAME_t; __device__ __noinline__ float NAME_f(float v) { return v * ++NAME_t; }",
    ),
)
_attack("table written", "state", _kernel("NAME_t[n] = n; y[0] = x[0] * NAME_t[0];", _TABLE))
_attack(
    "const table written through a cast",
    "state",
    _kernel(
        'asm volatile("st.f32 [%0], %1;" :: "l"(&NAME_t[n]), "f"(x[0] * 2)); y[0] = x[1] * 2;',
        "__device__ const float NAME_t[4] = {1, 2, 3, 4};",
    ),
)
_attack("table counted in", "state", _kernel("y[0] = x[1] * atomicAdd(NAME_t, 1);", _TABLE))
_attack("table filled by memcpy", "state", _kernel("memcpy(NAME_t, x, 16); y[0] = x[1] * NAME_t[n];", _TABLE))
_attack(
    "table written in a function",
    "state",
    _kernel(
        "NAME_w(NAME_t); y[0] = x[1] * 2;",
        _TABLE + " __device__ __noinline__ void NAME_w(int* p) { *p += 1; }",
    ),
)
_attack(
    "table written through what a function returns",
    "state",
    _kernel(
        "*NAME_w(n) += 1; y[0] = x[1] * 2;",
        _TABLE + " __device__ __noinline__ int* NAME_w(int n) { return NAME_t + n; }",
    ),
)
_attack(
    "table or output, chosen at run time",
    "state",
    _kernel("int* p = n ? NAME_t : (int*)y; if (x[0] > 0) p += 2; *p = 5; y[1] = x[1] * 2;", _TABLE),
)
_attack(
    "table written in a loop",
    "state",
    _kernel(
        "int* p = (int*)y; for (int i = 0; i < n; ++i) { *p = i; p = NAME_t + (i & 3); } y[1] = x[1] * 2;",
        _TABLE,
    ),
)
_attack(
    "state behind a table of functions",
    "state",
    _kernel(
        "y[0] = NAME_t[n](x[0]);",
        "typedef float (*NAME_F)(float); __device__ int NAME_s; __device__ float NAME_f(float v) { return v * 2; }"
        " __device__ float NAME_g(float v) { return v + NAME_s++; } __device__ const NAME_F NAME_t[2] = {NAME_f, NAME_g};",
    ),
)
_attack(
    "state behind a function chosen at run time",
    "state",
    _kernel(
        "float (*p)(float) = n ? NAME_f : NAME_g; y[0] = p(x[0]);",
        "__device__ int NAME_s; __device__ float NAME_f(float v) { return v * 2; }"
        " __device__ float NAME_g(float v) { return v + NAME_s++; }",
    ),
)
_attack("behind the parameters, computed", "constants", _BEHIND.format("y[0] = x[0] * (&n)[threadIdx.x];"))
_attack("behind the parameters, fixed", "constants", _BEHIND.format("y[0] = x[0] * (&n)[64];"))
_attack("before the parameters", "constants", _BEHIND.format("y[0] = x[0] * (&n)[-40];"))
_attack(
    "behind the parameters, through a generic address",
    "constants",
    _BEHIND.format(
        "const int* volatile p = &n; y[0] = x[0] * p[threadIdx.x + 32];",
    ),
)
_attack("printf", "system call", _kernel('printf("%f", x[0]); y[0] = x[0] * 2;'))
_attack(
    "malloc", "system call", _kernel("float* p = (float*)malloc(n); p[0] = x[0]; y[0] = p[n] * 2; free(p);")
)
_attack("assert", "system call", _kernel("assert(n > 0); y[0] = x[0] * 2;"))
_attack("clock()", "clock", _kernel("y[0] = x[0] * clock();"))
_attack("clock64()", "clock", _kernel("y[0] = x[0] * clock64();"))
_attack(
    "a forged line",
    "clock",
    _kernel(
        'unsigned long long t; asm volatile("// end inline asm\\n.loc 1 1 1\\n// begin inline asm\\nmov.u64 %0, %globaltimer;"'
        ' : "=l"(t)); y[0] = x[0] * t;'
    ),
)
_attack(
    "waits for a dependent launch",
    "dependent launch",
    _kernel('asm volatile("griddepcontrol.wait;"); y[0] = x[0] * 2;'),
    _from_90,
)
_attack(
    "starts a dependent launch",
    "dependent launch",
    _kernel('asm volatile("griddepcontrol.launch_dependents;"); y[0] = x[0] * 2;'),
    _from_90,
)

_F = "typedef float (*NAME_F)(float); __device__ float NAME_f(float v) { return v * 2; }"
_F += " __device__ float NAME_g(float v) { return v + 2; }"
_attack(
    "call of an argument",
    "indirect call",
    _kernel("float (*p)(float) = n > 3 ? NAME_f : (NAME_F)(long long)n; y[0] = p(x[0]);", _F),
)
_attack(
    "call of what memory holds",
    "indirect call",
    _kernel("y[0] = n ? (*(NAME_F*)(x + 2))(x[0]) : NAME_f(x[1]);", _F),
)
_attack(
    "call of a number",
    "indirect call",
    _kernel("y[0] = ((NAME_F)4096)(x[0]);", _F),
)
_attack(
    "call from a table at a computed index",
    "indirect call",
    _kernel("y[0] = NAME_t[n](x[0]);", _F + " __device__ const NAME_F NAME_t[2] = {NAME_f, NAME_g};"),
)
_attack(
    "jump by a table without a bound",
    "indirect call",
    _kernel(
        'asm volatile("{ ts: .branchtargets A1, A2; brx.idx %0, ts; A1: st.global.u32 [%1], 1; bra D;'
        ' A2: st.global.u32 [%1], 7; D: }" :: "r"(n), "l"(y)); y[1] = x[0] * 2;'
    ),
)
_LAUNDER = 'long long v = (long long)&NAME_k; asm volatile("" : "+l"(v));'
_K = 'extern "C" __global__ void NAME_k(float* y) { y[0] = 1; }'
_attack("code read as data", "code", _kernel(f"{_LAUNDER} y[0] = x[0] * *(int*)v;", _K))
_attack("code written", "code", _kernel(f"{_LAUNDER} *(int*)v = n; y[0] = x[0] * 2;", _K))
_attack(
    "string written",
    "state",
    _kernel(
        'const char* p = "text of NAME"; asm volatile("st.u8 [%0], %1;" :: "l"(p + n), "r"(3)); y[0] = x[0] * p[n + 1];'
    ),
)
_attack("profiler event", "instruction", _kernel('asm volatile("pmevent 3;"); y[0] = x[0] * 2;'))
_attack(
    "surface",
    "instruction",
    _kernel(
        'asm volatile("sust.b.1d.b32.trap [%0, {4}], {%1};" :: "l"((long long)n), "f"(x[0])); y[0] = x[0] * 2;'
    ),
)


@each_architecture
def test_each_attack_is_refused_for_what_it_does(each_compiler: Compiler, arch: str) -> None:
    tried = {name: (what, text) for name, (what, text, on) in ATTACKS.items() if on(number(arch))}
    names = {name: f"k{at}" for at, name in enumerate(tried)}
    text = "\n".join(text.replace("NAME", names[name]) for name, (_, text) in tried.items())
    made = _build(each_compiler, text, list(names.values()), arch)
    report = audit(made, list(names.values()))
    wrong = []
    for own, (name, (what, _)) in enumerate(tried.items(), 1):
        found = [f for f in report.failed if f.kernel == names[name]]
        if what not in {f.what for f in found} or (
            name not in UNPLACED and not all(f.line in (0, own) for f in found)
        ):
            wrong.append((name, found))
    assert not wrong, wrong


_SHARED = "__shared__ {0}<cuda::thread_scope_block> s; if (threadIdx.x == 0) {1}; __syncthreads();"
_LIMIT = "cuda::std::chrono::nanoseconds(2000)"
_SEMAPHORE = _SHARED.format(
    "cuda::counting_semaphore", "new (&s) cuda::counting_semaphore<cuda::thread_scope_block>(0)"
)
_BARRIER = _SHARED.format("cuda::barrier", "init(&s, blockDim.x)")
TIMED = {
    "polling with a limit": f"""int c = 0; float v = 0;
bool slow = !cuda::std::__cccl_thread_poll_with_backoff([&] {{ v += ((volatile const float*)x)[c]; return ++c >= n; }}, {_LIMIT});
y[0] = slow ? v : x[1] * 2;""",
    "polling without a limit": """int c = 0; float v = 0;
cuda::std::__cccl_thread_poll_with_backoff([&] { v += ((volatile const float*)x)[c]; return ++c >= n; }); y[0] = v * 2;""",
    "semaphore": f"{_SEMAPHORE} int t = 0; while (t < n && !s.try_acquire_for({_LIMIT})) ++t; y[0] = x[0] * t;",
    "semaphore, until": f"""{_SEMAPHORE} auto end = cuda::std::chrono::high_resolution_clock::time_point({_LIMIT});
y[0] = x[0] * s.try_acquire_until(end);""",
    "barrier": f"{_BARRIER} auto t = s.arrive(); y[0] = x[0] * s.try_wait_for(cuda::std::move(t), {_LIMIT});",
    "barrier, parity": f"{_BARRIER} auto t = s.arrive(); y[0] = x[0] * s.try_wait_parity_for(n & 1, {_LIMIT});",
    "barrier, until": f"""{_BARRIER} auto t = s.arrive(); auto end = cuda::std::chrono::high_resolution_clock::time_point({_LIMIT});
y[0] = x[0] * s.try_wait_until(cuda::std::move(t), end);""",
    "pipeline": f"""__shared__ cuda::pipeline_shared_state<cuda::thread_scope_block, 2> state;
auto pipe = cuda::make_pipeline(cooperative_groups::this_thread_block(), &state); pipe.producer_acquire(); pipe.producer_commit();
y[0] = x[0] * pipe.consumer_wait_for({_LIMIT}); pipe.consumer_release();""",
}
"""Ways to learn from libcu++ how long something took, or to run code inside of its wait."""
_STOLEN = """#include <cuda/std/__chrono/duration.h>
__shared__ unsigned* leak;
#define milliseconds(x) milliseconds((leak[2] = (unsigned)__elapsed.count(), x))
#if 1  // or it would be read before the macro
#include <cuda/atomic>
#endif
"""


def test_a_macro_that_takes_the_timer_out_of_a_header_is_refused(compiler: Compiler) -> None:
    wait = "cuda::atomic_ref<int, cuda::thread_scope_device> a(*(int*)y); a.wait(n);"
    text = _STOLEN + _kernel(f"leak = (unsigned*)y; {wait} y[1] = x[0] * 2;")
    report = audit(_build(compiler, text, ["NAME"], "sm_90a"), ["NAME"])
    assert [f.what for f in report.failed] == ["clock"] and "how long it waited" in report.failed[0].why


# Of each rule one, as with the honest kernels that have the toolkit's headers.
@pytest.mark.parametrize("arch", [a for a in ARCHITECTURES if a not in ("sm_86", "sm_89")])
def test_a_wait_that_tells_how_long_it_took_is_refused(each_compiler: Compiler, arch: str) -> None:
    headers = "\n".join(f"#include <cuda/{name}>" for name in ("atomic", "barrier", "semaphore", "pipeline"))
    names = {name: f"k{at}" for at, name in enumerate(TIMED)}
    text = "\n".join(_kernel(body).replace("NAME", names[name]) for name, body in TIMED.items())
    made = _build(
        each_compiler, f"#include <cooperative_groups.h>\n{headers}\n{text}", list(names.values()), arch
    )
    report = audit(made, list(names.values()))
    found = {name: {f.what for f in report.failed if f.kernel == names[name]} for name in names}
    assert {name: what for name, what in found.items() if what != {"clock"}} == {}


def _check_honest(compiler: Compiler, arch: str, chosen: list[str]) -> None:
    made = _build(compiler, text_for(chosen), [kernel(name) for name in chosen], arch)
    report = audit(made, [kernel(name) for name in chosen])
    assert not report.findings
    assert set(report.unchecked) <= {what for name in chosen for what in HONEST[name].unchecked}
    tables = {table.replace("NAME", kernel(name)) for name in chosen for table in HONEST[name].tables}
    # Beside them are those of the mathematical functions and of classes.
    others = {t for t in report.tables if not t.startswith(("__cudart_", "_ZTV"))}
    assert others == tables


@each_architecture
def test_honest_kernels_are_clean(each_compiler: Compiler, arch: str) -> None:
    _check_honest(each_compiler, arch, [name for name in HONEST if is_light(name) and applies(name, arch)])


# sm_86 and sm_89 share every rule with sm_80, and reading CUB for them too would cost seconds each.
@pytest.mark.parametrize("arch", [a for a in ARCHITECTURES if a not in ("sm_86", "sm_89")])
def test_honest_kernels_with_the_toolkits_headers_are_clean(each_compiler: Compiler, arch: str) -> None:
    _check_honest(
        each_compiler, arch, [name for name in HONEST if not is_light(name) and applies(name, arch)]
    )


@pytest.mark.parametrize("arch", ["sm_80", "sm_90a", "sm_120a"])
def test_each_honest_kernel_is_seen_to_compute(each_compiler: Compiler, arch: str) -> None:
    chosen = [name for name in HONEST if is_light(name) and applies(name, arch)]
    made = _build(each_compiler, text_for(chosen), [kernel(name) for name in chosen], arch)
    seen = {name: audit(made, [kernel(name)]).computes for name in chosen[:: 1 if arch == "sm_90a" else 4]}
    assert {name: what for name, what in seen.items() if what != "yes"} == {}
