"""From a dead or failing runner's report to a fault that names kernel, block, thread, line and buffer."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Literal

import msgspec

from workbench.core.build import HostBuild
from workbench.runner.host.accesses import Accesses, AccessFinding
from workbench.runner.host.counts import Counts
from workbench.runner.host.messages import Report

FaultKind = Literal["illegal access", "divergent barrier", "hang", "crash", "unsupported", "launch"]
_KINDS: dict[int, FaultKind] = {
    1: "illegal access",
    2: "divergent barrier",
    3: "crash",
    4: "launch",
    5: "illegal access",
    6: "illegal access",
}
_SIGNAL, _MISALIGNED = 1, 6


class Fault(msgspec.Struct, frozen=True):
    """Why a call did not come to its end."""

    kind: FaultKind
    message: str
    """One sentence: what happened, where."""
    kernel: str = ""
    block: tuple[int, int, int] | None = None
    thread: tuple[int, int, int] | None = None
    line: int = 0
    """In the candidate's own file; 0 where unknown."""
    buffer: str = ""
    """Name of the buffer at or near the address, or "shared memory", "stack"."""
    index: int | None = None
    """Byte offset in that buffer: negative before it, at least its size behind it."""
    access: Literal["read", "write", ""] = ""


class CallReport(msgspec.Struct, frozen=True):
    """How a call went. Of this only `fault` being None matters, and the arena's bytes."""

    fault: Fault | None
    seconds: float
    """Measured by the client: by the clock, or the processor time where that is less (the machine was busy)."""
    launches: int
    switches: int
    """Between fibers, as the runner says."""
    warnings: tuple[str, ...] = ()
    """What the run does on the device, though CUDA's guide leaves it undefined."""
    seen: Accesses | None = None
    """What an instrumented build saw, also where the call ended in a fault; None for a plain build."""
    counts: Counts | None = None
    """What an instrumented build counted; None for a plain build."""

    @property
    def findings(self) -> tuple[AccessFinding, ...]:
        """What an instrumented build found; () for a plain one."""
        return self.seen.findings if self.seen is not None else ()


class Placed(msgspec.Struct, frozen=True):
    """A buffer as the runner has it."""

    name: str
    address: int
    """Of its first byte."""
    nbytes: int
    low: int
    """First address that is nearer to this buffer than to its neighbours."""
    high: int
    writable: bool
    itemsize: int = 1
    """Bytes of an element, where it is known."""


def explain(
    report: Report, kernel: str, placed: Sequence[Placed], build: HostBuild, exit_code: int | None
) -> Fault:
    """A fault from what the runner left; the report is hostile, so every field is only shown."""
    kind = int(report.kind)
    block, thread = _triple(report.block), _triple(report.thread)
    where = f"{kernel}, block {_point(block)}, thread {_point(thread)}"
    if kind == 0 or kind not in _KINDS:
        how = "ended" if exit_code is None else _how(exit_code)
        return Fault("crash", f"the runner {how}" + (f" while {kernel} ran" if kernel else ""), kernel)
    if kind not in (_SIGNAL, _MISALIGNED):
        text = report.text.decode(errors="replace") or "no reason given"
        line = max(0, min(int(report.line), 10**7))
        at = f"{where}, line {line}" if line else where
        return Fault(_KINDS[kind], f"{text} ({at})", kernel, block, thread, line)
    line = line_of(build.library, int(report.pc)) if report.pc else 0
    at = f"{where}, line {line}" if line else where
    number = int(report.signal)
    if kind == _SIGNAL and number not in (signal.SIGSEGV, signal.SIGBUS):
        signals: dict[int, str] = {
            signal.SIGFPE: "integer division by zero (undefined on the device)",
            signal.SIGILL: "an instruction that must not be reached",
            signal.SIGABRT: "the code aborted",
            signal.SIGTRAP: "a trap",
        }
        what = signals.get(number, f"signal {number}")
        return Fault("crash", f"{what} ({at})", kernel, block, thread, line)
    access: Literal["read", "write", ""] = (
        "write" if report.access == 2 else "read" if report.access == 1 else ""
    )
    verb = {"write": "write to", "read": "read of"}.get(access, "access to")
    address = int(report.address)
    buffer, index = "", None
    if kind == _MISALIGNED:
        near = next((p for p in placed if p.low <= address < p.high), None)
        if report.place == 2:
            buffer, index = "shared memory", int(report.offset)
        elif near is not None and report.place == 0:
            buffer, index = near.name, address - near.address
        place = f"{buffer} at byte {index}" if buffer else f"address 0x{address:x}"
        text = f"misaligned {verb} {place}: a value of its type lies at a multiple of {number} bytes"
    elif report.place == 1:
        buffer = "stack"
        text = "a thread's stack overflowed (128 KiB on the host)"
    elif report.place == 2:
        buffer, index = "shared memory", int(report.offset)
        text = f"{verb} dynamic shared memory at byte {index}, outside of it"
    else:
        near = next((p for p in placed if p.low <= address < p.high), None)
        if near is None:
            text = (
                f"{verb} a null pointer"
                if address < 4096
                else f"{verb} address 0x{address:x}, which is in no buffer"
            )
        else:
            buffer, index = near.name, address - near.address
            if 0 <= index < near.nbytes:
                text = (
                    f"{verb} {buffer} at byte {index}: it is read-only"
                    if not near.writable
                    else f"{verb} {buffer} at byte {index}"
                )
            elif index < 0:
                text = f"{verb} {buffer} at byte {index}, before its start"
            else:
                text = f"{verb} {buffer} at byte {index}, past its {near.nbytes} bytes"
    return Fault("illegal access", f"{text} ({at})", kernel, block, thread, line, buffer, index, access)


def _triple(of: Sequence[int]) -> tuple[int, int, int]:
    return int(of[0]), int(of[1]), int(of[2])


def _point(p: Sequence[int]) -> str:
    return "(" + ", ".join(map(str, p)) + ")"


def _how(exit_code: int) -> str:
    if exit_code < 0:
        try:
            return f"was ended by {signal.Signals(-exit_code).name}"
        except ValueError:
            return f"was ended by signal {-exit_code}"
    return f"ended itself with exit code {exit_code}"


def warnings_of(report: Report) -> tuple[str, ...]:
    """The report's warnings, in words."""
    bits, line = int(report.warnings), int(report.warning_line)
    found = []
    if bits & 1:
        found.append(
            f"threads returned while others of their block went on to __syncthreads() (line {line}): works from Volta on, "
            "but CUDA's guide wants every thread at every barrier"
        )
    if bits & 2:
        found.append(f"__syncthreads() in different lines met each other (line {line})")
    return tuple(found)


def line_of(library: bytes, pc: int) -> int:
    """The line of the candidate's file at `pc` (relative to the load address); 0 where it is not known.

    In code that was inlined from the prelude (`atomicAdd`) it is the last line of the candidate before it.
    """
    import io

    from elftools.elf.elffile import ELFFile  # only when something went wrong: 0.1 s

    try:
        dwarf = ELFFile(io.BytesIO(library)).get_dwarf_info()
        for unit in dwarf.iter_CUs():
            program = dwarf.line_program_for_CU(unit)
            if program is None:
                continue
            base = 1 if program["version"] < 5 else 0
            names = [_name(f.name) for f in program["file_entry"]]
            previous, own = None, 0
            for entry in program.get_entries():
                state = entry.state
                if state is None:
                    continue
                if previous is not None and previous.address <= pc < state.address:
                    return own
                if state.end_sequence:
                    previous, own = None, 0
                    continue
                previous = state
                index = state.file - base
                name = names[index] if 0 <= index < len(names) else ""
                if (
                    state.line
                    and name
                    and not name.endswith((".h", ".hpp", "workbench-entries", "runtime.cpp"))
                ):
                    own = int(state.line)
        return 0
    except Exception:  # a hostile or odd object file: no line is an answer too
        return 0


def _name(name: bytes | str) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else name
