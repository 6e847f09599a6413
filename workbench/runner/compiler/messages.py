"""What the compiler process and its client say to each other, as `core.wire` frames.

Everything that comes from the process is as hostile as the source that it compiled: the client bounds every frame,
decodes it with msgspec, and reads kernels and diagnostics out of the bytes itself.
"""

from __future__ import annotations

import msgspec

from workbench.core.build import BuildFailure, HostBuild
from workbench.core.plan import CompileOptions

FILE_NAME = "candidate.cu"
"""Every build sees this name, so that a build does not depend on where the file lies."""
PATIENCE = 4
"""A build may take so many times its processor time by the clock: on a machine whose cores are all taken an honest
candidate must not run out of time."""


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    """The process is confined and warm."""

    versions: dict[str, str]
    """"nvrtc": "NVRTC 13.5", "host": "g++ 12.2.0"; a part that is missing is not named."""
    host_key: str = ""
    """Changes with everything that the host compiler's prepared headers depend on."""
    absent: dict[str, str]
    """Part to the sentence that says what is missing and what to install."""
    means: tuple[str, ...]
    missing: tuple[str, ...]


class BuildRequest(msgspec.Struct, frozen=True, kw_only=True, tag="build"):
    """Compile one candidate; answered by one `BuildAnswer`."""

    number: int
    device: str
    options: CompileOptions
    kernels: tuple[str, ...]
    arch: str | None
    host: bool
    debug: bool
    timeout_s: float
    """Processor time of each of its processes, seconds; by the clock, `PATIENCE` times as long."""
    instrumented: bool = False
    """The host build is the one whose every access is seen."""
    cuda_arch: int = 900
    """`__CUDA_ARCH__` in the host build."""


class Probe(msgspec.Struct, frozen=True):
    """A kernel as the compiler resolved it."""

    name: str
    """As the plan names it."""
    symbol: str
    probe: str = ""
    """Mangled name of the probe over its function type; "" where none was compiled."""
    type: str = ""
    """The probe's name, demangled."""


class CudaAnswer(msgspec.Struct, frozen=True, kw_only=True, tag="cuda"):
    """What NVRTC made, unread."""

    ok: bool
    log: str
    probes: tuple[Probe, ...] = ()
    cubin: bytes = b""
    ptx: str = ""
    out_of_memory: bool = False
    missing: bool = False
    """There is no NVRTC here."""
    version: str
    seconds: float


class HostAnswer(msgspec.Struct, frozen=True, kw_only=True, tag="host"):
    """What `runner.host.build.compile_host` returned."""

    build: HostBuild | None = None
    failure: BuildFailure | None = None


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag="ended"):
    """A build that gave no answer."""

    cause: str
    """"timeout", "memory", "crashed" (by a signal of its own) or "died" (anything else)."""
    detail: str = ""
    seconds: float = 0.0


class BuildAnswer(msgspec.Struct, frozen=True, kw_only=True, tag="answer"):
    """The two builds of one request, each still packed as its own child wrote it."""

    number: int
    cuda: bytes | None = None
    """`CudaAnswer | Ended`."""
    host: bytes | None = None
    """`HostAnswer | Ended`."""


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """The process could not become ready."""

    message: str


Greeting = Hello | Failed
CudaResult = CudaAnswer | Ended
HostResult = HostAnswer | Ended
