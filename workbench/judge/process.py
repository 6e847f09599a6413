"""The worker's process as its client has it: started by a command, asked over its standard streams, and ended for good.

The command makes it run under another Python or on another machine; whatever it is, it speaks `core.wire` frames of
`core.messages` on stdin and stdout, and its stderr is kept for the error message.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from workbench.core.errors import JudgeError
from workbench.core.messages import FromJudge, StopJudge, ToJudge
from workbench.core.wire import FrameError, pack, read_frame_async

STOP_LIMIT_S = 2.0
"""How long the worker may take to end by itself."""
_STDERR_LINES = 40


def local_command(python: str | None = None) -> list[str]:
    """The command line of a judge on this machine, under `python` (default: this one), that dies with this process.

    -P keeps the current folder off sys.path: a file named torch.py beside the task must not become torch.
    """
    return [python or sys.executable, "-P", "-m", "workbench.judge.worker", str(os.getpid())]


class WorkerProcess:
    """One worker, started once; `alive` until it ends, says nonsense, or is killed."""

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str] | None,
        *,
        on_message: Callable[[FromJudge], None],
        on_end: Callable[[], None],
    ) -> None:
        """Nothing runs before `start`; `on_end` is called when nothing more can come."""
        self._command = command
        self._env = env
        self._on_message = on_message
        self._on_end = on_end
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.stderr: deque[str] = deque(maxlen=_STDERR_LINES)
        """The last lines that it (or the task in it) wrote there."""
        self._ended: str | None = None
        self._closing = False
        self._group_ended = False

    @property
    def alive(self) -> bool:
        """It runs and can be asked."""
        return self._process is not None and self._ended is None

    @property
    def pid(self) -> int | None:
        """Its number, which its process group has too, once started."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Start it; it has not answered yet.

        Raises:
            JudgeError: the command is not there, or it was started before.
        """
        if self._process is not None:
            raise JudgeError("This judge was started before.", do="Make a new client.")
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

    async def send(self, message: ToJudge) -> None:
        """Write one message.

        Raises:
            JudgeError: it was not started, or has ended.
        """
        if self._process is None or self._process.stdin is None:
            raise JudgeError("The judge was not started.", do="Call start first.")
        if self._ended is not None:
            raise self.death()
        try:
            self._process.stdin.write(pack(message))
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            # The reader sees the same end of the pipe, with the exit status that belongs to it.
            await asyncio.wait(self._tasks, timeout=STOP_LIMIT_S)
            raise self.death() from None

    def death(self, *, loading: bool = False) -> JudgeError:
        """How it ended, for whoever waits for an answer; `loading`: to the question for the task."""
        tail = [line for line in self.stderr if line.strip()][-1:]
        said = f' Its last words: "{tail[0].strip()[:200]}".' if tail and not self._closing else ""
        if loading:
            return JudgeError(
                f"The judge {self._ended or 'was closed'} while it loaded the task.{said}",
                do="Look for what ends the process in the task: os._exit, a crash in an extension, closed descriptors.",
            )
        return JudgeError(
            f"The judge {self._ended or 'was closed'}.{said}", do="It can be started again; nothing is lost."
        )

    async def stop(self) -> None:
        """Ask it to end, and kill it and all that it started where it does not; may be called twice."""
        self._closing = True
        process = self._process
        if process is None:
            return
        if process.returncode is None and self._ended is None:
            with contextlib.suppress(JudgeError, TimeoutError):
                async with asyncio.timeout(STOP_LIMIT_S):
                    await self.send(StopJudge())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_LIMIT_S):
                    await process.wait()
        await self.kill()
        self._ended = self._ended or "was closed"

    async def kill(self, why: str | None = None) -> None:
        """End it and all that it started now; `why` is what is said of it from then on ("was ended while ...")."""
        self._ended = self._ended or why
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

    async def _read(self) -> None:
        process = self._process
        assert process is not None and process.stdout is not None
        why = ""
        try:
            while (message := await read_frame_async(process.stdout, FromJudge)) is not None:
                self._on_message(message)
        except FrameError as error:
            why = f"sent something that is no answer ({error})"
        if not why:
            with contextlib.suppress(TimeoutError):
                # Leave time for its exit status and for the last lines of stderr, which say why.
                await asyncio.wait_for(process.wait(), STOP_LIMIT_S)
                await asyncio.wait_for(asyncio.shield(self._tasks[1]), STOP_LIMIT_S)
        self._kill_group()
        self._ended = self._ended or why or _ended_how(process.returncode)
        self._on_end()

    async def _drain(self) -> None:
        assert self._process is not None and self._process.stderr is not None
        while chunk := await self._process.stderr.read(1 << 16):
            lines = chunk.decode(errors="replace").splitlines()
            self.stderr.extend(line[:500] for line in lines[-_STDERR_LINES:] if line.strip())

    def _kill_group(self) -> None:
        """End what is left of its process group; its leader may be gone already."""
        if self._process is None or self._group_ended:
            return
        # Once the leader is reaped its number may be given to a stranger: never kill by it twice.
        self._group_ended = self._process.returncode is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


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
