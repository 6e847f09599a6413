"""The engine's judge at work: started, loaded with the task, given one candidate after another, and replaced when it dies.

One coroutine does all of it, one thing at a time, so that every rule about the order stands in `_step`. What others
want done (`wake`, `reload`, `cancel`) is noted and taken up between or, where it cannot wait, breaks into what runs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from workbench.core.candidate import CandidateId, CandidateView
from workbench.core.errors import JudgeError, SessionError
from workbench.core.events import (
    CandidateCancelled,
    CandidateQueued,
    FunctionalFormFound,
    JudgingStarted,
    Noticed,
)
from workbench.core.messages import GateTicked, Judged
from workbench.core.plan import Knob
from workbench.core.task import FunctionalForm
from workbench.core.verdict import Verdict
from workbench.engine.integrity import unchanged
from workbench.engine.journal import Journal
from workbench.engine.keeping import keep_verdict
from workbench.engine.population import Population
from workbench.engine.store import StoreError
from workbench.engine.summary import unjudged
from workbench.engine.tasks import TaskRevisions
from workbench.engine.turns import PEOPLE, Urgent, order
from workbench.judge.client import FORM_LIMIT_S, FormLimitError, JudgeClient

T = TypeVar("T")

CANCEL_LIMIT_S = 5.0
"""How long a cancelled candidate may take to end before its judge is ended."""
RELOAD_PATIENCE_S = 3.0
"""A task saved while it is loading: how long the loading may go on before its judge is ended."""
FORM_PATIENCE_S = 5.0
"""A task saved, or a candidate that waits, while the functional form is looked for: how long that may go on."""
FORM_TRIES = 2
DISK_RETRY_S = 1.0
DEATHS = 2
"""A candidate under which the judge died so often could not be judged."""
BACKOFF_S = (0.2, 1.0, 3.0, 10.0, 30.0)


class Bench:
    """Judges a session's candidates, one at a time, until it is stopped."""

    def __init__(
        self,
        journal: Journal,
        population: Population,
        task: TaskRevisions,
        *,
        command: Sequence[str] | None = None,
        propose: Callable[[], Awaitable[None]],
    ) -> None:
        """`command` starts the judge (None: this Python's); `propose` is awaited once a task was loaded."""
        self.urgent = Urgent()
        self._journal = journal
        self._population = population
        self._task = task
        self._command = command
        self._propose = propose
        self._client: JudgeClient | None = None
        self._dirty = True
        self._news = asyncio.Event()
        self._judging: CandidateId | None = None
        self._turn = 0
        self._cancelled: dict[CandidateId, tuple[str, str] | None] = {}
        self._deaths: dict[CandidateId, int] = {}
        self._form_tries: dict[str, int] = {}
        """By the task's basis, how often its functional form was looked for."""
        self._failed_starts = 0
        self._watchdogs: set[asyncio.Task[None]] = set()
        self.on_task: Callable[[], None] = lambda: None
        """Called after the task was loaded or found broken: its sources may be others now."""

    @property
    def busy(self) -> bool:
        """Something is being judged or waits for it, and can be."""
        state = self._journal.state
        cannot_start = self._failed_starts >= len(BACKOFF_S)
        stuck = cannot_start or self._journal.store.refusal is not None or state.task_error is not None
        return self._judging is not None or (not stuck and bool(order(state, self.urgent)))

    def wake(self) -> None:
        """Something was added or queued."""
        waiting = order(self._journal.state, self.urgent)
        self._journal.tell(queued=len(waiting))
        if waiting and waiting[0] in self.urgent:
            self._make_way()
        self._news.set()

    def reload(self) -> None:
        """The task's sources changed: what is being judged is put back, and the task loaded again."""
        self._dirty = True
        if self._judging is not None:
            self._interrupt(self._judging, None)
        self._news.set()

    def cancel(self, candidate: CandidateId, reason: str, author: str) -> None:
        """Take `candidate` out: at once where it waits, as soon as the judge lets go of it otherwise.

        Raises:
            SessionError: it neither waits nor is judged.
        """
        view = self._journal.state.candidates[candidate]
        self.urgent.done(candidate)
        if view.state in ("queued", "waiting", "writing"):
            self._journal.record(CandidateCancelled(candidate=candidate, reason=reason), author=author)
            self.wake()
        elif candidate == self._judging:
            self._interrupt(candidate, (reason, author))
        else:
            raise _not_cancelled(view)

    async def run(self) -> None:
        """Work until cancelled; then the judge and all it started are ended."""
        try:
            while True:
                self._news.clear()
                try:
                    if await self._step():
                        continue
                    self._journal.tell(activity="", judging=None, gate=None, gates=(), queued=0)
                except StoreError as error:
                    self._journal.tell(activity=str(error))
                    await asyncio.sleep(DISK_RETRY_S)
                    continue
                except JudgeError as error:
                    await self._restart(error)
                    continue
                await self._news.wait()
        finally:
            for watchdog in self._watchdogs:
                watchdog.cancel()
            if self._client is not None:
                await self._client.close()
            self._journal.tell(activity="", judging=None, judge="stopped")

    async def _step(self) -> bool:
        """Do the next thing; False where there is nothing to do until somebody wakes us."""
        client = await self._judge_process()
        if self._dirty:
            await self._load(client)
            return True
        state = self._journal.state
        if state.task is None or state.task_error is not None:
            return False
        waiting = order(state, self.urgent)
        if waiting:
            await self._judge(client, waiting[0], len(waiting) - 1)
            return True
        if state.functional is None and self._form_tries.get(state.task.basis, 0) < FORM_TRIES:
            await self._find_form(client, state.task.basis, state.revision)
            return True
        return False

    async def _judge_process(self) -> JudgeClient:
        if self._client is not None and self._client.alive:
            return self._client
        if self._client is not None:
            await self._client.close()
        self._journal.tell(
            judge="restarting" if self._failed_starts else "starting", activity="starting the judge"
        )
        client = JudgeClient(
            command=self._command, on_progress=lambda text: self._journal.tell(activity=text)
        )
        self._client, self._dirty = client, True
        await client.start()
        return client

    async def _restart(self, error: JudgeError) -> None:
        """The judge ended outside of a candidate, or could not be started: say so once, and try again later."""
        wait_s = BACKOFF_S[min(self._failed_starts, len(BACKOFF_S) - 1)]
        if self._failed_starts == 0:
            with contextlib.suppress(StoreError):
                self._journal.record(Noticed(text=f"{error} It is started again.", level="warning"))
        self._failed_starts += 1
        self._journal.tell(judge="restarting", activity=str(error), judging=None, gate=None, gates=())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), wait_s)

    async def _load(self, client: JudgeClient) -> None:
        self._dirty = False
        self._journal.tell(judge="loading", activity="loading the task", judging=None, gate=None, gates=())
        try:
            good = await self._unless_reloaded(self._task.load(client))
        except BaseException:
            self._dirty = True
            raise
        if good is None:
            return
        self._failed_starts = 0
        self._journal.tell(judge="ready", activity="")
        self.on_task()
        if good:
            await self._propose()

    async def _unless_reloaded(self, loading: Awaitable[bool]) -> bool | None:
        """Await `loading`; where the task is saved again meanwhile it may finish soon, else the judge is ended."""
        task = asyncio.ensure_future(loading)
        try:
            while not task.done():
                news = asyncio.ensure_future(self._news.wait())
                await asyncio.wait({task, news}, return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
                self._news.clear()
                if self._dirty and not task.done():
                    await asyncio.wait({task}, timeout=RELOAD_PATIENCE_S)
                    if not task.done():
                        assert self._client is not None
                        await self._client.close()
                        with contextlib.suppress(JudgeError):
                            await task
                        return None
            return task.result()
        finally:
            task.cancel()

    async def _find_form(self, client: JudgeClient, basis: str, revision: int) -> None:
        self._form_tries[basis] = self._form_tries.get(basis, 0) + 1
        self._journal.tell(activity="finding the functional form")
        finding = asyncio.ensure_future(client.functional_form(limit_s=FORM_LIMIT_S))
        try:
            form = await self._unless_needed(finding)
        except FormLimitError as error:
            form = FunctionalForm(None, False, error.what)
        except JudgeError:
            self._form_tries[basis] = FORM_TRIES  # whatever it died of, that is not worth a second judge
            raise
        finally:
            finding.cancel()
        if form is None:  # ended for something else; looked for again when there is nothing to do
            if self._form_tries[basis] < FORM_TRIES:
                return
            words = f"torch.export took over {FORM_PATIENCE_S:.0f} s each time while a candidate waited."
            form = FunctionalForm(None, False, words)
        found = FunctionalFormFound(revision=revision, form=form)
        await self._persist(lambda: self._journal.record(found))

    async def _unless_needed(self, finding: asyncio.Future[FunctionalForm]) -> FunctionalForm | None:
        """Await `finding`; where the judge is needed meanwhile it may finish soon, else the judge is ended."""
        while not finding.done():
            if self._dirty or order(self._journal.state, self.urgent):
                await asyncio.wait({finding}, timeout=FORM_PATIENCE_S)
                break
            news = asyncio.ensure_future(self._news.wait())
            either: set[asyncio.Future[Any]] = {finding, news}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            news.cancel()
            self._news.clear()
        if finding.done():
            return finding.result()
        assert self._client is not None
        await self._client.close()
        with contextlib.suppress(JudgeError):
            await finding
        return None

    async def _judge(self, client: JudgeClient, candidate: CandidateId, others: int) -> None:
        view = self._journal.state.candidates[candidate]
        task, revision = self._journal.state.task, self._journal.state.revision
        assert task is not None
        try:
            source = self._journal.store.read_candidate(candidate)
            unchanged(view, source)
        except SessionError as error:
            reason = str(error)
            self._journal.record(CandidateCancelled(candidate=candidate, reason=reason))
            return
        self._journal.record(JudgingStarted(candidate=candidate, revision=revision))
        self._judging = candidate
        self._turn += 1
        self._journal.tell(
            activity=f"judging {candidate}", judging=candidate, gates=(), gate=None, queued=others
        )
        died: JudgeError | None = None
        judged: Judged | None = None
        try:
            judged = await client.judge(
                candidate, source, path=view.origin_path or f"{candidate}.cu", sass=True, on_tick=self._tick
            )
        except JudgeError as error:
            died = error
        finally:
            self._judging = None
        asked = self._cancelled.pop(candidate, ...)
        verdict = judged.verdict if judged is not None else None
        if died is not None and asked is ...:
            self._deaths[candidate] = self._deaths.get(candidate, 0) + 1
            if self._deaths[candidate] >= DEATHS:
                reason = f"The judge died {DEATHS} times under this candidate. {died.what}"
                verdict = unjudged(view, task, revision, self._task.target, reason)
        if verdict is not None:
            knobs, sass = (judged.knobs, judged.sass) if judged is not None else ((), "")
            await self._keep(candidate, verdict, task.basis, knobs, sass)
        elif asked is ... and died is not None:
            await self._persist(
                lambda: self._journal.record(
                    Noticed(
                        text=f"{died.what} It was judging {candidate}, which is judged once more.",
                        level="warning",
                    ),
                    CandidateQueued(candidate=candidate),
                )
            )
        elif asked is None:
            await self._persist(lambda: self._journal.record(CandidateQueued(candidate=candidate)))
        else:
            reason, author = asked if asked is not ... else ("the judge stopped", "")
            self.urgent.done(candidate)
            await self._persist(
                lambda: self._journal.record(
                    CandidateCancelled(candidate=candidate, reason=reason), author=author
                )
            )
        self._journal.tell(judging=None, gate=None, gates=(), activity="")

    async def _keep(
        self, candidate: CandidateId, verdict: Verdict, basis: str, knobs: tuple[Knob, ...], sass: str
    ) -> None:
        self._deaths.pop(candidate, None)
        self.urgent.done(candidate)
        await self._persist(
            lambda: keep_verdict(self._journal, candidate, verdict, basis=basis, knobs=knobs, sass=sass)
        )

    async def _persist(self, write: Callable[[], T]) -> T:
        """Repeat `write` while the disk is full or read-only, so that a verdict that was reached is not lost."""
        while True:
            try:
                return write()
            except StoreError as error:
                self._journal.tell(activity=str(error))
                await asyncio.sleep(DISK_RETRY_S)

    def _tick(self, tick: GateTicked) -> None:
        if tick.candidate != self._judging:
            return
        if tick.gate is None:
            self._journal.tell(gate=tick.name)
        else:
            self._journal.tell(gate=None, gates=(*self._journal.progress.gates, tick.gate))

    def _make_way(self) -> None:
        """A proposer's candidate does not keep a person waiting: it is put back."""
        current = self._judging
        if current is None or current in self.urgent:
            return
        if self._journal.state.candidates[current].provenance not in PEOPLE:
            self._interrupt(current, None)

    def _interrupt(self, candidate: CandidateId, cancelled: tuple[str, str] | None) -> None:
        """Have the judge let go of `candidate`: cancelled for (reason, author), or put back for None."""
        if self._cancelled.get(candidate, None) is None:
            self._cancelled[candidate] = cancelled
        watchdog = asyncio.create_task(self._see_it_end(candidate))
        self._watchdogs.add(watchdog)
        watchdog.add_done_callback(self._watchdogs.discard)

    async def _see_it_end(self, candidate: CandidateId) -> None:
        client, turn = self._client, self._turn
        if client is None:
            return
        with contextlib.suppress(JudgeError):
            await client.cancel(candidate)
            await asyncio.sleep(CANCEL_LIMIT_S)
            if self._judging == candidate and turn == self._turn:
                await client.close()


def _not_cancelled(view: CandidateView) -> SessionError:
    """Why a candidate that neither waits nor is judged cannot be cancelled."""
    if view.state == "judging":  # judged, but not on disk yet
        return SessionError(
            f"The verdict of {view.id} is reached and waits for the disk.", do="Free some space."
        )
    if view.verdict is not None and view.state != "cancelled":
        return SessionError(f"{view.id} has its verdict.", do="Press v to judge it again.")
    return SessionError(f"{view.id} is {view.state} and waits for nothing.", do="Press v to have it judged.")
