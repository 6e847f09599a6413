"""The engine's judges at work: as many as there are posts, each with its own life (`seat`), on one docket.

A candidate goes to the judge that is free next. What others want done (`wake`, `reload`, `cancel`) reaches the judge
that it concerns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from workbench.core.candidate import CandidateId, CandidateView
from workbench.core.errors import SessionError
from workbench.engine.docket import Docket
from workbench.engine.form import FormFinder
from workbench.engine.journal import Journal
from workbench.engine.loading import Loading
from workbench.engine.seat import BACKOFF_S, Post, Seat
from workbench.engine.standing import compose
from workbench.engine.tasks import TaskRevisions
from workbench.engine.turns import PEOPLE


class Bench:
    """Judges a session's candidates until it is stopped."""

    def __init__(
        self,
        journal: Journal,
        task: TaskRevisions,
        *,
        command: Sequence[str] | None = None,
        propose: Callable[[], Awaitable[None]],
    ) -> None:
        """`command` starts a judge (None: this Python's); `propose` is awaited once a task was loaded."""
        self.journal = journal
        self.docket = Docket(journal, task.target)
        self.loading = Loading(task)
        self.forms = FormFinder(journal, self.docket)
        self.on_task: Callable[[], None] = lambda: None
        """Called after the task was loaded or found broken: its sources may be others now."""
        self._command = command
        self._propose = propose
        self._seats: list[Seat] = []

    @property
    def busy(self) -> bool:
        """Something is being judged or waits for it, and can be."""
        state, seats = self.journal.state, self._seats
        cannot_start = bool(seats) and all(seat.out or seat.failures >= len(BACKOFF_S) for seat in seats)
        stuck = cannot_start or self.journal.store.refusal is not None or state.task_error is not None
        return any(seat.candidate for seat in seats) or (not stuck and bool(self.docket.waiting()))

    def wake(self) -> None:
        """Something was added or queued, or a judge is free for it."""
        self._make_way()
        self.show()
        for seat in self._seats:
            seat.wake()

    def reload(self) -> None:
        """The task's sources changed: what is being judged is put back, and the task loaded again."""
        self.loading.saved()
        for seat in self._seats:
            if seat.candidate is not None:
                seat.let_go(None)
            seat.wake()

    def cancel(self, candidate: CandidateId, reason: str, author: str) -> None:
        """Take `candidate` out: at once where it waits, as soon as its judge lets go of it otherwise.

        Raises:
            SessionError: it neither waits nor is judged.
        """
        view = self.journal.state.candidates[candidate]
        self.docket.urgent.done(candidate)
        if view.state in ("queued", "waiting", "writing"):
            self.docket.cancel(candidate, reason, author)
            self.wake()
            return
        seat = next((seat for seat in self._seats if seat.candidate == candidate), None)
        if seat is None:
            raise _not_cancelled(view)
        seat.let_go((reason, author))

    async def run(self, posts: Sequence[Post] = (Post(),)) -> None:
        """Work with a judge at each of `posts` until cancelled; then the judges and all they started are ended."""
        self._seats = [Seat(number, post, self, self._command) for number, post in enumerate(posts, 1)]
        async with asyncio.TaskGroup() as group:
            for seat in self._seats:
                group.create_task(seat.run())

    # --- what judges ask (seat.Room) --------------------------------------------------------------------------------

    def fellows(self, seat: Seat) -> Sequence[Seat]:
        """The other judges that were not taken out."""
        return [other for other in self._seats if other is not seat and not other.out]

    def show(self) -> None:
        """Tell the screens what the judges do, if that changed."""
        if self._seats:
            progress = compose([seat.standing for seat in self._seats], self.docket.count)
            self.journal.tell(**msgspec.structs.asdict(progress))

    async def loaded(self, good: bool) -> None:
        """The task was loaded and recorded, or found broken."""
        self.on_task()
        if good:
            await self._propose()

    def _make_way(self) -> None:
        """A proposer's candidate does not keep a person waiting: as many as are needed are put back."""
        urgent = [candidate for candidate in self.docket.waiting() if candidate in self.docket.urgent]
        free = sum(seat.resting and seat.next_candidate() is not None for seat in self._seats)
        leaving = sum(
            seat.candidate is not None and self.docket.leaving(seat.candidate) for seat in self._seats
        )
        for seat in reversed(self._seats):
            if len(urgent) <= free + leaving:
                return
            if seat.candidate is not None and self._gives_way(seat.candidate):
                seat.let_go(None)
                leaving += 1

    def _gives_way(self, candidate: CandidateId) -> bool:
        if candidate in self.docket.urgent or self.docket.leaving(candidate):
            return False
        return self.journal.state.candidates[candidate].provenance not in PEOPLE


def _not_cancelled(view: CandidateView) -> SessionError:
    """Why a candidate that neither waits nor is judged cannot be cancelled."""
    if view.state == "judging":  # judged, but not on disk yet
        return SessionError(
            f"The verdict of {view.id} is reached and waits for the disk.", do="Free some space."
        )
    if view.verdict is not None and view.state != "cancelled":
        return SessionError(f"{view.id} has its verdict.", do="Press v to judge it again.")
    return SessionError(f"{view.id} is {view.state} and waits for nothing.", do="Press v to have it judged.")
