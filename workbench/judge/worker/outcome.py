"""What a gate answers, and the ways in which judging can end early."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from workbench.core.verdict import GateStatus
from workbench.runner.host.faults import Fault


@dataclass(frozen=True)
class Finding:
    """What one gate established: `core.verdict.Gate` before it has a name and a duration."""

    status: GateStatus
    reason: str
    """One sentence."""
    evidence: dict[str, Any] = field(default_factory=dict)


class CannotJudge(Exception):
    """The judge cannot do its work here (outcome `error`); never for a candidate's fault."""


class Faulted(Exception):
    """The candidate's run ended in a fault, which fails the gate that `fault` belongs to."""

    def __init__(self, fault: Fault, size: str, case: str) -> None:
        super().__init__(fault.message)
        self.fault = fault
        self.size = size
        self.case = case
