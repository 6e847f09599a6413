"""What the compiler process answers: kernels with their parameters and resources, or diagnostics."""

from __future__ import annotations

from typing import Literal

import msgspec

from workbench.core.plan import Diagnostic


class KernelParameter(msgspec.Struct, frozen=True):
    """One parameter of a compiled kernel."""

    offset: int
    """Bytes from the start of the parameter area."""
    size: int
    """Bytes."""
    kind: Literal["pointer", "int", "float", "struct", "unknown"]
    type: str = ""
    """The C++ type where it is known: "const float*", "__half", "int"."""


class Kernel(msgspec.Struct, frozen=True, kw_only=True):
    """One compiled kernel and what it costs."""

    name: str
    """As the plan names it."""
    symbol: str
    """The (mangled) symbol in the cubin."""
    parameters: tuple[KernelParameter, ...]
    registers: int
    spill_bytes: int
    """Local memory that the compiler spilled to, bytes a thread."""
    stack_bytes: int
    """Local memory in all, bytes a thread."""
    shared_bytes: int
    """Static shared memory, bytes a block."""
    constant_bytes: int
    """User constant memory (banks 3 and 4), bytes."""
    max_threads: int = 1024
    """From __launch_bounds__."""
    instructions: int = 0
    """SASS instructions."""


class CudaBuild(msgspec.Struct, frozen=True, kw_only=True):
    """A cubin for one architecture and one set of options."""

    arch: str
    kernels: tuple[Kernel, ...]
    cubin: bytes
    ptx: str
    diagnostics: tuple[Diagnostic, ...] = ()
    """Warnings, at the candidate's own lines."""
    version: str = ""
    """"NVRTC 13.0"."""
    seconds: float = 0.0
    cached: bool = False


class HostBuild(msgspec.Struct, frozen=True, kw_only=True):
    """A shared object that the host target's runner can load."""

    library: bytes
    """The ELF file."""
    entries: dict[str, str]
    """Kernel name as in the plan to the exported entry symbol (`void entry(void **args)`)."""
    instrumented: bool = False
    """Whether its every access of memory is seen: slower, and for findings instead of results."""
    diagnostics: tuple[Diagnostic, ...] = ()
    version: str = ""
    """"g++ 12.2.0"."""
    seconds: float = 0.0
    cached: bool = False


BuildCause = Literal["source", "timeout", "memory", "crashed", "died", "unsupported", "missing"]


class BuildFailure(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate that does not compile, or a compiler that could not do its work."""

    cause: BuildCause
    """"crashed": the compiler ended itself on this text; "died": it went away, or did not start, for a reason that is not
    known to be the text's; "unsupported": the host target cannot run a feature (named in the message); "missing": no compiler here."""
    diagnostics: tuple[Diagnostic, ...]
    version: str = ""
    seconds: float = 0.0
    cached: bool = False
