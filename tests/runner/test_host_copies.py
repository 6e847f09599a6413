"""Copies and fills of whole stretches of memory are seen by the instrumented build, whatever their size and spelling."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import numpy as np
import pytest
from host_kernels.harness import HostRunners, built, empty, given, run

from workbench.runner.host.client import HostRunner

COMPILERS = [c for c in ("g++", "clang++") if shutil.which(c)]
FLOATS = (1, 4, 8, 100)
WAYS = {
    "memset": "memset(&to[t], 0, sizeof(T));",
    "memset_far": "memset(&to[t], 0, bytes);",
    "memcpy": "memcpy(&to[t], &x[t], sizeof(T));",
    "assigned": "to[t] = x[t];",
    "zeroed": "to[t] = T{};",
    "by_a_local": "T v = x[t]; v.a[n] += 1; to[t] = v;",
    "copied_from_a_local": "T v = x[t]; v.a[n] += 1; memcpy(&to[t], &v, sizeof v);",
}
"""How thread `t` writes its part of `to`."""
READS = {
    "elements": "y[t] = from[0].a[n];",
    "memcpy_reads": "T v; memcpy(&v, from, sizeof v); y[t] = v.a[n];",
    "memcpy_moves": "memcpy(&z[t], from, sizeof(T)); y[t] = z[t].a[n];",
    "assigned_reads": "T v = *from; y[t] = v.a[n];",
}
"""How it reads another's."""
CASES = [(way, "elements") for way in WAYS] + [("assigned", read) for read in READS if read != "elements"]
SOURCE = "template <int N> struct Part { float a[N]; };\n" + "\n".join(
    f"""
template <int N> __device__ void {way}_{read}(char* room, int before, const float* from_x, float* from_z, float* y, int n, int wait) {{
    const int t = threadIdx.x, bytes = n + 4 * N;
    using T = Part<N>;
    T* to = (T*)(room + 256 * before);
    const T* x = (const T*)from_x;
    T* z = (T*)from_z;
    {{ {WAYS[way]} }}
    if (wait) __syncthreads();
    const T* from = &to[63 - t];
    {READS[read]}
}}
extern "C" __global__ void way_{way}_{read}(char* s, const float* x, float* z, float* y, int n, int wait) {{
    extern __shared__ __align__(16) char room[];
    char* to = s ? s : room;
    {"".join(f"{way}_{read}<{size}>(to, {sum(FLOATS[:i])}, x, z, y, n, wait);" for i, size in enumerate(FLOATS))}
}}"""
    for way, read in CASES
)


@pytest.fixture(scope="module", params=COMPILERS)
def runner(request: pytest.FixtureRequest) -> Iterator[HostRunner]:
    names = [f"way_{way}_{read}" for way, read in CASES]
    made = built(SOURCE, *names, compiler=request.param, instrumented=True)
    with HostRunners() as pool, pool.start(made) as started:
        yield started


def racing(runner: HostRunner, kernel: str, where: str, wait: int) -> set[int]:
    """Of which sizes the memory was accessed unordered."""
    x = given(np.arange(1, 64 * FLOATS[-1] + 1, dtype=np.float32))
    s = empty(64 * sum(FLOATS), np.float32, "s") if where == "global" else np.uint64(0)
    args = [s, x, empty(64 * FLOATS[-1], np.float32, "z"), empty(64, np.float32), 0, wait]
    shared = 256 * sum(FLOATS) if where == "shared" else 0
    report = run(runner, kernel, 1, 64, args, shared=shared).report
    assert report.fault is None, report.fault
    assert {found.kind for found in report.findings} <= {"race", "same-value race"}, report.findings
    places = [found.index // 256 for found in report.findings]
    return {
        size
        for i, size in enumerate(FLOATS)
        if set(places) & set(range(sum(FLOATS[:i]), sum(FLOATS[: i + 1])))
    }


@pytest.mark.parametrize(("way", "read"), CASES)
@pytest.mark.parametrize("where", ["shared", "global"])
def test_a_copy_or_fill_without_a_barrier_is_a_race_and_with_one_is_none(
    runner: HostRunner, where: str, way: str, read: str
) -> None:
    assert racing(runner, f"way_{way}_{read}", where, wait=0) == set(FLOATS)
    assert racing(runner, f"way_{way}_{read}", where, wait=1) == set()


CLEARED = """
__global__ void every_thread_clears(float* y) {
    __shared__ float sums[100];
    memset(sums, 0, sizeof sums);
    __syncthreads();
    y[threadIdx.x] = sums[threadIdx.x];
}
"""


@pytest.mark.parametrize("compiler", COMPILERS)
def test_all_threads_clearing_the_same_memory_only_write_what_is_there(compiler: str) -> None:
    made = built(CLEARED, "every_thread_clears", compiler=compiler, instrumented=True)
    with HostRunners() as pool, pool.start(made) as runner:
        out = empty(64, np.float32)
        report = run(runner, "every_thread_clears", 1, 64, [out]).report
    assert report.fault is None and {f.kind for f in report.findings} <= {"same-value race"}, report.findings
    assert not out.result.any()
