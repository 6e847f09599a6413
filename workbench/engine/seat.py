"""One judge of a session: started, loaded with the task, given candidates, replaced when it dies, and taken out for good.

One coroutine does all of it, one thing at a time, so that every rule about the order stands in `_step`. What others
want done (`wake`, `let_go`) is noted and taken up between or, where it cannot wait, breaks into what runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol

import msgspec

from workbench.core.candidate import CandidateId
from workbench.core.errors import JudgeError
from workbench.core.events import Noticed
from workbench.core.messages import BeingJudged, GateTicked
from workbench.engine.docket import DISK_RETRY_S, Docket
from workbench.engine.form import FormFinder
from workbench.engine.journal import Journal
from workbench.engine.loading import Loading
from workbench.engine.standing import Standing
from workbench.engine.store import StoreError
from workbench.judge.client import JudgeClient

CANCEL_LIMIT_S = 5.0
"""How long a cancelled candidate may take to end before its judge is ended."""
RELOAD_PATIENCE_S = 3.0
"""A task saved while it is loading: how long the loading may go on before its judge is ended."""
BACKOFF_S = (0.2, 1.0, 3.0, 10.0, 30.0)
"""The waits after deaths in a row; a judge that died as often is given up where another one works."""
IDLE_S = 60.0
"""A judge that had nothing to do for so long gives back what it keeps for speed alone."""


class Post(msgspec.Struct, frozen=True, kw_only=True):
    """Where one judge works."""

    name: str = ""
    """As notices name it: "Judge 2", "The judge on GPU 1"; "" where there is only one."""
    env: Mapping[str, str] = {}
    """Added to its environment."""


class Room(Protocol):
    """What a judge sees of the session and of its fellows."""

    journal: Journal
    docket: Docket
    loading: Loading
    forms: FormFinder

    def fellows(self, seat: Seat) -> Sequence[Seat]:
        """The other judges that were not taken out."""
        ...

    def show(self) -> None:
        """Some judge's standing changed."""
        ...

    def wake(self) -> None:
        """There may be work for any judge."""
        ...

    def reload(self) -> None:
        """The task was saved again."""
        ...

    async def loaded(self, good: bool) -> None:
        """The task was loaded and recorded, or found broken."""
        ...


class Seat:
    """The judge `number` of a session, at its `post`."""

    def __init__(self, number: int, post: Post, room: Room, command: Sequence[str] | None) -> None:
        """`command` starts it (None: this Python's)."""
        self.number = number
        self.standing = Standing()
        self.candidate: CandidateId | None = None
        """What it judges now; None also while a verdict waits for the disk."""
        self.resting = False
        """It can take a candidate at once."""
        self.failures = 0
        """How often in a row it died or could not start, without a candidate."""
        self.out = False
        self._post = post
        self._room = room
        self._command = command
        self._client: JudgeClient | None = None
        self._news = asyncio.Event()
        self._turn = 0
        self._used = False
        self._watchdogs: set[asyncio.Task[None]] = set()

    @property
    def works(self) -> bool:
        """It has the task loaded, as it is now."""
        return self._alive and not self.failures and not self._room.loading.needed(self.number)

    @property
    def hopeful(self) -> bool:
        """It works, or is on its way to and did not fail so far."""
        return not self.out and not self.failures

    def wake(self) -> None:
        """There may be something to do."""
        self._news.set()

    def let_go(self, cancelled: tuple[str, str] | None) -> None:
        """Have it stop judging: what it judges is cancelled for (reason, author), or put back for None."""
        assert self.candidate is not None
        self._room.docket.let_go(self.candidate, cancelled)
        watchdog = asyncio.create_task(self._see_it_end(self.candidate))
        self._watchdogs.add(watchdog)
        watchdog.add_done_callback(self._watchdogs.discard)

    async def run(self) -> None:
        """Work until cancelled or taken out; then the judge and all it started are ended."""
        try:
            while not self.out:
                self._news.clear()
                try:
                    if await self._step():
                        continue
                    self._say(activity="", judging=None)
                except StoreError as error:
                    self._say(trouble=str(error))
                    await asyncio.sleep(DISK_RETRY_S)
                except JudgeError as error:
                    await self._restart(error)
                else:
                    await self._rest()
        finally:
            for watchdog in self._watchdogs:
                watchdog.cancel()
            if self._client is not None:
                await self._client.close()
            self._say(place="out" if self.out else "stopped", activity="", judging=None)

    async def _step(self) -> bool:
        """Do the next thing; False where there is nothing to do until somebody wakes us."""
        room = self._room
        if not self._alive and room.docket.blame.at_fault(self.number) and self._others_work:
            await self._take_out("It died under candidates that others judged.")
            return True
        client = await self._judge_process()
        if room.loading.needed(self.number):
            await self._load(client)
            return True
        state = room.journal.state
        if state.task is None or state.task_error is not None:
            return False
        candidate = self.next_candidate()
        if candidate is not None:
            await self._judge(client, candidate)
            return True
        if room.forms.wanted:
            self._say(activity="finding the functional form")
            await room.forms.find(client, self._needed, self._news, self._cannot_write)
            return True
        return False

    def next_candidate(self) -> CandidateId | None:
        """What it would take now."""
        alone = not any(fellow.hopeful for fellow in self._room.fellows(self))
        return self._room.docket.next_for(self.number, alone=alone)

    # --- its process ----------------------------------------------------------------------------------------------

    @property
    def _alive(self) -> bool:
        return self._client is not None and self._client.alive

    @property
    def _others_work(self) -> bool:
        return any(fellow.works for fellow in self._room.fellows(self))

    async def _judge_process(self) -> JudgeClient:
        if self._client is not None and self._client.alive:
            return self._client
        self._room.loading.forget(self.number)
        if self._client is not None:
            await self._client.close()
        place = "restarting" if self.failures else "starting"
        self._say(place=place, activity="starting the judge", judging=None)
        self._client = client = JudgeClient(
            command=self._command,
            env={**os.environ, **self._post.env} if self._post.env else None,
            on_progress=lambda text: self._say(activity=text),
        )
        await client.start()
        return client

    async def _restart(self, error: JudgeError) -> None:
        """It ended outside of a candidate, or could not be started: say so once, and try again later or no more."""
        wait_s = BACKOFF_S[min(self.failures, len(BACKOFF_S) - 1)]
        if self.failures == 0:
            with contextlib.suppress(StoreError):
                text = f"{self._named}{error} It is started again."
                self._room.journal.record(Noticed(text=text, level="warning"))
        self.failures += 1
        self._say(place="restarting", activity=str(error), judging=None)
        if self.failures >= len(BACKOFF_S) and self._others_work:
            await self._take_out(error.what)
            return
        for fellow in self._room.fellows(self):
            if (
                fellow.works
            ):  # what waited for this judge is theirs; one that fails too keeps to its own waits
                fellow.wake()
        await self._wait(wait_s)

    async def _wait(self, wait_s: float) -> None:
        """Wait; news ends that where no other judge is there for it, and a saved task in any case."""
        loop = asyncio.get_running_loop()
        until, generation = loop.time() + wait_s, self._room.loading.generation
        while (left_s := until - loop.time()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._news.wait()
            if not self._others_work or self._room.loading.generation != generation:
                return
            self._news.clear()

    async def _take_out(self, why: str) -> None:
        """It is started no more; what it died under goes to the others."""
        self.out = True
        fellows = self._room.fellows(self)
        judges = "one judge goes on" if len(fellows) == 1 else f"{len(fellows)} judges go on"
        text = (
            f"{self._post.name} is taken out, since it died again and again while others work; {judges}. {why} "
            "It is tried once more when the session is opened again."
        )
        self._room.loading.forget(self.number)
        self._room.docket.blame.taken_out(self.number)
        for fellow in fellows:
            fellow.wake()
        await self._room.docket.record(self._cannot_write, Noticed(text=text, level="warning"))

    @property
    def _named(self) -> str:
        return f"{self._post.name}: " if self._post.name else ""

    async def _rest(self) -> None:
        """Wait for news; a judge that waits long gives memory back."""
        self.resting = self._alive and not self._room.loading.needed(self.number)
        try:
            if self._used and self.resting:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(IDLE_S):
                        await self._news.wait()
                        return
                self._used = False
                assert self._client is not None
                with contextlib.suppress(JudgeError):  # seen when it is needed
                    await self._client.free_memory()
            await self._news.wait()
        finally:
            self.resting = False

    # --- the task -------------------------------------------------------------------------------------------------

    async def _load(self, client: JudgeClient) -> None:
        room = self._room
        self._say(place="loading", activity="loading the task", judging=None)
        async with room.loading.turn:
            leads = not room.loading.elsewhere(self.number)
            good = None
            if leads:
                alone = not room.fellows(self)
                good = await self._unless_saved(client, room.loading.lead(self.number, client, alone=alone))
        if not leads:
            good = await self._follow(client)
        if good is None:  # saved again meanwhile
            return
        self.failures = 0
        self._say(place="ready", activity="")
        if leads:
            await room.loaded(good)

    async def _follow(self, client: JudgeClient) -> bool | None:
        room = self._room
        if room.journal.state.task_error is not None:
            room.loading.pass_over(self.number)
            return False
        same = await self._unless_saved(client, room.loading.follow(self.number, client))
        if same is False:
            room.reload()
        return same or None

    async def _unless_saved(self, client: JudgeClient, loading: Awaitable[bool]) -> bool | None:
        """Await `loading`; where the task is saved again meanwhile it may finish soon, else the judge is ended."""
        generation = self._room.loading.generation
        task = asyncio.ensure_future(loading)
        try:
            while not task.done():
                news = asyncio.ensure_future(self._news.wait())
                await asyncio.wait({task, news}, return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
                self._news.clear()
                if self._room.loading.generation != generation and not task.done():
                    await asyncio.wait({task}, timeout=RELOAD_PATIENCE_S)
                    if not task.done():
                        await client.close()
                        with contextlib.suppress(JudgeError):
                            await task
                        return None
            return task.result()
        finally:
            task.cancel()

    def _needed(self) -> bool:
        """Something waits for this judge, and no other one is about to take it."""
        if self._room.loading.needed(self.number):
            return True
        if self.next_candidate() is None:
            return False
        return not any(f.resting and f.next_candidate() is not None for f in self._room.fellows(self))

    # --- a candidate ----------------------------------------------------------------------------------------------

    async def _judge(self, client: JudgeClient, candidate: CandidateId) -> None:
        docket = self._room.docket
        case = docket.take(candidate)
        if case is None:
            return
        self.candidate = candidate
        self._turn += 1
        self._used = True
        self._say(activity=f"judging {candidate}", judging=BeingJudged(candidate))
        died: JudgeError | None = None
        try:
            judged = await client.judge(candidate, case.source, path=case.path, sass=True, on_tick=self._tick)
        except JudgeError as error:
            died = error
        finally:
            self.candidate = None
        if died is None:
            await docket.judged(case, self.number, judged, self._cannot_write)
        else:
            await docket.orphaned(case, self.number, died, self._cannot_write)
        self._say(activity="", judging=None)
        if self._room.journal.state.candidates[candidate].state == "queued":
            self.resting = self._alive  # it takes the next one before anybody else runs
            self._room.wake()
            self.resting = False

    def _tick(self, tick: GateTicked) -> None:
        now = self.standing.judging
        if now is None or tick.candidate != self.candidate:
            return
        if tick.gate is None:
            now = msgspec.structs.replace(now, gate=tick.name)
        else:
            now = msgspec.structs.replace(now, gate=None, gates=(*now.gates, tick.gate))
        self._say(judging=now)

    async def _see_it_end(self, candidate: CandidateId) -> None:
        client, turn = self._client, self._turn
        if client is None:
            return
        with contextlib.suppress(JudgeError):
            await client.cancel(candidate)
            await asyncio.sleep(CANCEL_LIMIT_S)
            if self.candidate == candidate and turn == self._turn:
                await client.close()

    # --- what is shown --------------------------------------------------------------------------------------------

    def _cannot_write(self, why: str) -> None:
        self._say(trouble=why)

    def _say(self, **changes: object) -> None:
        standing = msgspec.structs.replace(self.standing, **({"trouble": ""} | changes))
        if standing != self.standing:
            self.standing = standing
            self._room.show()
