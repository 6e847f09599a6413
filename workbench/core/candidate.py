"""A candidate's states, marks and provenance: the words that every screen, log and report uses."""

from __future__ import annotations

from typing import Literal

import msgspec

CandidateId = str

State = Literal[
    "waiting",  # for a person's approval
    "writing",  # a proposer is at it
    "queued",
    "judging",
    "passed",
    "failed",
    "could not judge",
    "duplicate",
    "cancelled",
    "stale",
    "retired",
]

Mark = Literal["accepted", "rejected", "shelved"]
"""A person's word; *pass* is the judge's. They share no colour and no letter."""

Provenance = str
"""One of PROVENANCES, or a model's name."""

PROVENANCES: tuple[str, ...] = ("human", "archive", "tune", "crossover", "import", "agent")


class VerdictSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What the population shows of a verdict; the whole of it is in verdicts/<id>.json."""

    outcome: Literal["pass", "fail", "error"]
    failed_gate: str | None = None
    first_line: str
    basis: str
    """`TaskInfo.basis` it was judged under; another one makes it stale."""
    revision: int
    seconds: float
    registers: int | None = None
    spill_bytes: int | None = None
    shared_bytes: int | None = None
    occupancy: float | None = None
    """Of the costliest kernel."""
    warnings: int = 0
    unchecked: int = 0
    rank: float | None = None
    """Smaller is better: microseconds (cuda) or the estimate (host); None where there is neither."""


class CandidateView(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the fold knows of one candidate."""

    id: CandidateId
    name: str
    """Short words for a person: "warp-per-row", "online.cu BLOCK=512"."""
    sha256: str
    provenance: Provenance
    parents: tuple[CandidateId, ...] = ()
    author: str = ""
    added_at: float = 0.0
    """Seconds since the epoch."""
    revision: int = 1
    knobs: dict[str, int | float | bool | str] = {}
    origin_path: str | None = None
    """The file outside the session that it came from; saving that file adds a child."""
    note: str = ""
    state: State = "queued"
    state_reason: str = ""
    """Why it is a duplicate, cancelled, stale or retired."""
    duplicate_of: CandidateId | None = None
    mark: Mark | None = None
    mark_reason: str = ""
    mark_author: str = ""
    verdict: VerdictSummary | None = None
    verdict_sha256: str = ""
    """Of verdicts/<id>.json, hexadecimal; "" where the log does not say."""
    sass_sha256: str = ""
    """Of profiles/<id>.sass, the machine code that its verdict's audit read; "" where there is none."""
