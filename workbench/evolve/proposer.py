"""What every source of candidates has in common: it is asked for a round, and answers with files."""

from __future__ import annotations

from typing import Protocol

import msgspec

from workbench.core.candidate import CandidateId, Provenance
from workbench.core.task import TaskInfo


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate that is not in the session yet."""

    source: bytes
    name: str
    """Short words for a person."""
    parents: tuple[CandidateId, ...] = ()
    knobs: dict[str, int | float | bool | str] = {}
    note: str = ""


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """What a proposer came up with at one time; none at all is an answer, too."""

    provenance: Provenance
    proposals: tuple[Proposal, ...] = ()
    summary: str
    """One line for the screen: "3 shipped kernels fit this signature"."""


class Proposer(Protocol):
    """A source of candidates. It knows neither the session nor the judge; the engine asks it in a thread.

    A round may take seconds. It raises WorkbenchError where it cannot propose anything for a reason that a person
    should know, and must not touch the disk or change any state: a round may be thrown away. Proposals that the
    session has already are dropped by the engine.
    """

    def propose(self, task: TaskInfo) -> Round:
        """A round for `task`."""
        ...
