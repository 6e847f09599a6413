"""Which candidate a judge takes next, and what is recorded of it until its verdict is kept.

Everything runs on one loop, and nothing yields between looking and recording: two judges never take the same one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import msgspec

from workbench.core.candidate import CandidateId, CandidateView
from workbench.core.errors import JudgeError, SessionError
from workbench.core.events import (
    CandidateCancelled,
    CandidateQueued,
    Event,
    JudgingStarted,
    Noticed,
)
from workbench.core.messages import Judged
from workbench.core.task import TaskInfo
from workbench.core.verdict import Target, Verdict
from workbench.engine.blame import DEATHS, Blame
from workbench.engine.integrity import unchanged
from workbench.engine.journal import Journal
from workbench.engine.keeping import keep_verdict
from workbench.engine.store import StoreError
from workbench.engine.summary import unjudged
from workbench.engine.turns import Urgent, order

T = TypeVar("T")
Say = Callable[[str], None]
"""Told why nothing can be written now."""

DISK_RETRY_S = 1.0


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate that a judge took, and the task as it was then."""

    view: CandidateView
    source: bytes
    task: TaskInfo
    revision: int

    @property
    def candidate(self) -> CandidateId:
        """Its id."""
        return self.view.id

    @property
    def path(self) -> str:
        """How diagnostics name it."""
        return self.view.origin_path or f"{self.view.id}.cu"


class Docket:
    """A session's waiting candidates."""

    def __init__(self, journal: Journal, target: Target) -> None:
        self.urgent = Urgent()
        self.blame = Blame()
        self.count = 0
        """How many waited when somebody last looked."""
        self._journal = journal
        self._target: Target = target
        self._asked: dict[CandidateId, tuple[str, str] | None] = {}
        """Of candidates that a judge has: who wants them cancelled and why, or None to put them back."""

    def waiting(self) -> list[CandidateId]:
        """All that wait, in the order in which they are judged."""
        found = order(self._journal.state, self.urgent, self.blame.orphaned)
        self.count = len(found)
        return found

    def next_for(self, judge: int, *, alone: bool) -> CandidateId | None:
        """Whose turn it is at this judge; with `alone` there is no other that could take what it died under."""
        for candidate in self.waiting():
            if alone or not self.blame.died_under(candidate, judge):
                return candidate
        return None

    def take(self, candidate: CandidateId) -> Case | None:
        """Record that it is judged from now on; None where its file is gone or was edited, which cancels it."""
        state = self._journal.state
        view = state.candidates[candidate]
        assert state.task is not None
        try:
            source = self._journal.store.read_candidate(candidate)
            unchanged(view, source)
        except SessionError as error:
            self._drop(candidate)
            self._journal.record(CandidateCancelled(candidate=candidate, reason=str(error)))
            return None
        self._journal.record(JudgingStarted(candidate=candidate, revision=state.revision))
        self.count = max(0, self.count - 1)
        return Case(view=view, source=source, task=state.task, revision=state.revision)

    def let_go(self, candidate: CandidateId, cancelled: tuple[str, str] | None) -> None:
        """A judge has `candidate` and shall stop: it is cancelled for (reason, author), or put back for None."""
        if self._asked.get(candidate) is None:
            self._asked[candidate] = cancelled

    def leaving(self, candidate: CandidateId) -> bool:
        """Its judge was asked to let go of it."""
        return candidate in self._asked

    def cancel(self, candidate: CandidateId, reason: str, author: str) -> None:
        """Take out one that waits."""
        self._drop(candidate)
        self._journal.record(CandidateCancelled(candidate=candidate, reason=reason), author=author)

    async def judged(self, case: Case, judge: int, judged: Judged, say: Say) -> None:
        """Keep the verdict, or do what was asked of the candidate where there is none."""
        candidate = case.candidate
        wanted = self._asked.pop(candidate, ("the judge stopped", ""))
        if judged.verdict is None:
            await self._without_verdict(candidate, wanted, say)
            return
        self.blame.judged(candidate, judge)
        await self._keep(case, judged, judged.verdict, say)

    async def orphaned(self, case: Case, judge: int, died: JudgeError, say: Say) -> None:
        """The judge ended under the candidate: another try, unless it was to let go of it or it died too often."""
        candidate = case.candidate
        if candidate in self._asked:  # whoever ended it did so for that
            await self._without_verdict(candidate, self._asked.pop(candidate), say)
            return
        self.blame.died(candidate, judge)
        if self.blame.hopeless(candidate):
            reason = f"The judge died {DEATHS} times under this candidate. {died.what}"
            verdict = unjudged(case.view, case.task, case.revision, self._target, reason)
            self.blame.forget(candidate)
            await self._keep(case, Judged(candidate=candidate, verdict=verdict), verdict, say)
            return
        text = f"{died.what} It was judging {candidate}, which is judged once more."
        await self.record(say, Noticed(text=text, level="warning"), CandidateQueued(candidate=candidate))

    async def record(self, say: Say, *events: Event, author: str = "") -> None:
        """Record `events`, as soon as the disk takes them."""
        await self._persist(lambda: self._journal.record(*events, author=author), say)

    async def _without_verdict(
        self, candidate: CandidateId, wanted: tuple[str, str] | None, say: Say
    ) -> None:
        if wanted is None:
            await self.record(say, CandidateQueued(candidate=candidate))
            return
        reason, author = wanted
        self._drop(candidate)
        await self.record(say, CandidateCancelled(candidate=candidate, reason=reason), author=author)

    async def _keep(self, case: Case, judged: Judged, verdict: Verdict, say: Say) -> None:
        self.urgent.done(case.candidate)
        await self._persist(
            lambda: keep_verdict(
                self._journal,
                case.candidate,
                verdict,
                basis=case.task.basis,
                knobs=judged.knobs,
                sass=judged.sass,
            ),
            say,
        )

    async def _persist(self, write: Callable[[], T], say: Say) -> T:
        """Repeat `write` while the disk is full or read-only, so that a verdict that was reached is not lost."""
        while True:
            try:
                return write()
            except StoreError as error:
                say(str(error))
                await asyncio.sleep(DISK_RETRY_S)

    def _drop(self, candidate: CandidateId) -> None:
        self.urgent.done(candidate)
        self.blame.forget(candidate)
