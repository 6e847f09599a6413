"""Indices that 32 bits are too few for are found at sizes that nobody could allocate, and honest ones pass there."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from host_kernels.harness import KERNELS, HostRunners, built, parameter

from workbench.core.build import HostBuild, Kernel, KernelParameter
from workbench.core.plan import CompileOptions, Fill, Launch, Plan, PlanTensor, ScalarArg, TensorArg
from workbench.core.tensors import ITEMSIZE, contiguous
from workbench.runner.host.accesses import AccessFinding
from workbench.runner.host.client import HostRunner
from workbench.runner.host.far import FarMemory, FarSpec, agreed, choose_blocks, follow, needs_following
from workbench.runner.host.faults import CallReport

SOURCE = (KERNELS / "far.cu").read_text()
NAMES = tuple(
    line.split("void ")[1].split("(")[0] for line in SOURCE.splitlines() if line.startswith('extern "C"')
)
SIDE = 1 << 16
"""SIDE * SIDE float32: 2^32 elements, 16 GiB."""
MEMORY = 256 << 30


@pytest.fixture(scope="module")
def build() -> HostBuild:
    return built("far.cu", *NAMES, instrumented=True)


@pytest.fixture(scope="module")
def runner(build: HostBuild) -> Iterator[HostRunner]:
    with HostRunners() as pool, pool.start(build, memory_bytes=MEMORY) as started:
        yield started


def line_of(text: str) -> int:
    return next(i for i, line in enumerate(SOURCE.splitlines(), 1) if line.rstrip().endswith(text))


def plan_of(kernel: str, grid: Any, block: Any, tensors: list[tuple[int, str]], scalars: list[int]) -> Plan:
    three = [(v if isinstance(v, tuple) else (v,)) + (1, 1, 1) for v in (grid, block)]
    args = (*(TensorArg(i) for i in range(len(tensors))), *(ScalarArg("int", s) for s in scalars))
    launch = Launch(kernel=kernel, grid=three[0][:3], block=three[1][:3], args=args)
    made = tuple(
        PlanTensor(origin="empty", spec=contiguous((n,), dtype), role="scratch") for n, dtype in tensors
    )
    return Plan(size="full", options=CompileOptions(), tensors=made, steps=(Fill(0), launch), outputs=())


def twice(
    runner: HostRunner,
    build: HostBuild,
    kernel: str,
    grid: Any,
    block: Any,
    tensors: list[tuple[int, str]],
    scalars: list[Any],
) -> tuple[tuple[AccessFinding, ...], list[CallReport]]:
    plan = plan_of(kernel, grid, block, tensors, [int(s) for s in scalars])
    assert needs_following(plan)
    parameters, offset = [], 0
    for value in [*range(len(tensors)), *scalars]:
        pointer = KernelParameter(offset, 8, "pointer")
        parameters.append(pointer if offset < 8 * len(tensors) else parameter(value, offset))
        offset += parameters[-1].size
    described = Kernel(
        name=kernel, symbol=kernel, parameters=tuple(parameters), registers=0, spill_bytes=0, stack_bytes=0,
        shared_bytes=0, constant_bytes=0,
    )  # fmt: skip
    specs = [
        FarSpec("xyzuvw"[i], t.spec.nbytes, ITEMSIZE[t.spec.dtype], True) for i, t in enumerate(plan.tensors)
    ]
    rng = np.random.default_rng(7)
    reports = []
    with FarMemory(specs) as memory:
        for number in range(2):
            for i in range(len(specs)):
                memory.fill(
                    i, rng.integers(0, 200, 1 << 20, dtype=np.uint8) if number or i else np.empty(0, np.uint8)
                )
            bindings = {i: i for i in range(len(specs))}
            started = time.perf_counter()
            report = follow(
                runner, build, plan, {kernel: described}, memory, bindings, seed=number, timeout_s=20
            )
            print(
                kernel, f"{time.perf_counter() - started:.3f} s", report.seen.accesses if report.seen else 0
            )
            assert report.fault is None, report.fault
            reports.append(report)
    found = agreed(reports[0].findings, reports[1].findings)
    for f in found:
        print(f.message)
    return found, reports


L = np.int64
BIG = [(SIDE * SIDE, "float32")] * 2
WRONG: dict[str, tuple[Any, Any, Any, Any, str]] = {
    "flat_int": (SIDE * SIDE // 256, 256, BIG, [L(SIDE * SIDE)], "flat int"),
    "row_int": (SIDE, 256, BIG, [SIDE, SIDE], "row int"),
    "stride_int": (4096, 256, BIG, [L(SIDE * SIDE)], "stride int"),
    "vector_int": (2**32 // 256, 256, [(2**34, "float32")] * 2, [L(2**32)], "vector int"),
    "flat_unsigned": (2**33 // 1024, 1024, [(2**33, "float32")] * 2, [L(2**33)], "flat unsigned"),
    "tiles_bytes": ((SIDE // 32, SIDE // 32), (32, 32), BIG, [SIDE * 4], "bytes"),
}


@pytest.mark.parametrize("kernel", WRONG)
def test_an_index_of_32_bits_is_found_where_64_are_needed(
    runner: HostRunner, build: HostBuild, kernel: str
) -> None:
    grid, block, tensors, scalars, line = WRONG[kernel]
    found, _ = twice(runner, build, kernel, grid, block, tensors, scalars)
    assert found and {f.kind for f in found} == {"index overflow"}
    assert {f.line for f in found} == {line_of("// " + line)}
    assert all("32 bits are too few" in f.message and f.kernel == kernel for f in found)


HONEST: dict[str, tuple[Any, Any, Any, Any]] = {
    "flat_long": (SIDE * SIDE // 256, 256, BIG, [L(SIDE * SIDE)]),
    "flat_unsigned": (SIDE * SIDE // 256, 256, BIG, [L(SIDE * SIDE)]),
    "row_long": (SIDE, 256, BIG, [SIDE, SIDE]),
    "stride_long": (4096, 256, BIG, [L(SIDE * SIDE)]),
    "tiles_long": ((SIDE // 32, SIDE // 32), (32, 32), BIG, [SIDE]),
    "gather": (
        2**31 // 256,
        256,
        [(2**31, "int32"), (1024, "int32"), (2**32, "float32"), (2**31, "float32")],
        [L(2**31)],
    ),
    "waits": (2**31 // 256, 256, [(2**31 // 256, "int32"), (2**31, "float32"), (2**31, "float32")], []),
    "spins": (4, 256, BIG, []),
    "astray": (2**26, 32, [(2**31, "int32"), (2**31, "float32")], []),
}


@pytest.mark.parametrize("kernel", HONEST)
def test_an_honest_index_is_not_blamed(runner: HostRunner, build: HostBuild, kernel: str) -> None:
    grid, block, tensors, scalars = HONEST[kernel]
    found, reports = twice(runner, build, kernel, grid, block, tensors, scalars)
    assert found == ()
    assert all(r.seen is not None and r.seen.accesses > 0 for r in reports)


def test_following_touches_little_memory(runner: HostRunner, build: HostBuild) -> None:
    """16 GiB each of input and output are 16 MiB of a file, and the tables of the pages that were touched."""
    twice(runner, build, "stride_long", 4096, 256, BIG, [L(SIDE * SIDE)])
    assert runner._process is not None
    with open(f"/proc/{runner._process.popen.pid}/status") as status:
        kib = {line.split(":")[0]: int(line.split()[1]) for line in status if line.endswith("kB\n")}
    print(kib)
    assert kib["RssAnon"] + kib["VmPTE"] < 256 << 10
    with FarMemory([FarSpec("x", 1 << 34, 4, True), FarSpec("y", 1 << 34, 4, True)]) as memory:
        assert os.fstat(memory.file).st_size == 16 << 20


def test_a_plan_of_ordinary_size_is_not_followed() -> None:
    assert not needs_following(plan_of("k", 4096, 256, [(1 << 24, "float32")], []))
    assert needs_following(plan_of("k", 2**24, 128, [(1 << 20, "float32")], []))
    assert needs_following(plan_of("k", 4096, 256, [(1 << 29, "float32")], []))


def test_blocks_just_past_the_limits_are_chosen() -> None:
    launch = Launch(kernel="k", grid=(SIDE, 1, 1), block=(256, 1, 1), args=())
    blocks = choose_blocks(launch, [SIDE * SIDE, SIDE * SIDE * 4], random.Random(1))
    assert {0, 1, 2, SIDE // 2, SIDE // 2 + 1, SIDE - 2, SIDE - 1} <= set(blocks)
    assert len(blocks) == len(set(blocks)) <= 48 and max(blocks) < SIDE


def test_every_kernel_of_the_file_is_used() -> None:
    assert set(NAMES) == set(WRONG) | set(HONEST)
