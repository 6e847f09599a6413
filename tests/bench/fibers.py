"""How fast the host target switches between threads of a block: `python tests/bench/fibers.py`.

Prints switches a second on one core for a bare yield (what the context switch costs), for `__syncwarp`, and for
`__syncthreads` of a whole block, and the time of a softmax of 512x4096 (shuffles and barriers) on all cores.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "runner"))

import numpy as np
from host_kernels.harness import HostRunners, built, empty, given, must_run, zeros

from workbench.runner.host.client import HostRunner

SOURCE = r"""
extern "C" __global__ void yields(int *y, int n) { for (int i = 0; i < n; ++i) __nanosleep(1); y[threadIdx.x] = n; }
extern "C" __global__ void warps(int *y, int n) { for (int i = 0; i < n; ++i) __syncwarp(); y[threadIdx.x] = n; }
extern "C" __global__ void blocks(int *y, int n) { for (int i = 0; i < n; ++i) __syncthreads(); y[threadIdx.x] = n; }
extern "C" __global__ void softmax(const float *x, float *y, int cols) {
    __shared__ float part[8];
    x += (size_t)blockIdx.x * cols, y += (size_t)blockIdx.x * cols;
    float top = -INFINITY, sum = 0.f;
    for (int i = threadIdx.x; i < cols; i += 256) top = fmaxf(top, x[i]);
    for (int d = 16; d; d /= 2) top = fmaxf(top, __shfl_xor_sync(~0u, top, d));
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = top;
    __syncthreads();
    for (int i = 0; i < 8; ++i) top = fmaxf(top, part[i]);
    __syncthreads();
    for (int i = threadIdx.x; i < cols; i += 256) sum += expf(x[i] - top);
    for (int d = 16; d; d /= 2) sum += __shfl_xor_sync(~0u, sum, d);
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = sum;
    __syncthreads();
    sum = 0.f;
    for (int i = 0; i < 8; ++i) sum += part[i];
    for (int i = threadIdx.x; i < cols; i += 256) y[i] = expf(x[i] - top) / sum;
}
"""


def processor_seconds(runner: HostRunner) -> float:
    """What the runner's process has used so far: other things run on this machine too."""
    assert runner._process is not None
    text = Path(f"/proc/{runner._process.popen.pid}/stat").read_text()
    return sum(int(t) for t in text.rpartition(")")[2].split()[11:13]) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure and print; the best of five, since the machine may do other things too."""
    build = built(SOURCE, "yields", "warps", "blocks", "softmax")
    print(f"compiled in {build.seconds:.2f} s ({build.version})")
    with HostRunners(workers=1) as pool, pool.start(build) as runner:
        for kernel, threads, rounds in (
            ("yields", 32, 200_000),
            ("yields", 256, 20_000),
            ("warps", 32, 200_000),
            ("blocks", 256, 20_000),
        ):
            best = 0.0
            for _ in range(5):
                y, before = zeros(threads, np.int32), processor_seconds(runner)
                report = must_run(runner, kernel, 1, threads, [y, rounds]).report
                best = max(best, report.switches / max(processor_seconds(runner) - before, 0.01))
            print(
                f"{kernel:8s} {threads:5d} threads: {best / 1e6:6.1f} million switches a second of one core's time"
            )
    x = np.random.default_rng(0).standard_normal((512, 4096)).astype(np.float32)
    with HostRunners() as pool, pool.start(build) as runner:
        seconds, y = [], empty(x.shape, np.float32)
        before = processor_seconds(runner)
        for _ in range(5):
            report = must_run(runner, "softmax", 512, 256, [given(x), y, 4096]).report
            seconds.append(report.seconds)
        used = (processor_seconds(runner) - before) / 5
        e = np.exp(x - x.max(1, keepdims=True))
        error = float(np.abs(y.result - e / e.sum(1, keepdims=True)).max())
        print(
            f"softmax 512x4096: {min(seconds):.3f} s on {pool.workers} cores ({used:.3f} s of processor time), error {error:.1e}, {report.switches} switches"
        )


if __name__ == "__main__":
    main()
