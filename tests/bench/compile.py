"""Prints how long compiling takes: `python tests/bench/compile.py`. Nothing here is a test; the figures are a machine's.

Each figure is the median of builds of texts that were never built before, in a warm process with a cold cache.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from workbench.core.build import BuildFailure
from workbench.core.plan import CompileOptions
from workbench.dialect.source import CandidateSource
from workbench.profile.audit import audit
from workbench.runner.compiler import Compiler

ARCH = "sm_90a"
TIMES = 7

PLAIN = """extern "C" __global__ void k(const float* __restrict__ x, float* __restrict__ y, int cols) {
    __shared__ float part[32];
    const float* row = x + (long long)blockIdx.x * cols;
    float sum = 0.f;
    for (int i = threadIdx.x; i < cols; i += blockDim.x) sum += row[i] * row[i];
    for (int step = 16; step; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = sum;
    __syncthreads();
    sum = 0.f;
    for (int w = 0; w < blockDim.x / 32; ++w) sum += part[w];
    float scale = rsqrtf(sum / cols + 1e-6f);
    for (int i = threadIdx.x; i < cols; i += blockDim.x) y[(long long)blockIdx.x * cols + i] = row[i] * scale;
}
"""
HALF = "#include <cuda_fp16.h>\n#include <cuda_bf16.h>\n" + PLAIN
CUB = """#include <cub/block/block_reduce.cuh>
extern "C" __global__ void k(const float* x, float* y, int n) {
    using Reduce = cub::BlockReduce<float, 256>;
    __shared__ typename Reduce::TempStorage storage;
    float sum = Reduce(storage).Sum(x[blockIdx.x * n + threadIdx.x]);
    if (threadIdx.x == 0) y[blockIdx.x] = sum;
}
"""
GROUPS = """#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
namespace cg = cooperative_groups;
extern "C" __global__ void k(const float* x, float* y, int n) {
    auto warp = cg::tiled_partition<32>(cg::this_thread_block());
    y[threadIdx.x] = cg::reduce(warp, x[threadIdx.x * n], cg::plus<float>());
}
"""
BARRIER = """#include <cuda/barrier>
extern "C" __global__ void k(const float* x, float* y, int n) {
    __shared__ cuda::barrier<cuda::thread_scope_block> barrier;
    if (threadIdx.x == 0) init(&barrier, blockDim.x);
    __syncthreads();
    y[threadIdx.x] = x[threadIdx.x] * n;
    barrier.arrive_and_wait();
}
"""


def once(compiler: Compiler, text: str, *, cuda: bool = True, host: bool = False) -> float:
    """Seconds of one build."""
    source = CandidateSource(plan="", plan_line=1, device=text, sha256="")
    started = time.perf_counter()
    builds = compiler.build(source, CompileOptions(), ("k",), arch=ARCH if cuda else None, host=host)
    seconds = time.perf_counter() - started
    for build in (builds.cuda, builds.host):
        if isinstance(build, BuildFailure):
            raise SystemExit(f"it does not compile here: {build.diagnostics[0].message}")
    return seconds


def warm_headers(compiler: Compiler, text: str) -> None:
    """Build until the precompiled headers of this text are there (it takes 3 to 6 s, once a process)."""
    had = sets(compiler)
    for number in range(60):
        once(compiler, f"{text}// warming {number}\n")
        if number and len(sets(compiler)) > len(had):
            return
        time.sleep(1)


def sets(compiler: Compiler) -> list[Path]:
    return list((compiler._work or Path("/nonexistent")).glob("pch/*.pch"))


def line(what: str, seconds: list[float], target: float | None) -> None:
    middle = statistics.median(seconds)
    goal = f"  (at most {target:.2f})" if target is not None else ""
    print(f"{what:<46} {middle:7.3f} s   {min(seconds):.3f} to {max(seconds):.3f}{goal}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        with Compiler(cache=Path(folder)) as compiler:
            versions = compiler.versions
            print(f"{', '.join(versions.values())}; {compiler.evidence}")
            line("process ready", [time.perf_counter() - started], None)
            for name, text, target in (("plain", PLAIN, 0.15), ("fp16 and bf16", HALF, 0.15)):
                once(compiler, text)
                line(
                    f"NVRTC, warm, {name}", [once(compiler, f"{text}// {i}\n") for i in range(TIMES)], target
                )
            for name, text in (("CUB", CUB), ("cooperative groups", GROUPS), ("libcu++ barrier", BARRIER)):
                line(f"NVRTC, first use, {name}", [once(compiler, text)], None)
                warm_headers(compiler, text)
                line(f"NVRTC, warm, {name}", [once(compiler, f"{text}// {i}\n") for i in range(TIMES)], 0.7)
            if "host" in versions:
                both = [once(compiler, f"{PLAIN}// both {i}\n", host=True) for i in range(TIMES)]
                line("NVRTC and host compiler side by side", both, None)
            line("from the cache", [once(compiler, f"{PLAIN}// {i}\n") for i in range(TIMES)], 1.0)
            source = CandidateSource(plan="", plan_line=1, device=PLAIN + "// audit\n", sha256="")
            build = compiler.build(source, CompileOptions(), ("k",), arch=ARCH, host=False).cuda
            assert build is not None and not isinstance(build, BuildFailure), build
            for what in ("audit, code not seen before", "audit, again"):
                started = time.perf_counter()
                audit(build, ("k",))
                line(what, [time.perf_counter() - started], None)


if __name__ == "__main__":
    main()
