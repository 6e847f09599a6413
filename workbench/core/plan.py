"""A plan as pure data: what the sandboxed planner answers for one size, frozen before anything is compiled."""

from __future__ import annotations

from typing import Literal

import msgspec

from workbench.core.tensors import TensorSpec


class CompileOptions(msgspec.Struct, frozen=True, order=True):
    """What `compile(...)` asked for."""

    defines: tuple[tuple[str, str], ...] = ()
    """Name and text, sorted by name: ("BLOCK", "256")."""
    fast_math: bool = False
    max_registers: int | None = None


class Knob(msgspec.Struct, frozen=True):
    """A `tune(default, choices)` and the name it was assigned to."""

    name: str
    default: int | float | bool | str
    choices: tuple[int | float | bool | str, ...]


class PlanTensor(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor that a plan names; its place in `Plan.tensors` is its number."""

    origin: Literal["signature", "empty", "zeros", "view", "op"]
    spec: TensorSpec
    path: str | None = None
    """`Parameter.path` of a signature tensor."""
    base: int | None = None
    """The tensor that a view looks into (same first byte, same bytes)."""
    role: Literal["input", "output", "scratch"]
    line: int = 0
    """Line in the candidate's own file, 1-based."""


class TensorArg(msgspec.Struct, frozen=True, tag="tensor"):
    """The address of a tensor's first element."""

    tensor: int


class ScalarArg(msgspec.Struct, frozen=True, tag="scalar"):
    """A number; `kind` "int", "float" and "bool" take the width of the kernel's parameter."""

    kind: Literal["int", "float", "bool", "i32", "i64", "f32", "f64"]
    value: int | float | bool


class PointersArg(msgspec.Struct, frozen=True, tag="pointers"):
    """The address of an array of the tensors' addresses."""

    tensors: tuple[int, ...]


Argument = TensorArg | ScalarArg | PointersArg


class Fill(msgspec.Struct, frozen=True, tag="fill"):
    """Set a `zeros` tensor to zero; part of the measured time."""

    tensor: int
    line: int = 0


class Launch(msgspec.Struct, frozen=True, kw_only=True, tag="launch"):
    """One kernel launch on the one stream."""

    kernel: str
    """An `extern "C"` name or a C++ name expression."""
    grid: tuple[int, int, int]
    """Blocks, x first."""
    block: tuple[int, int, int]
    """Threads, x first."""
    args: tuple[Argument, ...]
    shared_bytes: int = 0
    """Dynamic shared memory, bytes."""
    cluster: tuple[int, int, int] | None = None
    cooperative: bool = False
    line: int = 0


class LibraryStep(msgspec.Struct, frozen=True, kw_only=True, tag="library"):
    """A `torch_op` from the allowlist; labelled in every verdict."""

    op: str
    """"aten.mm"."""
    args: tuple[TensorArg | ScalarArg | tuple[int, ...] | str | None, ...]
    kwargs: tuple[tuple[str, ScalarArg | tuple[int, ...] | str | None], ...] = ()
    outputs: tuple[int, ...] = ()
    """Numbers in `Plan.tensors`, whose shapes the planner worked out."""
    line: int = 0


Step = Fill | Launch | LibraryStep


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to allocate, launch and return at one size."""

    size: str
    options: CompileOptions
    tensors: tuple[PlanTensor, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]
    """Numbers in `tensors`, in the reference's flattened order."""
    saved: tuple[tuple[str, int], ...] = ()
    """`save(t)`: name and tensor handed to `backward`."""
    knobs: tuple[Knob, ...] = ()
    values: dict[str, int | float | bool | str] = {}
    """The knobs' values in this evaluation."""
    line: int = 0
    """Line of `def forward` in the candidate's own file."""

    backward: Plan | None = None
    """What `backward` does, as a plan of its own: its signature is forward's, the saved tensors and the incoming
    gradients (`dialect.backward.backward_size`), its outputs are the gradients, its options are forward's."""

    @property
    def halves(self) -> tuple[Plan, ...]:
        """Forward, and backward where there is one."""
        return (self,) if self.backward is None else (self, self.backward)

    @property
    def kernels(self) -> tuple[str, ...]:
        """Kernel names in launch order, backward's included, each once."""
        steps = (s for half in self.halves for s in half.steps)
        return tuple(dict.fromkeys(s.kernel for s in steps if isinstance(s, Launch)))

    @property
    def uses_library(self) -> bool:
        """Whether forward or backward has a library step."""
        return any(isinstance(s, LibraryStep) for half in self.halves for s in half.steps)


class NotCovered(msgspec.Struct, frozen=True):
    """`require(condition, why)` excluded this size; not a failure."""

    size: str
    reason: str
    line: int = 0


class Diagnostic(msgspec.Struct, frozen=True):
    """An error or a warning at a place in the candidate's own file."""

    message: str
    """What is wrong, what was expected and, where one is likely, the fix."""
    line: int = 0
    """1-based; 0 where no line is to blame."""
    column: int = 0
    """1-based; 0 where unknown."""
    severity: Literal["error", "warning", "note"] = "error"

    def at(self, file: str) -> str:
        """As compilers print it: "softmax.cu:12:5: error: ..."."""
        place = ":".join([file, *(str(n) for n in (self.line, self.column) if n)])
        return f"{place}: {self.severity}: {self.message}"


class PlanFailure(msgspec.Struct, frozen=True):
    """The plan could not be read or evaluated."""

    diagnostics: tuple[Diagnostic, ...]
    cause: Literal["plan", "timeout", "memory", "died"] = "plan"


class LaunchLimits(msgspec.Struct, frozen=True):
    """What a launch may ask of a device of an architecture."""

    threads_per_block: int = 1024
    block: tuple[int, int, int] = (1024, 1024, 64)
    grid: tuple[int, int, int] = (2**31 - 1, 65535, 65535)
    shared_bytes: int = 232_448
    """Opt-in limit a block, static plus dynamic (227 KiB on sm_90)."""
    registers_per_block: int = 65_536
    cluster_blocks: int = 16


LIMITS: dict[str, LaunchLimits] = {
    "sm_75": LaunchLimits(shared_bytes=65_536, cluster_blocks=1),
    "sm_80": LaunchLimits(shared_bytes=166_912, cluster_blocks=1),
    "sm_86": LaunchLimits(shared_bytes=101_376, cluster_blocks=1),
    "sm_87": LaunchLimits(shared_bytes=166_912, cluster_blocks=1),
    "sm_89": LaunchLimits(shared_bytes=101_376, cluster_blocks=1),
    "sm_90": LaunchLimits(),
    "sm_100": LaunchLimits(),
    "sm_103": LaunchLimits(),
    "sm_120": LaunchLimits(shared_bytes=101_376),
    "sm_121": LaunchLimits(shared_bytes=101_376),
}
"""By architecture without its `a` or `f` suffix. Source: CUDA C++ Programming Guide, compute capabilities table."""


def limits_for(arch: str) -> LaunchLimits:
    """Limits of "sm_90a"; an unknown architecture gets those of sm_90."""
    return LIMITS.get(arch.rstrip("af"), LaunchLimits())
