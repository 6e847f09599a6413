"""Which gate a fault of the candidate's run belongs to, and what is known of it."""

from __future__ import annotations

from workbench.judge.worker.outcome import Faulted
from workbench.runner.host.faults import Fault


def gate_of(fault: Fault, during: str, read_only: set[str]) -> str:
    """The gate that a fault belongs to: the one that ran, unless the fault itself names its cause."""
    if fault.kind == "illegal access":
        if fault.buffer == "stack":
            return during  # recursion or large arrays, not an index
        if fault.access == "write" and fault.buffer in read_only and "read-only" in fault.message:
            return "inputs_intact"
        return "bounds"
    if fault.kind == "divergent barrier":
        return "determinism"
    return during


def fault_evidence(faulted: Faulted) -> dict[str, object]:
    """What is known of kernel, block, thread and line."""
    fault = faulted.fault
    known: dict[str, object] = {
        "fault": fault.kind,
        "kernel": fault.kernel,
        "block": list(fault.block) if fault.block is not None else None,
        "thread": list(fault.thread) if fault.thread is not None else None,
        "line": fault.line,
        "buffer": fault.buffer,
        "byte_offset": fault.index,
        "access": fault.access,
        "size": faulted.size,
        "case": faulted.case,
    }
    return {name: value for name, value in known.items() if value not in (None, "")}
