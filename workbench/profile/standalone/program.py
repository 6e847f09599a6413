"""A plan at one size as a program of its own runs it: buffers with their contents, steps with packed arguments.

Plain data. The judge's worker makes it, since it alone has the task and its draws (`judge/worker/standalone.py`); the
rest of this package writes it down.
"""

from __future__ import annotations

import msgspec

from workbench.core.build import Kernel
from workbench.core.plan import CompileOptions


class Buffer(msgspec.Struct, frozen=True, kw_only=True):
    """One allocation; its place in `Program.buffers` is its number."""

    name: str
    about: str
    """"input, float32[512, 4096]"."""
    nbytes: int
    file: str = ""
    """What it holds before the first step, relative to the program's folder; "" leaves it as it was allocated."""
    restored: bool = False
    """The plan writes what it holds, so it is copied again before each further repetition."""


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """A result: the first `nbytes` bytes of a buffer, written to `file` after the last step."""

    name: str
    about: str
    buffer: int
    nbytes: int
    file: str


class Address(msgspec.Struct, frozen=True, tag="address"):
    """The address of a buffer."""

    buffer: int
    ctype: str = ""
    """The parameter's C++ type where it is known; hostile text."""


class Scalar(msgspec.Struct, frozen=True, tag="scalar"):
    """A number in the width of the kernel's parameter."""

    data: bytes
    """Little-endian; 1, 2, 4 or 8 bytes."""
    text: str
    """For a reader: "4096", "1e-06"."""
    ctype: str = ""


class Addresses(msgspec.Struct, frozen=True, tag="addresses"):
    """The address of an array, in device memory, of the buffers' addresses."""

    buffers: tuple[int, ...]
    ctype: str = ""


Argument = Address | Scalar | Addresses


class Zero(msgspec.Struct, frozen=True, kw_only=True, tag="zero"):
    """Every byte of a buffer to zero."""

    buffer: int
    line: int = 0


class LaunchStep(msgspec.Struct, frozen=True, kw_only=True, tag="launch"):
    """A launch; extents are x first, `grid` counts blocks."""

    kernel: str
    """As the plan names it."""
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    args: tuple[Argument, ...]
    shared_bytes: int = 0
    cluster: tuple[int, int, int] | None = None
    cooperative: bool = False
    line: int = 0


Step = Zero | LaunchStep


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """All that the files of a standalone program are made of, but for the inputs' bytes."""

    task: str
    candidate: str
    """The file's name."""
    sha256: str
    """Of the candidate's file."""
    workbench: str
    """Version."""
    size: str
    values: dict[str, int]
    case: str
    seed: int
    arch: str
    compiler: str
    """"NVRTC 13.0"."""
    options: CompileOptions
    kernels: tuple[Kernel, ...]
    """Those that are launched, in order."""
    buffers: tuple[Buffer, ...]
    steps: tuple[Step, ...]
    saved: tuple[Saved, ...]
    backward_from: int | None = None
    """The first step of backward; None where there is none."""
    cubin: bytes
    device: str
    """The device code as it was compiled, the plan blanked."""
    plan: str
    """The plan's text."""

    @property
    def launches(self) -> tuple[LaunchStep, ...]:
        return tuple(s for s in self.steps if isinstance(s, LaunchStep))
