"""The facts of a session: what is written to events.jsonl, sent to clients, and folded into a `SessionState`.

An event is on disk (fdatasync) before anyone is shown it. Streamed tokens and gate ticks are not events
(`core.messages`). Unknown fields are allowed, so that an older reader survives a newer log.
"""

from __future__ import annotations

import msgspec

from workbench.core.candidate import CandidateId, Mark, Provenance, VerdictSummary
from workbench.core.plan import Knob
from workbench.core.task import FunctionalForm, TaskInfo


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    seq: int = 0
    """1 for the first event of a session; the store assigns it."""
    at: float = 0.0
    """Seconds since the epoch; the store assigns it."""
    author: str = ""
    """Who caused it; "" is the engine itself."""


class SessionStarted(_Event, frozen=True, kw_only=True, tag="session_started"):
    """The first event of every session."""

    task_path: str
    task_name: str
    version: str
    target: str
    arch: str = ""
    schema: int = 1


class SessionResumed(_Event, frozen=True, kw_only=True, tag="session_resumed"):
    version: str


class TaskLoaded(_Event, frozen=True, kw_only=True, tag="task_loaded"):
    """The judge loaded the task; a changed fingerprint is a new revision."""

    revision: int
    info: TaskInfo


class TaskBroken(_Event, frozen=True, kw_only=True, tag="task_broken"):
    """The task, as saved, cannot be loaded; the last good revision's verdicts stay shown."""

    message: str


class FunctionalFormFound(_Event, frozen=True, kw_only=True, tag="functional_form_found"):
    revision: int
    form: FunctionalForm


class CandidateAdded(_Event, frozen=True, kw_only=True, tag="candidate_added"):
    """Its source is in candidates/<id>.cu already."""

    candidate: CandidateId
    name: str
    sha256: str
    provenance: Provenance
    parents: tuple[CandidateId, ...] = ()
    revision: int = 1
    knobs: dict[str, int | float | bool | str] = {}
    origin_path: str | None = None
    note: str = ""
    duplicate_of: CandidateId | None = None
    """Set where the same tokens are already in the population: it is never judged."""


class CandidateQueued(_Event, frozen=True, kw_only=True, tag="candidate_queued"):
    """Waits for the judge: new, asked for again, or stale."""

    candidate: CandidateId


class JudgingStarted(_Event, frozen=True, kw_only=True, tag="judging_started"):
    candidate: CandidateId
    revision: int


class VerdictReached(_Event, frozen=True, kw_only=True, tag="verdict_reached"):
    """The whole verdict is on disk already, and in verdicts/<id>.json from now on."""

    candidate: CandidateId
    summary: VerdictSummary
    verdict_sha256: str = ""
    """Of that file's bytes, hexadecimal; "" in logs of versions that did not record it."""
    sass_sha256: str = ""
    """Of profiles/<id>.sass, hexadecimal; "" where this judging left none."""
    knobs: tuple[Knob, ...] = ()
    """The knobs that its plan offers, for the sweep."""


class CandidateCancelled(_Event, frozen=True, kw_only=True, tag="candidate_cancelled"):
    candidate: CandidateId
    reason: str = ""


class CandidateMarked(_Event, frozen=True, kw_only=True, tag="candidate_marked"):
    """A person accepted, rejected or shelved it, or took the mark back (`mark` None)."""

    candidate: CandidateId
    mark: Mark | None
    reason: str = ""


class ProposalsMade(_Event, frozen=True, kw_only=True, tag="proposals_made"):
    """A proposer finished a round: "shipped kernels: 3 fit this signature"."""

    proposer: Provenance
    summary: str
    added: tuple[CandidateId, ...] = ()


class Noticed(_Event, frozen=True, kw_only=True, tag="noticed"):
    """Something a person should know that belongs to no candidate: a torn log line, a judge that was restarted."""

    text: str
    level: str = "info"
    """"info", "warning" or "error"."""


Event = (
    SessionStarted
    | SessionResumed
    | TaskLoaded
    | TaskBroken
    | FunctionalFormFound
    | CandidateAdded
    | CandidateQueued
    | JudgingStarted
    | VerdictReached
    | CandidateCancelled
    | CandidateMarked
    | ProposalsMade
    | Noticed
)

encode_event = msgspec.json.Encoder().encode
decode_event = msgspec.json.Decoder(Event).decode
