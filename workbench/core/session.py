"""A session's state as a fold over its events; the engine and every screen run this same code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

import msgspec

from workbench.core import events as ev
from workbench.core.candidate import CandidateId, CandidateView, State, VerdictSummary
from workbench.core.plan import Knob
from workbench.core.task import FunctionalForm, TaskInfo

NOTICES_KEPT = 200

_OUTCOME_STATE: dict[str, State] = {"pass": "passed", "fail": "failed", "error": "could not judge"}


class SessionState(msgspec.Struct, kw_only=True):
    """The state after `seq` events. Its values are frozen; only `apply` replaces them."""

    seq: int = 0
    started: ev.SessionStarted | None = None
    task: TaskInfo | None = None
    revision: int = 0
    task_error: str | None = None
    """Why the task as saved now cannot be loaded; None while it can."""
    functional: FunctionalForm | None = None
    candidates: dict[CandidateId, CandidateView] = {}
    """In the order in which they were added."""
    knobs: dict[CandidateId, tuple[Knob, ...]] = {}
    notices: list[ev.Noticed] = []
    resumed_seq: int = 0
    """The number of the event with which this engine took the session up; 0 for the one that started it."""
    last_proposals: ev.ProposalsMade | None = None

    def apply(self, event: ev.Event) -> None:
        """Fold one event in. Events of candidates that are unknown (a log from a newer version) are passed over."""
        if event.seq:
            self.seq = event.seq
        match event:
            case ev.SessionStarted():
                self.started = event
            case ev.SessionResumed():
                self.resumed_seq = event.seq
                self._interrupt()
            case ev.TaskLoaded():
                self._load(event)
            case ev.TaskBroken():
                self.task_error = event.message
            case ev.FunctionalFormFound():
                if event.revision == self.revision:
                    self.functional = event.form
            case ev.CandidateAdded():
                self._add(event)
            case ev.CandidateQueued():
                self._change(event.candidate, state="queued", state_reason="")
            case ev.JudgingStarted():
                self._change(event.candidate, state="judging", state_reason="")
            case ev.VerdictReached():
                self._judge(event)
            case ev.CandidateCancelled():
                self._change(event.candidate, state="cancelled", state_reason=event.reason)
            case ev.CandidateMarked():
                self._change(
                    event.candidate, mark=event.mark, mark_reason=event.reason, mark_author=event.author
                )
            case ev.ProposalsMade():
                self.last_proposals = event
            case ev.Noticed():
                self.notices = [*self.notices[-NOTICES_KEPT + 1 :], event]
            case _:
                assert_never(event)

    @property
    def basis(self) -> str | None:
        return self.task.basis if self.task is not None else None

    @property
    def warnings(self) -> list[ev.Noticed]:
        """What is worth a person's attention since this engine took the session up, oldest first, each text once.

        Number 0 is what could not be written down, on a read-only disk.
        """
        since = [n for n in self.notices if n.level != "info" and (not n.seq or n.seq > self.resumed_seq)]
        return list({notice.text: notice for notice in since}.values())

    def _change(self, candidate: CandidateId, **fields: object) -> None:
        view = self.candidates.get(candidate)
        if view is not None:
            self.candidates[candidate] = msgspec.structs.replace(view, **fields)

    def _interrupt(self) -> None:
        # A verdict that was under way when the engine died is redone: it is queued again.
        for view in list(self.candidates.values()):
            if view.state == "judging":
                self._change(view.id, state="queued", state_reason="interrupted")

    def _load(self, event: ev.TaskLoaded) -> None:
        if event.revision != self.revision:
            self.functional = None
        self.task, self.revision, self.task_error = event.info, event.revision, None
        for view in list(self.candidates.values()):
            if view.verdict is None:
                continue
            if view.verdict.basis != event.info.basis and view.state in (
                "passed",
                "failed",
                "could not judge",
            ):
                self._change(view.id, state="stale", state_reason=_staleness(view.verdict, event))
            elif view.verdict.basis == event.info.basis and view.state == "stale":
                self._change(view.id, state=_OUTCOME_STATE[view.verdict.outcome], state_reason="")

    def _add(self, event: ev.CandidateAdded) -> None:
        duplicate = event.duplicate_of is not None
        self.candidates[event.candidate] = CandidateView(
            id=event.candidate,
            name=event.name,
            sha256=event.sha256,
            provenance=event.provenance,
            parents=event.parents,
            author=event.author,
            added_at=event.at,
            revision=event.revision,
            knobs=event.knobs,
            origin_path=event.origin_path,
            note=event.note,
            state="duplicate" if duplicate else "queued",
            state_reason=f"same tokens as {event.duplicate_of}" if duplicate else "",
            duplicate_of=event.duplicate_of,
        )

    def _judge(self, event: ev.VerdictReached) -> None:
        summary = event.summary
        fresh = self.task is None or summary.basis == self.task.basis
        self._change(
            event.candidate,
            verdict=summary,
            verdict_sha256=event.verdict_sha256,
            sass_sha256=event.sass_sha256,
            state=_OUTCOME_STATE[summary.outcome] if fresh else "stale",
            state_reason="" if fresh else "judged under another revision of the task",
        )
        if event.candidate in self.candidates:
            self.knobs[event.candidate] = event.knobs


def _staleness(verdict: VerdictSummary, event: ev.TaskLoaded) -> str:
    if verdict.revision != event.revision:
        return f"judged under task revision {verdict.revision}"
    return "judged under other versions of torch, the driver or the judge"


def fold(events: Iterable[ev.Event]) -> SessionState:
    """The state after all of `events`."""
    state = SessionState()
    for event in events:
        state.apply(event)
    return state
