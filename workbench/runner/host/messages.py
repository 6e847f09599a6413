"""What client and runner say to each other, and the page on which a dying runner leaves its reason."""

from __future__ import annotations

import ctypes
from typing import Literal

import msgspec

from workbench.sandbox import Evidence

MAX_CALL_BYTES = 64 << 20
MAX_ANSWER_BYTES = 1 << 16
"""A runner's answers are hostile; none of ours is longer."""


class Mapping_(msgspec.Struct, frozen=True, array_like=True):
    """One buffer, to be mapped at an address that the client chose."""

    writable: bool
    file_offset: int
    span: int
    address: int


class FillStep(msgspec.Struct, frozen=True, tag="fill"):
    """Zero bytes."""

    address: int
    nbytes: int


class LaunchStep(msgspec.Struct, frozen=True, tag="launch"):
    """One kernel launch; arguments are packed to the parameters' widths."""

    entry: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared_bytes: int
    cooperative: bool
    args: tuple[bytes | tuple[int, ...], ...]
    """Bytes of a parameter, or the addresses that an array holds whose address is the parameter."""
    seed: int
    blocks: tuple[int, ...] = ()
    """In a far call: the blocks that are run, as numbers in the launch (x first)."""


class TensorView(msgspec.Struct, frozen=True):
    """A tensor for a library step."""

    address: int
    nbytes: int
    shape: tuple[int, ...]
    dtype: str


class LibraryCall(msgspec.Struct, frozen=True, tag="library"):
    """A torch operator; tensors by address, results copied to `outputs`."""

    op: str
    args: tuple[TensorView | int | float | bool | tuple[int, ...] | str | None, ...]
    kwargs: dict[str, int | float | bool | tuple[int, ...] | str | None]
    outputs: tuple[TensorView, ...]


RunStep = FillStep | LaunchStep | LibraryCall


class Load(msgspec.Struct, frozen=True, tag="load"):
    """Confine yourself, then load the library that comes with this message."""

    memory_bytes: int
    torch: bool = False


class Call(msgspec.Struct, frozen=True, tag="call"):
    """Map the buffers and run the steps; files come with this message."""

    mappings: tuple[Mapping_, ...]
    steps: tuple[RunStep, ...]
    workers: int
    tracked: tuple[TrackedBuffer, ...] = ()
    """For an instrumented library: every buffer."""
    variables: tuple[tuple[int, int, bool], ...] = ()
    """For an instrumented library: offset and size of each variable in thread-local storage, and whether to ignore it."""


class TrackedBuffer(msgspec.Struct, frozen=True, array_like=True):
    """A buffer of which an instrumented library follows the accesses."""

    address: int
    nbytes: int
    low: int
    high: int
    """Addresses from `low` to `high` are nearer to this buffer than to its neighbours."""
    writable: bool
    written: bool
    """It holds something when the call starts."""


class FarBuffer(msgspec.Struct, frozen=True, array_like=True):
    """A buffer of a size that no machine here could hold: address space over a few megabytes that repeat."""

    address: int
    nbytes: int
    low: int
    high: int
    itemsize: int
    file_offset: int
    period: int
    """Bytes of the file that repeat, a whole number of pages."""
    writable: bool


class FarCall(msgspec.Struct, frozen=True, tag="far"):
    """Run a few blocks of each launch, and watch only where their accesses go; one file comes with this message."""

    buffers: tuple[FarBuffer, ...]
    steps: tuple[RunStep, ...]
    per_block: int
    """Accesses after which a block is given up."""
    in_all: int
    """Accesses after which no further block is run."""


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The runner is up (not confined yet; nothing hostile is near)."""

    pid: int


class Confined(msgspec.Struct, frozen=True, tag="confined"):
    """The sandbox is up; the library comes next."""

    evidence: Evidence


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """The library and all entries are there."""


class Done(msgspec.Struct, frozen=True, tag="done"):
    """All steps ran."""

    seconds: float
    launches: int


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """Something that is not a kernel's fault handler's to report."""

    kind: Literal["load", "launch", "unsupported", "library"]
    message: str
    step: int = -1


Request = Load | Call | FarCall
Answer = Ready | Confined | Loaded | Done | Failed


class Report(ctypes.Structure):
    """runtime/abi.h: wb_report."""

    _fields_ = (
        ("step", ctypes.c_uint32),
        ("kind", ctypes.c_uint32),
        ("signal", ctypes.c_uint32),
        ("line", ctypes.c_int32),
        ("address", ctypes.c_uint64),
        ("pc", ctypes.c_uint64),
        ("block", ctypes.c_uint32 * 3),
        ("thread", ctypes.c_uint32 * 3),
        ("access", ctypes.c_uint32),
        ("place", ctypes.c_uint32),
        ("offset", ctypes.c_int64),
        ("switches", ctypes.c_uint64),
        ("warnings", ctypes.c_uint32),
        ("warning_line", ctypes.c_int32),
        ("text", ctypes.c_char * 3072),
    )


class LaunchC(ctypes.Structure):
    """runtime/abi.h: wb_launch."""

    _fields_ = (
        ("entry", ctypes.c_void_p),
        ("args", ctypes.c_void_p),
        ("grid", ctypes.c_uint32 * 3),
        ("block", ctypes.c_uint32 * 3),
        ("shared_bytes", ctypes.c_uint32),
        ("cooperative", ctypes.c_uint32),
        ("workers", ctypes.c_uint32),
        ("step", ctypes.c_uint32),
        ("seed", ctypes.c_uint64),
    )


class TrackedC(ctypes.Structure):
    """runtime/abi.h: wb_tracked."""

    _fields_ = (
        ("address", ctypes.c_uint64),
        ("nbytes", ctypes.c_uint64),
        ("low", ctypes.c_uint64),
        ("high", ctypes.c_uint64),
        ("writable", ctypes.c_uint32),
        ("written", ctypes.c_uint32),
    )


class VariableC(ctypes.Structure):
    """runtime/abi.h: wb_variable."""

    _fields_ = (("offset", ctypes.c_uint64), ("size", ctypes.c_uint64), ("ignored", ctypes.c_uint64))


class FarBufferC(ctypes.Structure):
    """runtime/abi.h: wb_far_buffer."""

    _fields_ = (
        ("start", ctypes.c_uint64),
        ("nbytes", ctypes.c_uint64),
        ("low", ctypes.c_uint64),
        ("high", ctypes.c_uint64),
        ("itemsize", ctypes.c_uint64),
    )


class FindingC(ctypes.Structure):
    """runtime/abi.h: wb_finding."""

    _fields_ = (
        ("kind", ctypes.c_uint32),
        ("bytes", ctypes.c_uint32),
        ("how", ctypes.c_uint32),
        ("other_how", ctypes.c_uint32),
        ("address", ctypes.c_uint64),
        ("pc", ctypes.c_uint64),
        ("other_pc", ctypes.c_uint64),
        ("block", ctypes.c_uint32 * 3),
        ("thread", ctypes.c_uint32 * 3),
        ("other_block", ctypes.c_uint32 * 3),
        ("other_thread", ctypes.c_uint32 * 3),
        ("step", ctypes.c_uint32),
        ("space", ctypes.c_uint32),
        ("offset", ctypes.c_int64),
        ("buffer", ctypes.c_uint32),
        ("count", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32 * 2),
    )


MAX_FINDINGS = 64


class FindingsC(ctypes.Structure):
    """runtime/abi.h: wb_findings."""

    _fields_ = (
        ("count", ctypes.c_uint32),
        ("incomplete", ctypes.c_uint32),
        ("accesses", ctypes.c_uint64),
        ("launches", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32 * 11),
        ("item", FindingC * MAX_FINDINGS),
    )


FINDINGS_AT = 4096
"""Bytes from the report to the findings of an instrumented run."""
COUNTS_AT = FINDINGS_AT + 12288
"""Bytes from the report to what an instrumented run counts (counts.py)."""
REPORT_BYTES = COUNTS_AT + (1 << 20)
assert ctypes.sizeof(Report) <= FINDINGS_AT
assert ctypes.sizeof(FindingsC) <= COUNTS_AT - FINDINGS_AT
