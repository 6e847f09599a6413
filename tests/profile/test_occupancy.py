"""Theoretical occupancy against figures that are known, and against NVIDIA's own header where g++ is here."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from workbench.core.plan import LIMITS, limits_for
from workbench.profile.occupancy import MULTIPROCESSORS, occupancy
from workbench.runner.compiler.headers import find_headers


@pytest.mark.parametrize(
    ("arch", "threads", "registers", "shared", "blocks", "ratio", "limiter"),
    [
        # NVIDIA's occupancy calculator, compute capabilities 7.5, 8.0, 8.6, 9.0.
        ("sm_90a", 256, 32, 0, 8, 1.0, "warps"),
        ("sm_90a", 256, 64, 0, 4, 0.5, "registers"),
        ("sm_90a", 1024, 64, 0, 1, 0.5, "registers"),
        ("sm_90a", 1024, 65, 0, 0, 0.0, "registers"),
        ("sm_90a", 128, 32, 100 * 1024, 2, 0.125, "shared memory"),
        ("sm_90a", 128, 32, 227 * 1024, 1, 0.0625, "shared memory"),
        ("sm_90a", 32, 16, 0, 32, 0.5, "blocks"),
        ("sm_80", 128, 255, 0, 2, 0.125, "registers"),
        ("sm_80", 256, 40, 48 * 1024, 3, 0.375, "shared memory"),
        ("sm_86", 256, 32, 0, 6, 1.0, "warps"),
        ("sm_86", 64, 32, 0, 16, 2 / 3, "blocks"),
        ("sm_75", 256, 64, 0, 4, 1.0, "warps"),
        ("sm_75", 64, 32, 16 * 1024, 4, 0.25, "shared memory"),
    ],
)
def test_occupancy_is_that_of_nvidias_calculator(
    arch: str, threads: int, registers: int, shared: int, blocks: int, ratio: float, limiter: str
) -> None:
    found = occupancy(arch, threads, registers, shared)
    assert (found.blocks, found.ratio, found.limiter) == (blocks, pytest.approx(ratio), limiter)


def test_every_architecture_with_limits_has_a_multiprocessor() -> None:
    assert set(MULTIPROCESSORS) == set(LIMITS)


def test_more_shared_memory_than_a_block_may_have_fits_nowhere() -> None:
    assert occupancy("sm_90a", 128, 32, 228 * 1024).blocks == 0


_PROGRAM = """
#include <cstdio>
#include <cuda_occupancy.h>
int main() {
    int major, minor, threads, registers, shared, perSm, optin, maxThreads, blocks;
    while (scanf("%d %d %d %d %d %d %d %d", &major, &minor, &threads, &registers, &shared, &perSm, &optin, &maxThreads) == 8) {
        cudaOccDeviceProp p;
        p.computeMajor = major; p.computeMinor = minor; p.maxThreadsPerBlock = 1024;
        p.maxThreadsPerMultiprocessor = maxThreads; p.regsPerBlock = 65536; p.regsPerMultiprocessor = 65536;
        p.warpSize = 32; p.sharedMemPerBlock = 49152; p.sharedMemPerMultiprocessor = perSm; p.numSms = 1;
        p.sharedMemPerBlockOptin = optin; p.reservedSharedMemPerBlock = major >= 8 ? 1024 : 0;
        cudaOccFuncAttributes f;
        f.maxThreadsPerBlock = 1024; f.numRegs = registers; f.sharedSizeBytes = 0;
        f.partitionedGCConfig = PARTITIONED_GC_OFF; f.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN;
        f.maxDynamicSharedSizeBytes = shared; f.numBlockBarriers = 1;
        cudaOccDeviceState s; s.cacheConfig = CACHE_PREFER_SHARED; s.carveoutConfig = 100;
        cudaOccResult r;
        cudaOccError e = cudaOccMaxActiveBlocksPerMultiprocessor(&r, &p, &f, &s, threads, shared);
        blocks = e == CUDA_OCC_SUCCESS ? r.activeBlocksPerMultiprocessor : 0;
        printf("%d\\n", blocks);
    }
}
"""


def test_random_launches_agree_with_nvidias_header(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    compiler, headers = shutil.which("g++"), find_headers()
    if compiler is None or headers.resolve("cuda_occupancy.h") is None:
        pytest.skip("g++ or cuda_occupancy.h is not here")
    (tmp_path / "occ.cpp").write_text(_PROGRAM)
    folders = [f"-I{f}" for f in headers.folders[1:]]
    subprocess.run([compiler, "-w", *folders, "-o", "occ", "occ.cpp"], cwd=tmp_path, check=True, timeout=120)
    cases = []
    for arch in ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90"):
        for _ in range(200):
            shared = rng.choice([0, 0, rng.randrange(0, limits_for(arch).shared_bytes)])
            cases.append((arch, rng.randint(1, 1024), rng.randint(16, 255), shared))
    lines = []
    for arch, threads, registers, shared in cases:
        sm, number = MULTIPROCESSORS[arch], arch.removeprefix("sm_")
        row = (
            number[:-1],
            number[-1],
            threads,
            registers,
            shared,
            sm.shared_bytes,
            limits_for(arch).shared_bytes,
            sm.warps * 32,
        )
        lines.append(" ".join(map(str, row)))
    said = subprocess.run(
        [tmp_path / "occ"], input="\n".join(lines), capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    different = [
        (case, int(theirs), occupancy(*case).blocks)
        for case, theirs in zip(cases, said, strict=True)
        if int(theirs) != occupancy(*case).blocks
    ]
    assert not different
