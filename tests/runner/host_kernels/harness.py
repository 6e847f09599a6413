"""Build a kernel for the host target and run it on numpy arrays, through the real compiler and the real runner."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from workbench.core.build import BuildFailure, HostBuild, Kernel, KernelParameter
from workbench.core.plan import (
    CompileOptions,
    Fill,
    Launch,
    Plan,
    PlanTensor,
    PointersArg,
    ScalarArg,
    TensorArg,
)
from workbench.core.tensors import contiguous
from workbench.runner.host.arena import Arena, BufferSpec, Damage
from workbench.runner.host.build import compile_host
from workbench.runner.host.client import HostRunner
from workbench.runner.host.faults import CallReport
from workbench.runner.host.pool import HostRunners
from workbench.runner.host.toolchain import Prepared, find_toolchain, prepare

KERNELS = Path(__file__).parent


@cache
def _folder() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="workbench-host-tests-")
    _kept.append(folder)
    return Path(folder.name)


_kept: list[Any] = []


@cache
def prepared(compiler: str | None = None) -> Prepared:
    """The prelude and the runtime, compiled once in this test run."""
    return prepare(_folder(), find_toolchain(compiler))


def build(
    source: str,
    kernels: Sequence[str],
    *,
    defines: dict[str, Any] | None = None,
    compiler: str | None = None,
    instrumented: bool = False,
) -> HostBuild | BuildFailure:
    """Compile device code; `source` is a file of this folder or the text itself."""
    text = (KERNELS / source).read_text() if source.endswith(".cu") else source
    options = CompileOptions(defines=tuple(sorted((k, str(v)) for k, v in (defines or {}).items())))
    with tempfile.TemporaryDirectory(dir=_folder()) as work:
        return compile_host(
            text,
            "kernel.cu",
            options,
            tuple(kernels),
            work,
            prepared=prepared(compiler),
            instrumented=instrumented,
        )


def built(source: str, *kernels: str, **options: Any) -> HostBuild:
    """As `build`, and it must succeed."""
    result = build(source, kernels, **options)
    assert isinstance(result, HostBuild), [d.at("kernel.cu") for d in result.diagnostics]
    return result


@dataclass
class Buffer:
    """A tensor of a call: `data` is what it holds before (None: random bytes), `result` what it holds after."""

    data: np.ndarray
    writable: bool = True
    name: str = ""
    poison: bool = False
    result: np.ndarray = field(default_factory=lambda: np.empty(0))


def given(array: np.ndarray, name: str = "x") -> Buffer:
    """An input, which the runner may only read."""
    return Buffer(np.ascontiguousarray(array), writable=False, name=name)


def empty(shape: int | tuple[int, ...], dtype: Any, name: str = "y") -> Buffer:
    """An output, full of random bytes."""
    return Buffer(np.zeros(shape, dtype), name=name, poison=True)


def zeros(shape: int | tuple[int, ...], dtype: Any, name: str = "y") -> Buffer:
    """An output, full of zeros."""
    return Buffer(np.zeros(shape, dtype), name=name)


@dataclass
class Ran:
    """What a call did."""

    report: CallReport
    damaged: list[Damage]


def parameter(value: Any, offset: int) -> KernelParameter:
    """The parameter that a test's argument is meant for."""
    if isinstance(value, (Buffer, list)):
        return KernelParameter(offset, 8, "pointer")
    if isinstance(value, np.generic):
        return KernelParameter(offset, value.nbytes, "float" if value.dtype.kind == "f" else "int")
    return KernelParameter(offset, 4, "float" if isinstance(value, float) else "int")


def run(
    runner: HostRunner,
    kernel: str,
    grid: int | tuple[int, ...],
    block: int | tuple[int, ...],
    args: Sequence[Any],
    *,
    shared: int = 0,
    cooperative: bool = False,
    placement: str = "end",
    timeout_s: float = 60.0,
    launches: int = 1,
    fills: Sequence[Buffer] = (),
) -> Ran:
    """Launch once (or several times); args are Buffers, lists of Buffers, numpy scalars, ints (i32) and floats (f32)."""
    buffers: list[Buffer] = []
    for arg in args:
        for b in arg if isinstance(arg, list) else [arg]:
            if isinstance(b, Buffer) and all(b is not other for other in buffers):
                buffers.append(b)

    def number(b: Buffer) -> int:
        return next(i for i, other in enumerate(buffers) if other is b)

    def argument(value: Any) -> Any:
        if isinstance(value, Buffer):
            return TensorArg(number(value))
        if isinstance(value, list):
            return PointersArg(tuple(number(b) for b in value))
        return ScalarArg(
            "float" if isinstance(value, float | np.floating) else "int",
            value.item() if isinstance(value, np.generic) else value,
        )

    def three(value: int | tuple[int, ...]) -> tuple[int, int, int]:
        parts = (value,) if isinstance(value, int) else value
        return (*parts, 1, 1, 1)[:3]  # type: ignore[return-value]  # three, as the slice says

    launch = Launch(
        kernel=kernel,
        grid=three(grid),
        block=three(block),
        args=tuple(argument(a) for a in args),
        shared_bytes=shared,
        cooperative=cooperative,
    )
    tensors = tuple(
        PlanTensor(
            origin="empty" if b.writable else "signature",
            spec=contiguous((b.data.nbytes,), "uint8"),
            role="output" if b.writable else "input",
        )
        for b in buffers
    )
    plan = Plan(
        size="test",
        options=CompileOptions(),
        tensors=tensors,
        steps=(*(Fill(number(b)) for b in fills), *[launch] * launches),
        outputs=(),
    )
    parameters, offset = [], 0
    for a in args:
        parameters.append(parameter(a, offset))
        offset += parameters[-1].size
    described = Kernel(
        name=kernel, symbol=kernel, parameters=tuple(parameters), registers=0, spill_bytes=0, stack_bytes=0,
        shared_bytes=0, constant_bytes=0,
    )  # fmt: skip
    specs = [
        BufferSpec(b.name or f"b{i}", b.data.nbytes, b.writable, "scratch" if b.poison else "input")
        for i, b in enumerate(buffers)
    ]
    seed = secrets.randbits(32)
    print("arena seed", seed)  # shown where a test fails
    with Arena(specs, placement=placement, seed=seed) as arena:  # type: ignore[arg-type]  # a literal that callers pass on
        rng = np.random.default_rng(seed)
        for i, b in enumerate(buffers):
            if b.poison:
                arena.array(i)[:] = rng.integers(0, 256, b.data.nbytes, dtype=np.uint8)
            else:
                arena.array(i)[:] = b.data.reshape(-1).view(np.uint8)
        report = runner.call(
            plan, {kernel: described}, arena, {i: i for i in range(len(buffers))}, timeout_s=timeout_s
        )
        for i, b in enumerate(buffers):
            b.result = arena.array(i).copy().view(b.data.dtype).reshape(b.data.shape)
        return Ran(report, arena.damaged())


def must_run(
    runner: HostRunner, kernel: str, grid: Any, block: Any, args: Sequence[Any], **options: Any
) -> Ran:
    """As `run`, without a fault and without damage."""
    ran = run(runner, kernel, grid, block, args, **options)
    assert ran.report.fault is None, ran.report.fault
    assert not ran.damaged, ran.damaged
    return ran


__all__ = [
    "Buffer",
    "HostRunners",
    "build",
    "built",
    "empty",
    "given",
    "must_run",
    "prepared",
    "run",
    "zeros",
]
