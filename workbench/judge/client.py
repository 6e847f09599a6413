"""The judge as the engine and `verify` see it: one worker process, asked over its standard streams.

A worker that dies or answers nonsense fails every open question with a `JudgeError`; the caller starts a new client.
Knows neither torch nor Textual, and never executes a task. `process` starts, reads and ends the worker.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from workbench.core.candidate import CandidateId
from workbench.core.errors import DeviceError, JudgeError, TaskError
from workbench.core.messages import (
    CancelJudging,
    DebugCandidate,
    Debugged,
    FindFunctionalForm,
    FreeMemory,
    FromJudge,
    FunctionalFormReady,
    GateTicked,
    Judge,
    Judged,
    JudgeProgress,
    JudgeStarted,
    LoadTask,
    StandaloneWritten,
    TaskFailed,
    TaskReady,
    WriteStandalone,
)
from workbench.core.task import FunctionalForm, TaskInfo
from workbench.core.verdict import Target
from workbench.core.wire import MAX_FRAME_BYTES
from workbench.judge.process import WorkerProcess, local_command

LOAD_LIMIT_S = 120.0
"""How long a task may take to load before it is given up."""
FORM_LIMIT_S = 120.0
"""How long the functional form may take; torch.export takes seconds, and runs the task's own code."""
START_LIMIT_S = 60.0
"""How long the worker may take to say that it runs (torch is imported later)."""
MAX_SOURCE_BYTES = MAX_FRAME_BYTES - (1 << 16)
"""The largest file that fits a frame; far over what `parse` accepts."""

Tick = Callable[[GateTicked], None]


class FormLimitError(JudgeError):
    """The functional form was not found in time; the judge was ended."""


class JudgeClient:
    """One judge: `start`, `load_task`, then `judge` as often as wanted, `close`. Also an async context manager.

    Questions are answered in the order in which they are asked; several may be open at a time.
    """

    def __init__(
        self,
        *,
        command: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> None:
        """Prepare a judge that `command` starts (default: `local_command()`); nothing runs before `start`."""
        self._on_progress = on_progress
        self._process = WorkerProcess(
            list(command) if command is not None else local_command(),
            dict(env) if env is not None else None,
            on_message=self._dispatch,
            on_end=self._fail_open,
        )
        self._started: asyncio.Future[JudgeStarted] | None = None
        self._loading: deque[asyncio.Future[TaskInfo]] = deque()
        self._forms: deque[asyncio.Future[FunctionalForm]] = deque()
        self._debugging: deque[asyncio.Future[Debugged]] = deque()
        self._writing: deque[asyncio.Future[StandaloneWritten]] = deque()
        self._judging: dict[CandidateId, tuple[asyncio.Future[Judged], Tick | None]] = {}

    async def __aenter__(self) -> JudgeClient:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def alive(self) -> bool:
        """The worker runs and can be asked."""
        return self._process.alive

    @property
    def pid(self) -> int | None:
        """The worker's process (and process group) number, once started."""
        return self._process.pid

    @property
    def stderr_tail(self) -> str:
        """The last lines that the worker (or the task in it) wrote to stderr."""
        return "\n".join(self._process.stderr)

    async def start(self) -> JudgeStarted:
        """Start the worker and wait until it answers.

        Raises:
            JudgeError: the command is not there, ends at once, or does not answer in time.
        """
        self._started = asyncio.get_running_loop().create_future()
        await self._process.start()
        try:
            # Not wait_for: before Python 3.12 it loses a cancellation that comes together with the answer.
            async with asyncio.timeout(START_LIMIT_S):
                return await asyncio.shield(self._started)
        except TimeoutError:
            await self._process.kill("was ended at its start")
            raise JudgeError(
                f"The judge did not answer within {START_LIMIT_S:.0f} s.",
                do="Try again when the machine is less busy.",
            ) from None

    async def load_task(
        self,
        path: str,
        *,
        target: Target,
        arch: str | None = None,
        timeout_s: float | None = None,
        revision: int = 1,
        limit_s: float = LOAD_LIMIT_S,
    ) -> TaskInfo:
        """Have the worker execute the task at `path` and describe it. A task over `limit_s` is killed with its worker.

        Args:
            timeout_s: limit of one launch of a candidate, seconds; None takes the target's default.

        Raises:
            DeviceError: this judge has no device or target for it.
            TaskError: the task cannot be loaded, or takes longer than `limit_s`.
            JudgeError: the worker died.
        """
        future: asyncio.Future[TaskInfo] = asyncio.get_running_loop().create_future()
        self._loading.append(future)
        await self._process.send(
            LoadTask(path=path, target=target, arch=arch, timeout_s=timeout_s, revision=revision)
        )
        try:
            async with asyncio.timeout(limit_s):
                return await asyncio.shield(future)
        except TimeoutError:
            future.cancel()
            await self._process.kill(f"was ended while loading {path}")
            raise TaskError(
                f"{path} was still loading after {limit_s:.0f} s and was stopped.",
                do="Look for an endless loop or a download at import, or give the task a smaller `small` size.",
            ) from None

    async def judge(
        self,
        candidate: CandidateId,
        source: bytes,
        *,
        path: str = "",
        timing: bool = True,
        seeds: Sequence[int] = (),
        sass: bool = False,
        on_tick: Tick | None = None,
    ) -> Judged:
        """Judge one candidate; `on_tick` is called as gates begin and end.

        Args:
            seeds: an earlier verdict's, to make the same draws again; the verdict is then marked as a reproduction.
            sass: have the answer carry the machine code as text too.

        Raises:
            JudgeError: the worker died; the candidate has no verdict.
        """
        if candidate in self._judging:
            raise JudgeError(f"Candidate {candidate} is being judged already.", do="Wait for its verdict.")
        if len(source) > MAX_SOURCE_BYTES:
            raise JudgeError(
                f"{path or candidate} has {len(source)} bytes, too many to send.", do="Shorten it."
            )
        future: asyncio.Future[Judged] = asyncio.get_running_loop().create_future()
        self._judging[candidate] = (future, on_tick)
        try:
            await self._process.send(
                Judge(
                    candidate=candidate,
                    source=source,
                    path=_sent(path),
                    timing=timing,
                    seeds=tuple(seeds),
                    sass=sass,
                )
            )
            judged = await future
        finally:
            self._judging.pop(candidate, None)
        if judged.verdict is not None and judged.verdict.reproduction != bool(seeds):
            # A session asks without seeds: whatever judge it has, a reproduction is never kept as its verdict.
            raise JudgeError("The judge's draws are not those that were asked for.", do="Verify again.")
        return judged

    async def debug(self, candidate: CandidateId, source: bytes, *, path: str = "") -> Debugged:
        """Run a candidate once with printf and assert allowed; there is no verdict.

        Raises:
            JudgeError: the worker died.
        """
        future: asyncio.Future[Debugged] = asyncio.get_running_loop().create_future()
        self._debugging.append(future)
        await self._process.send(DebugCandidate(candidate=candidate, source=source, path=_sent(path)))
        return await future

    async def write_standalone(
        self,
        candidate: CandidateId,
        source: bytes,
        folder: str,
        *,
        path: str = "",
        size: str = "",
        case: str = "random",
        seed: int | None = None,
    ) -> StandaloneWritten:
        """Have a candidate written as a program of its own into `folder` (absolute, empty), which the worker must see.

        Args:
            size, case, seed: of the inputs, as in `WriteStandalone`.

        Raises:
            JudgeError: the worker died.
        """
        future: asyncio.Future[StandaloneWritten] = asyncio.get_running_loop().create_future()
        self._writing.append(future)
        await self._process.send(
            WriteStandalone(
                candidate=candidate,
                source=source,
                path=_sent(path),
                folder=folder,
                size=size,
                case=case,
                seed=seed,
            )
        )
        return await future

    async def cancel(self, candidate: CandidateId) -> None:
        """Stop judging `candidate`, or never begin; its `judge` call then answers with `cancelled`."""
        if candidate in self._judging and self.alive:
            await self._process.send(CancelJudging(candidate=candidate))

    async def free_memory(self) -> None:
        """Have the worker give back what it keeps for speed alone; the next candidates take a little longer.

        Raises:
            JudgeError: the worker died.
        """
        await self._process.send(FreeMemory())

    async def functional_form(self, *, limit_s: float = FORM_LIMIT_S) -> FunctionalForm:
        """Stage 1 of the loaded task; takes seconds, during which nothing is judged. Over `limit_s`, counted from when it
        is done with what was asked for before, the worker is killed.

        Raises:
            FormLimitError: it takes longer.
            JudgeError: the worker died.
        """
        future: asyncio.Future[FunctionalForm] = asyncio.get_running_loop().create_future()
        before: list[asyncio.Future[Any]] = [
            *self._loading,
            *self._forms,
            *self._debugging,
            *self._writing,
            *(judged for judged, _ in self._judging.values()),
        ]
        self._forms.append(future)
        await self._process.send(FindFunctionalForm())
        if before:
            await asyncio.wait(before)
        try:
            async with asyncio.timeout(limit_s):
                return await asyncio.shield(future)
        except TimeoutError:
            future.cancel()
            await self._process.kill("was ended while it looked for the functional form")
            raise FormLimitError(
                f"torch.export was still tracing the module after {limit_s:.0f} s and was stopped."
            ) from None

    async def close(self) -> None:
        """End the worker and all that it started; open questions fail. May be called twice."""
        await self._process.stop()
        if self._process.pid is not None:
            self._fail_open()

    # --- inside ---------------------------------------------------------------------------------------------------

    def _dispatch(self, message: FromJudge) -> None:
        match message:
            case JudgeStarted():
                if self._started is not None and not self._started.done():
                    self._started.set_result(message)
            case JudgeProgress():
                if self._on_progress is not None:
                    self._on_progress(message.text)
            case TaskReady():
                _resolve(self._loading, message.info)
            case TaskFailed():
                kind = DeviceError if message.device else TaskError
                _resolve(self._loading, kind(message.message, do=message.do))
            case FunctionalFormReady():
                _resolve(self._forms, message.form)
            case Debugged():
                _resolve(self._debugging, message)
            case StandaloneWritten():
                _resolve(self._writing, message)
            case GateTicked():
                _, on_tick = self._judging.get(message.candidate, (None, None))
                if on_tick is not None:
                    on_tick(message)
            case Judged():
                future, _ = self._judging.get(message.candidate, (None, None))
                if future is not None and not future.done():
                    future.set_result(message)

    def _fail_open(self) -> None:
        """The worker ended: nobody answers any more."""
        started = [self._started] if self._started is not None else []
        open_: list[asyncio.Future[Any]] = [*started, *self._loading, *self._forms, *self._debugging]
        open_ += self._writing
        open_ += [future for future, _ in self._judging.values()]
        for future in open_:
            if not future.done():
                future.set_exception(self._process.death(loading=future in self._loading))
                future.exception()  # retrieved here: nobody may be waiting any more, and that is no news
        self._loading.clear()
        self._forms.clear()
        self._debugging.clear()
        self._writing.clear()


def _resolve(waiting: deque[asyncio.Future[Any]], answer: object) -> None:
    """Give `answer` to the oldest question; one that gave up waiting still takes its own answer."""
    if not waiting:
        return
    future = waiting.popleft()
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
        future.exception()
    else:
        future.set_result(answer)


def _sent(path: str) -> str:
    """`path` as a message can carry it: bytes of a file name that are not UTF-8 are written `\\udcff`."""
    return path.encode(errors="backslashreplace").decode()
