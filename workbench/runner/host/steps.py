"""A plan's steps as the runner gets them: addresses chosen here, arguments packed to the parameters' widths."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from workbench.core.build import HostBuild, Kernel
from workbench.core.errors import JudgeError
from workbench.core.plan import Fill, Launch, LibraryStep, Plan, PointersArg, ScalarArg, TensorArg
from workbench.dialect.check import pack_arguments
from workbench.runner.host import messages as m
from workbench.runner.host.arena import PAGE, Arena
from workbench.runner.host.faults import Fault, FaultKind, Placed


class Layout:
    """Addresses of an arena's buffers in the runner, chosen here, so that the runner need not be asked."""

    def __init__(self, arena: Arena, rng: random.Random) -> None:
        # Far from where programs, libraries, stacks and the heap lie on x86-64 and aarch64; different in every call.
        address = (0x1000_0000_0000 + rng.randrange(1 << 30) * PAGE) & ~(2**21 - 1)
        self.addresses: list[int] = []
        mappings: list[m.Mapping_] = []
        placed: list[Placed] = []
        gap = 16 * PAGE
        for spec, region in zip(arena.specs, arena.regions, strict=True):
            address += gap
            mappings.append(m.Mapping_(region.writable, region.file_offset, region.span, address))
            first = address + region.start
            self.addresses.append(first)
            placed.append(
                Placed(
                    spec.name,
                    first,
                    region.nbytes,
                    address - gap // 2,
                    address + region.span + gap // 2,
                    region.writable,
                )
            )
            address += region.span
        self.mappings = tuple(mappings)
        self.placed = tuple(placed)


def tracked(layout: Layout, arena: Arena) -> tuple[m.TrackedBuffer, ...]:
    """Every buffer, for an instrumented library; what is an input holds something when the call starts."""
    return tuple(
        m.TrackedBuffer(p.address, p.nbytes, p.low, p.high, p.writable, spec.role == "input")
        for p, spec in zip(layout.placed, arena.specs, strict=True)
    )


class LaunchError(Exception):
    """A launch that cannot be made; `fault` says why."""

    def __init__(self, message: str, kernel: str = "", line: int = 0, *, kind: FaultKind = "launch") -> None:
        super().__init__(message)
        self.fault = Fault(kind, message, kernel, line=line)


def pack_steps(
    plan: Plan,
    kernels: Mapping[str, Kernel],
    build: HostBuild,
    layout: Layout,
    bindings: Mapping[int, int],
    rng: random.Random,
) -> tuple[list[m.RunStep], list[str]]:
    """The plan's steps with addresses and packed arguments, and the name of each for messages."""

    def address(tensor: int) -> int:
        seen = tensor
        for _ in range(len(plan.tensors) + 1):
            if seen in bindings:
                return layout.addresses[bindings[seen]]
            base = plan.tensors[seen].base
            if base is None:
                break
            seen = base
        raise JudgeError(f"Tensor {tensor} of the plan was given no buffer.")

    def view(tensor: int) -> m.TensorView:
        spec = plan.tensors[tensor].spec
        return m.TensorView(address(tensor), spec.nbytes, spec.shape, spec.dtype)

    steps: list[m.RunStep] = []
    names: list[str] = []
    for step in plan.steps:
        if isinstance(step, Fill):
            steps.append(m.FillStep(address(step.tensor), plan.tensors[step.tensor].spec.nbytes))
            names.append("")
        elif isinstance(step, Launch):
            entry = build.entries.get(step.kernel)
            kernel = kernels.get(step.kernel)
            if entry is None or kernel is None:
                raise LaunchError(f"the kernel {step.kernel!r} was not compiled", step.kernel, step.line)
            if step.cluster is not None and step.cluster != (1, 1, 1):
                raise LaunchError(
                    f"clusters at line {step.line}; this needs cuda",
                    step.kernel,
                    step.line,
                    kind="unsupported",
                )
            args: list[bytes | tuple[int, ...]] = []
            try:
                packed = pack_arguments(step, kernel)
            except ValueError as error:
                raise LaunchError(f"{step.kernel}: {error}", step.kernel, step.line) from None
            for argument in packed:
                if isinstance(argument, TensorArg):
                    args.append(address(argument.tensor).to_bytes(8, "little"))
                elif isinstance(argument, PointersArg):
                    args.append(tuple(address(t) for t in argument.tensors))
                else:
                    args.append(argument)
            if not all(step.grid) or not all(step.block):
                continue
            steps.append(
                m.LaunchStep(
                    entry,
                    step.grid,
                    step.block,
                    step.shared_bytes,
                    step.cooperative,
                    tuple(args),
                    rng.getrandbits(63),
                )
            )
            names.append(step.kernel)
        else:
            steps.append(_library_call(step, view))
            names.append(step.op)
    return steps, names


def _library_call(step: LibraryStep, view: Any) -> m.LibraryCall:
    def plain(value: Any) -> Any:
        if isinstance(value, TensorArg):
            return view(value.tensor)
        if isinstance(value, ScalarArg):
            return value.value
        return value

    return m.LibraryCall(
        step.op,
        tuple(plain(a) for a in step.args),
        {k: plain(v) for k, v in step.kwargs},
        tuple(view(t) for t in step.outputs),
    )
