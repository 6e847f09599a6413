"""One candidate at one size: its buffers, and runs on them that serve several gates at a time.

A plan with `backward` runs as two calls, one after the other. The second has an arena of its own, in which everything
is read-only but the gradients and its scratch: what forward returned was copied before backward began, and what
backward knows of forward is what was saved.

Every run has its own inputs, its own poison in outputs and scratch, its own canaries, and one of two placements
(buffers that end at the last mapped byte, or begin at the first). What the gates look at later was copied out of the
shared memory first, once, so that a candidate that still runs cannot change it between two checks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import numpy as np
import torch

from workbench.core.build import Kernel
from workbench.core.plan import Plan, PlanTensor
from workbench.core.task import Output, SizeSpec
from workbench.core.tensors import TensorSpec
from workbench.dialect.backward import size_of
from workbench.judge.worker.outcome import Faulted
from workbench.judge.worker.task.loaded import Case
from workbench.runner.host.arena import Arena, BufferSpec, Damage
from workbench.runner.host.client import HostRunner, RunnerLostError
from workbench.runner.host.faults import CallReport

Placement = Literal["end", "start"]
BACKWARD_SALT = 1000
"""Added to the salt of backward's poison, so that its scratch does not hold what forward's held."""
Bytes = np.ndarray
"""uint8, one-dimensional."""


@dataclass(frozen=True)
class Run:
    """What one run left behind, copied."""

    case: str
    placement: Placement
    complement: bool
    """Its poison differed in every byte from that of the plain run of the same case."""
    outputs: list[Bytes]
    """By output, in the reference's order; then by gradient (`Stage.results`)."""
    poison: list[Bytes | None]
    """What stood in each output before; None where the output is an input."""
    written: dict[str, Bytes]
    """By path: mutable inputs after the call."""
    damage: list[Damage]
    changed: list[str]
    """Names of inputs and parameters that are not what they were, though they may not change."""
    seconds: float
    warnings: tuple[str, ...] = ()
    """What the run did that CUDA's guide leaves undefined."""


@dataclass
class Stage:
    """The plan at one size, with a runner that holds its code and arenas that are used again and again."""

    plan: Plan
    size: SizeSpec
    kernels: Mapping[str, Kernel]
    runner: HostRunner
    timeout_s: float
    side_effects: frozenset[str] = frozenset()
    """Paths that a candidate may write as the reference does, and that are not compared."""
    _arenas: dict[Placement, Arena] = field(default_factory=dict)
    _layout: Layout | None = None
    _backward: Stage | None = None

    @property
    def backward(self) -> Stage | None:
        """The stage of backward, where the plan has one."""
        if self.plan.backward is None:
            return None
        if self._backward is None:
            size = size_of(self.plan, self.size)
            self._backward = Stage(self.plan.backward, size, self.kernels, self.runner, self.timeout_s)
        self._backward.runner = self.runner
        return self._backward

    @property
    def results(self) -> tuple[Output, ...]:
        """What a run leaves to compare: forward's outputs, then the gradients."""
        return self.size.outputs + (self.backward.size.outputs if self.backward is not None else ())

    @property
    def buffers(self) -> list[BufferSpec]:
        """Of forward and backward."""
        return self.layout.specs + (self.backward.layout.specs if self.backward is not None else [])

    @property
    def layout(self) -> Layout:
        if self._layout is None:
            self._layout = layout_of(self.plan, self.size, self.side_effects)
        return self._layout

    def run(
        self,
        case: Case,
        *,
        placement: Placement = "end",
        complement: bool = False,
        salt: int = 0,
        timeout_s: float | None = None,
    ) -> Run:
        """Run the whole plan once on `case`, forward and then backward.

        Args:
            complement: poison that differs in every byte from that of the same case and salt without it.
            salt: another one gives other poison. Canaries are new in every run.
            timeout_s: for each launch; None takes the verdict's.

        Raises:
            Faulted: the runner stopped it (illegal access, divergent barrier, hang, crash).
            RunnerLostError: the system ended the runner, twice.
        """
        layout = self.layout
        limit = self.timeout_s if timeout_s is None else min(timeout_s, self.timeout_s)
        filled = partial(self._filled, case, placement, complement, salt)
        report, arena, before = self._call(self.runner, filled, limit)
        if report.fault is not None:
            raise Faulted(report.fault, self.size.name, case.name)
        outputs = [arena.array(layout.bindings[t]).copy() for t in self.plan.outputs]
        written = self._written(arena)
        changed = [
            spec.name
            for number, spec in enumerate(layout.specs)
            if not spec.writable and not np.array_equal(arena.array(number), before[number])
        ]
        poison = [
            None if layout.paths[layout.bindings[t]] is not None else before[layout.bindings[t]]
            for t in self.plan.outputs
        ]
        result = Run(
            case.name,
            placement,
            complement,
            outputs,
            poison,
            written,
            list(arena.damaged()),
            changed,
            report.seconds,
            report.warnings,
        )
        if self.backward is None:
            return result
        after = self.backward.run(
            self._handed_on(case, arena),
            placement=placement,
            complement=complement,
            salt=salt + BACKWARD_SALT,
        )
        return replace(
            result,
            outputs=result.outputs + after.outputs,
            poison=result.poison + after.poison,
            damage=result.damage + after.damage,
            changed=result.changed + after.changed,
            seconds=result.seconds + after.seconds,
            warnings=tuple(dict.fromkeys(result.warnings + after.warnings)),
        )

    def watch(
        self, case: Case, runner: HostRunner, *, timeout_s: float, seed: int
    ) -> tuple[list[CallReport], list[Bytes], dict[str, Bytes]]:
        """Run the whole plan once on `case` in a runner that holds the instrumented build.

        Returns:
            What was seen of forward and, where there is one and forward came to its end, of backward; the outputs, as
            far as it came; and by path what was written in place.
        """
        bindings = self.layout.bindings
        report, arena, _ = self._call(runner, partial(self._filled, case, "end", False, 3), timeout_s, seed)
        outputs = [arena.array(bindings[t]).copy() for t in self.plan.outputs]
        written = self._written(arena)
        if self.backward is None or report.fault is not None or report.seen is None:
            return [report], outputs, written
        handed_on = self._handed_on(case, arena)
        after, gradients, _ = self.backward.watch(handed_on, runner, timeout_s=timeout_s, seed=seed)
        return [report, *after], outputs + gradients, written

    def _written(self, arena: Arena) -> dict[str, Bytes]:
        return {
            path: arena.array(number).copy()
            for number, path in enumerate(self.layout.paths)
            if path is not None and self.layout.specs[number].writable
        }

    def _call(
        self,
        runner: HostRunner,
        filled: Callable[[], tuple[Arena, dict[int, Bytes]]],
        timeout_s: float,
        seed: int | None = None,
    ) -> tuple[CallReport, Arena, dict[int, Bytes]]:
        """A call on what `filled` gives; once more, on what it gives then, where the system took the runner away."""
        for last in (False, True):
            arena, before = filled()
            try:
                report = runner.call(
                    self.plan, self.kernels, arena, self.layout.bindings, timeout_s=timeout_s, seed=seed
                )
                return report, arena, before
            except RunnerLostError:
                if last:
                    raise
        raise AssertionError

    def _handed_on(self, case: Case, arena: Arena) -> Case:
        """What backward is given: the case, with all that forward may write as forward left it, and what it saved."""
        values = dict(case.values)
        layout = self.layout
        for number, path in enumerate(layout.paths):
            parameter = self.size.by_path()[path] if path is not None else None
            if parameter is not None and parameter.tensor is not None and layout.specs[number].writable:
                values[parameter.path] = as_tensor(arena.array(number).copy(), parameter.tensor)
        for name, tensor in self.plan.saved:
            data = arena.array(layout.bindings[tensor]).copy()
            values[f"saved:{name}"] = torch.from_numpy(data)
        return Case(case.name, case.seed, values)

    def _filled(
        self, case: Case, placement: Placement, complement: bool, salt: int
    ) -> tuple[Arena, dict[int, Bytes]]:
        """The arena with the case's inputs and new poison, and a copy of what each buffer holds."""
        layout = self.layout
        arena = self._arena(placement, case.seed)
        rng = np.random.default_rng([case.seed, salt])
        before: dict[int, Bytes] = {}
        for number, spec in enumerate(layout.specs):
            path = layout.paths[number]
            if path is not None:
                data = tensor_bytes(case.values[path])
            else:
                data = _poison(rng, spec.nbytes, complement)
            before[number] = data
            arena.array(number)[:] = data
        return arena, before

    def close(self) -> None:
        """Free the arenas; the runner is its owner's."""
        for arena in self._arenas.values():
            arena.close()
        self._arenas.clear()
        if self._backward is not None:
            self._backward.close()

    def _arena(self, placement: Placement, seed: int) -> Arena:
        arena = self._arenas.get(placement)
        if arena is None:
            arena = Arena(self.layout.specs, placement=placement, seed=seed)
            self._arenas[placement] = arena
        else:
            arena.reset_canaries()
        return arena


@dataclass(frozen=True)
class Layout:
    """The buffers of a call."""

    specs: list[BufferSpec]
    paths: list[str | None]
    """By buffer: the signature tensor that fills it."""
    bindings: dict[int, int]
    """Tensor number in the plan to buffer number."""


def layout_of(plan: Plan, size: SizeSpec, side_effects: frozenset[str]) -> Layout:
    """The buffers of a plan at one size; `side_effects` as in `Stage`."""
    parameters = size.by_path()
    names = {root(plan, t): size.outputs[i].name for i, t in enumerate(plan.outputs)}
    specs: list[BufferSpec] = []
    paths: list[str | None] = []
    bindings: dict[int, int] = {}
    by_path: dict[str, int] = {}
    for number, tensor in enumerate(plan.tensors):
        if tensor.origin == "view":
            continue
        if tensor.path is not None and tensor.path in by_path:
            bindings[number] = by_path[tensor.path]
            continue
        parameter = parameters[tensor.path] if tensor.path is not None else None
        name = parameter.name if parameter else names.get(number, f"scratch (line {tensor.line})")
        writable = parameter is None or parameter.mutable or parameter.path in side_effects
        bindings[number] = len(specs)
        if tensor.path is not None:
            by_path[tensor.path] = len(specs)
        specs.append(BufferSpec(name, tensor.spec.nbytes, writable, tensor.role))
        paths.append(tensor.path)
    for number, tensor in enumerate(plan.tensors):
        if tensor.origin == "view":
            bindings[number] = bindings[root(plan, number)]
    return Layout(specs, paths, bindings)


def root(plan: Plan, number: int) -> int:
    """The tensor whose memory tensor `number` looks into: itself unless it is a view."""
    tensor: PlanTensor = plan.tensors[number]
    while tensor.base is not None:
        number = tensor.base
        tensor = plan.tensors[number]
    return number


def tensor_bytes(value: object) -> Bytes:
    """A tensor's elements as bytes, row-major; shares memory where the tensor is contiguous."""
    assert isinstance(value, torch.Tensor)
    flat = value.detach().contiguous().reshape(-1)
    if flat.numel() == 0:
        return np.empty(0, np.uint8)
    array: Bytes = flat.view(torch.uint8).numpy()
    return array


def as_tensor(data: Bytes, spec: TensorSpec) -> torch.Tensor:
    """Bytes read back as a tensor of `spec`; a bool byte other than 0 counts as true, as in C++."""
    dtype: torch.dtype = getattr(torch, spec.dtype)
    if data.size == 0:
        return torch.empty(spec.shape, dtype=dtype)
    flat = torch.from_numpy(data)
    return (flat != 0 if dtype == torch.bool else flat.view(dtype)).reshape(spec.shape)


def _poison(rng: np.random.Generator, count: int, complement: bool) -> Bytes:
    plain = np.frombuffer(rng.bytes(count), np.uint8)
    if not complement:
        return plain
    return plain + rng.integers(1, 256, count, dtype=np.uint8)
