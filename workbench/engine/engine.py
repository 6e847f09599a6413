"""One session's engine: the log, the population, the judge and the screens, on one asyncio loop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from workbench import __version__
from workbench.archive.shipped import fitting
from workbench.core.config import Config
from workbench.core.errors import UsageError, WorkbenchError
from workbench.core.events import Noticed, SessionResumed
from workbench.core.plan import limits_for
from workbench.core.session import SessionState
from workbench.core.verdict import Target
from workbench.engine.bench import Bench
from workbench.engine.commands import Commands
from workbench.engine.docket import DISK_RETRY_S
from workbench.engine.journal import Journal
from workbench.engine.origins import plan_path
from workbench.engine.population import Population
from workbench.engine.posts import choose_posts
from workbench.engine.runtime import remove_socket
from workbench.engine.seat import Post
from workbench.engine.server import Server
from workbench.engine.store import Store, StoreError
from workbench.engine.tasks import TaskRevisions
from workbench.engine.watch import Watcher
from workbench.evolve.shipped import ShippedKernels
from workbench.judge.process import local_command
from workbench.profile.device import default_arch

WATCHED_ORIGINS = 64
"""Candidates' own files that are watched: those whose newest versions were added last."""


class Engine:
    """Serves one session until it is asked to stop, or has had no screen and no work for `idle_s` seconds."""

    def __init__(
        self,
        store: Store,
        state: SessionState,
        config: Config,
        *,
        resumed: bool = False,
        arch: str | None = None,
        judges: int | None = None,
        idle_s: float = 30.0,
    ) -> None:
        """`judges`: how many work side by side; None takes the configured number."""
        assert state.started is not None
        first = state.started
        self.journal = Journal(store, state)
        self._arch = arch or first.arch or config.judge.arch
        self._judges = judges if judges is not None else config.judge.judges
        self._idle_s = idle_s
        self._stopping = asyncio.Event()
        self._population = Population(self.journal)
        target: Target = "cuda" if first.target == "cuda" else "host"
        self._task = TaskRevisions(
            self.journal,
            task=first.task_path,
            target=target,
            arch=self._arch,
            timeout_s=config.judge.timeout_s,
            limit_s=config.judge.task_timeout_s,
        )
        self._bench = Bench(
            self.journal,
            self._task,
            command=local_command(config.judge.python),
            propose=self._propose,
        )
        self._commands = Commands(self.journal, self._population, self._bench, config, self._arch)
        self._server = Server(self.journal, self._commands.carry_out, self._stop)
        self._watcher = Watcher(self._saved)
        self._bench.on_task = self._watch
        self._proposed_for: object = None
        self._resumed = resumed
        """That the session was taken up again is still to be recorded: its disk was full or read-only."""

    async def serve(self, socket: Path, listening: Callable[[], None]) -> None:
        """Listen at `socket`, tell `listening`, and serve until the end; the judge ends with it."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        await self._server.start(socket)
        listening()
        try:
            async with asyncio.TaskGroup() as group:
                work = [group.create_task(self._work()), group.create_task(self._watcher.run())]
                await self._until_idle()
                # Before the judge is ended, which takes seconds: a screen that opens now must not get an engine that
                # is on its way out; it starts another, which waits for this one's lock.
                self._server.stop_listening()
                for task in work:
                    task.cancel()
        finally:
            await self._server.close()
            remove_socket(socket)
            self.journal.store.close()

    def _stop(self) -> None:
        self._server.stop_listening()  # at once: whoever asked may open the session again as soon as it is answered
        self._stopping.set()

    def _resume(self) -> None:
        self.journal.record(SessionResumed(version=__version__))
        self._resumed = False

    async def _work(self) -> None:
        self._watch()
        await self._population.load()  # also where nothing can be written: requests wait for it
        while self._resumed:
            try:
                self._resume()
            except StoreError as error:
                self.journal.tell(activity=str(error), judge="stopped")
                await asyncio.sleep(DISK_RETRY_S)
        for path in self._population.origins():
            if Path(path).is_file():  # it may have been saved while no engine ran
                try:
                    await self._catch_up(path)
                except StoreError as error:
                    self.journal.tell(activity=str(error))
                except UsageError:
                    continue  # removed since, or unreadable: its last version stays
        await self._bench.run(await self._posts())

    async def _posts(self) -> Sequence[Post]:
        found = await asyncio.to_thread(choose_posts, self._task.target, self._judges)
        notices = [Noticed(text=text, level="warning") for text in found.warnings]
        try:
            self.journal.record(*notices)
        except StoreError as error:  # the judges say the same again once there is room
            self.journal.tell(activity=str(error))
        return found.posts

    async def _catch_up(self, path: str) -> None:
        added = await self._population.add_file(path, name=Path(path).name, provenance="human")
        if not added.known:
            self._bench.docket.urgent.add(added.candidate)

    async def _until_idle(self) -> None:
        loop = asyncio.get_running_loop()
        idle_since = loop.time()
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), min(1.0, self._idle_s))
            if self._server.connections or self._bench.busy:
                idle_since = loop.time()
            elif loop.time() - idle_since >= self._idle_s:
                return

    async def _saved(self, path: str) -> None:
        """A watched file was saved; what cannot be recorded now is said and looked at again at the next save."""
        try:
            origins = self._population.origins()
            for origin in origins:
                if path in (origin, str(plan_path(origin))):
                    await self._commands.file_saved(origin)
            if path in self._task.sources() and await self._task.changed():
                self._bench.reload()
        except StoreError as error:
            self.journal.tell(activity=str(error))

    def _watch(self) -> None:
        origins = self._population.origins()[-WATCHED_ORIGINS:]
        plans = [str(plan_path(path)) for path in origins]
        self._watcher.watch([*self._task.sources(), *origins, *plans])

    async def _propose(self) -> None:
        """Shipped kernels, once for each signature that the task has had while we run."""
        task = self.journal.state.task
        if task is None or self._proposed_for == task.sizes:
            return
        self._proposed_for = task.sizes
        arch = self._arch if self._arch is not None else await asyncio.to_thread(default_arch)
        limits = limits_for(arch)
        proposer = ShippedKernels(lambda info: fitting(info, limits=limits))
        first = self.journal.state.last_proposals is None
        try:
            await self._commands.take_round(proposer, quiet=not first)
        except StoreError:
            self._proposed_for = None
            raise
        except WorkbenchError as error:
            self.journal.record(
                Noticed(text=f"Shipped kernels could not be looked up: {error}", level="warning")
            )
