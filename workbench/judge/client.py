"""The judge as the engine and `verify` see it: one worker process, asked over its standard streams.

The worker is started by a command, so that it can run under another Python or on another machine; whatever the
command is, it speaks `core.wire` frames of `core.messages` on stdin and stdout, and its stderr is kept for the
error message. A worker that dies or answers nonsense fails every open question with a `JudgeError`; the caller
starts a new client. Knows neither torch nor Textual, and never executes a task.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
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
    StopJudge,
    TaskFailed,
    TaskReady,
    ToJudge,
    WriteStandalone,
)
from workbench.core.task import FunctionalForm, TaskInfo
from workbench.core.verdict import Target
from workbench.core.wire import MAX_FRAME_BYTES, FrameError, pack, read_frame_async

LOAD_LIMIT_S = 120.0
"""How long a task may take to load before it is given up."""
FORM_LIMIT_S = 120.0
"""How long the functional form may take; torch.export takes seconds, and runs the task's own code."""
START_LIMIT_S = 60.0
"""How long the worker may take to say that it runs (torch is imported later)."""
STOP_LIMIT_S = 2.0
"""How long the worker may take to end by itself."""
MAX_SOURCE_BYTES = MAX_FRAME_BYTES - (1 << 16)
"""The largest file that fits a frame; far over what `parse` accepts."""
_STDERR_LINES = 40

Tick = Callable[[GateTicked], None]


def local_command(python: str | None = None) -> list[str]:
    """The command line of a judge on this machine, under `python` (default: this one), that dies with this process.

    -P keeps the current folder off sys.path: a file named torch.py beside the task must not become torch.
    """
    return [python or sys.executable, "-P", "-m", "workbench.judge.worker", str(os.getpid())]


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
        self._command = list(command) if command is not None else local_command()
        self._env = dict(env) if env is not None else None
        self._on_progress = on_progress
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stderr: deque[str] = deque(maxlen=_STDERR_LINES)
        self._started: asyncio.Future[JudgeStarted] | None = None
        self._loading: deque[asyncio.Future[TaskInfo]] = deque()
        self._forms: deque[asyncio.Future[FunctionalForm]] = deque()
        self._debugging: deque[asyncio.Future[Debugged]] = deque()
        self._writing: deque[asyncio.Future[StandaloneWritten]] = deque()
        self._judging: dict[CandidateId, tuple[asyncio.Future[Judged], Tick | None]] = {}
        self._ended: str | None = None
        self._closing = False
        self._group_ended = False

    async def __aenter__(self) -> JudgeClient:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def alive(self) -> bool:
        """The worker runs and can be asked."""
        return self._process is not None and self._ended is None

    @property
    def pid(self) -> int | None:
        """The worker's process (and process group) number, once started."""
        return self._process.pid if self._process is not None else None

    @property
    def stderr_tail(self) -> str:
        """The last lines that the worker (or the task in it) wrote to stderr."""
        return "\n".join(self._stderr)

    async def start(self) -> JudgeStarted:
        """Start the worker and wait until it answers.

        Raises:
            JudgeError: the command is not there, ends at once, or does not answer in time.
        """
        if self._process is not None:
            raise JudgeError("This judge was started before.", do="Make a new client.")
        loop = asyncio.get_running_loop()
        self._started = loop.create_future()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._env,
                limit=1 << 20,
                start_new_session=True,  # its own process group, so that all it started can be ended with it
            )
        except OSError as error:
            raise JudgeError(
                f"The judge could not be started: {self._command[0]}: {error.strerror}.",
                do="Check the command that starts it.",
            ) from None
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._drain())]
        try:
            # Not wait_for: before Python 3.12 it loses a cancellation that comes together with the answer.
            async with asyncio.timeout(START_LIMIT_S):
                return await asyncio.shield(self._started)
        except TimeoutError:
            await self._kill()
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
        await self._send(
            LoadTask(path=path, target=target, arch=arch, timeout_s=timeout_s, revision=revision)
        )
        try:
            async with asyncio.timeout(limit_s):
                return await asyncio.shield(future)
        except TimeoutError:
            self._ended = f"was ended while loading {path}"
            future.cancel()
            await self._kill()
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
            await self._send(
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
        await self._send(DebugCandidate(candidate=candidate, source=source, path=_sent(path)))
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
        await self._send(
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
            await self._send(CancelJudging(candidate=candidate))

    async def free_memory(self) -> None:
        """Have the worker give back what it keeps for speed alone; the next candidates take a little longer.

        Raises:
            JudgeError: the worker died.
        """
        await self._send(FreeMemory())

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
        await self._send(FindFunctionalForm())
        if before:
            await asyncio.wait(before)
        try:
            async with asyncio.timeout(limit_s):
                return await asyncio.shield(future)
        except TimeoutError:
            self._ended = "was ended while it looked for the functional form"
            future.cancel()
            await self._kill()
            raise FormLimitError(
                f"torch.export was still tracing the module after {limit_s:.0f} s and was stopped."
            ) from None

    async def close(self) -> None:
        """End the worker and all that it started; open questions fail. May be called twice."""
        self._closing = True
        process = self._process
        if process is None:
            return
        if process.returncode is None and self._ended is None:
            with contextlib.suppress(JudgeError, TimeoutError):
                async with asyncio.timeout(STOP_LIMIT_S):
                    await self._send(StopJudge())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_LIMIT_S):
                    await process.wait()
        await self._kill()
        self._fail_open("was closed")

    # --- inside ---------------------------------------------------------------------------------------------------

    async def _send(self, message: ToJudge) -> None:
        if self._process is None or self._process.stdin is None:
            raise JudgeError("The judge was not started.", do="Call start first.")
        if self._ended is not None:
            raise self._death()
        try:
            self._process.stdin.write(pack(message))
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            # The reader sees the same end of the pipe, with the exit status that belongs to it.
            await asyncio.wait(self._tasks, timeout=STOP_LIMIT_S)
            raise self._death() from None

    async def _read(self) -> None:
        process = self._process
        assert process is not None and process.stdout is not None
        why = ""
        try:
            while (message := await read_frame_async(process.stdout, FromJudge)) is not None:
                self._dispatch(message)
        except FrameError as error:
            why = f"sent something that is no answer ({error})"
        if not why:
            with contextlib.suppress(TimeoutError):
                # Leave time for its exit status and for the last lines of stderr, which say why.
                await asyncio.wait_for(process.wait(), STOP_LIMIT_S)
                await asyncio.wait_for(asyncio.shield(self._tasks[1]), STOP_LIMIT_S)
        self._kill_group()
        self._ended = self._ended or why or _ended_how(process.returncode)
        self._fail_open(self._ended)

    async def _drain(self) -> None:
        assert self._process is not None and self._process.stderr is not None
        while chunk := await self._process.stderr.read(1 << 16):
            lines = chunk.decode(errors="replace").splitlines()
            self._stderr.extend(line[:500] for line in lines[-_STDERR_LINES:] if line.strip())

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

    def _death(self, *, loading: bool = False) -> JudgeError:
        tail = [line for line in self._stderr if line.strip()][-1:]
        said = f' Its last words: "{tail[0].strip()[:200]}".' if tail and not self._closing else ""
        if loading:
            return JudgeError(
                f"The judge {self._ended or 'was closed'} while it loaded the task.{said}",
                do="Look for what ends the process in the task: os._exit, a crash in an extension, closed descriptors.",
            )
        return JudgeError(
            f"The judge {self._ended or 'was closed'}.{said}", do="It can be started again; nothing is lost."
        )

    def _fail_open(self, why: str) -> None:
        self._ended = self._ended or why
        started = [self._started] if self._started is not None else []
        open_: list[asyncio.Future[Any]] = [*started, *self._loading, *self._forms, *self._debugging]
        open_ += self._writing
        open_ += [future for future, _ in self._judging.values()]
        for future in open_:
            if not future.done():
                future.set_exception(self._death(loading=future in self._loading))
                future.exception()  # retrieved here: nobody may be waiting any more, and that is no news
        self._loading.clear()
        self._forms.clear()
        self._debugging.clear()
        self._writing.clear()

    def _kill_group(self) -> None:
        """End what is left of the worker's process group; its leader may be gone already."""
        if self._process is None or self._group_ended:
            return
        # Once the leader is reaped its number may be given to a stranger: never kill by it twice.
        self._group_ended = self._process.returncode is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def _kill(self) -> None:
        self._kill_group()
        process = self._process
        if process is None:
            return
        await process.wait()
        await asyncio.wait(self._tasks, timeout=STOP_LIMIT_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if process.stdin is not None:
            process.stdin.close()


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


def _ended_how(returncode: int | None) -> str:
    if returncode is None:
        return "closed its output"
    if returncode < 0:
        try:
            name = signal.Signals(-returncode).name
        except ValueError:
            name = f"signal {-returncode}"
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"was ended by {name}{hint}"
    return f"ended with exit code {returncode}"
