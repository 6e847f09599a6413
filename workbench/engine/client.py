"""A session as a screen sees it: start or find its engine, attach, read events, send requests.

Imports nothing heavy, so that `start` can run before a screen imports its toolkit: the engine then starts while the
screen does. The engine is detached; it outlives the screen and ends by itself once it has nothing to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from workbench import __version__
from workbench.core.config import load_config
from workbench.core.errors import SessionError, UsageError
from workbench.core.locate import sessions_folder
from workbench.core.messages import (
    Answer,
    Attach,
    Attached,
    EngineProgress,
    EventHappened,
    FromEngine,
    StopEngine,
    SubmitCandidate,
    ToEngine,
)
from workbench.core.session import SessionState
from workbench.core.wire import MAX_FRAME_BYTES, FrameError, pack, read_frame_async
from workbench.engine.runtime import places
from workbench.engine.sessions import last_session, task_key

START_LIMIT_S = 30.0
"""How long an engine may take to say that it listens, seconds; it takes about 0.3."""

CLOSE_LIMIT_S = 1.0
"""How long what was sent last may take to leave, when this side disconnects."""


class StartReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a started engine writes, once, to its --status-fd."""

    ok: bool
    session: str = ""
    socket: str = ""
    error: str = ""
    """One sentence: why it could not start."""
    do: str = ""


class EngineStart:
    """An engine that runs already or is starting; `connect` waits for it."""

    def __init__(
        self,
        connection: socket.socket | None = None,
        process: subprocess.Popen[bytes] | None = None,
        status: int | None = None,
        log: Path | None = None,
    ) -> None:
        """Made by `start` and `start_session`; `log` is where the engine's stderr goes, as far as that is known."""
        self._connection = connection
        self._process = process
        self._status = status
        self._log = log
        self._since = time.time() - 1.0

    async def connect(self, *, author: str | None = None) -> EngineClient:
        """Wait until the engine listens, and connect to it; `author` is whose marks these will be.

        Raises:
            SessionError: it could not start; the sentence is the engine's own.
        """
        connection = self._connection
        if connection is None:
            report = await self._report()
            if not report.ok:
                raise SessionError(report.error, do=report.do)
            connection = dial(Path(report.socket))
            if connection is None:
                raise SessionError("The engine ended just after its start.", do="Try again.")
        reader, writer = await asyncio.open_unix_connection(sock=connection)
        return EngineClient(reader, writer, author=author or default_author())

    async def _report(self) -> StartReport:
        assert self._status is not None
        reader = asyncio.StreamReader(limit=1 << 20)
        loop = asyncio.get_running_loop()
        pipe = os.fdopen(self._status, "rb", buffering=0)
        self._status = None
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        try:
            line = await asyncio.wait_for(reader.readline(), START_LIMIT_S)
            return msgspec.json.decode(line, type=StartReport)
        except TimeoutError:
            raise SessionError(
                f"The engine did not start within {START_LIMIT_S:.0f} s.",
                do="Try again when the machine is less busy.",
            ) from None
        except (msgspec.MsgspecError, ValueError):
            raise SessionError("The engine ended while it started.", do=self._last_words()) from None
        finally:
            transport.close()

    def _last_words(self) -> str:
        try:
            said = self._log is not None and self._log.stat().st_mtime >= self._since
        except OSError:
            said = False
        return f"See {self._log}; run `workbench doctor`." if said else "Run `workbench doctor`."


class EngineClient:
    """One connection to an engine. `attach` first; then iterate `messages` and send `request`s, side by side."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        author: str,
    ) -> None:
        """Made by `EngineStart.connect`."""
        self.state = SessionState()
        """The session, folded up to the last message that `messages` gave."""
        self.progress = EngineProgress()
        """The latest progress that `messages` gave."""
        self.session = ""
        """The session's folder, absolute; known once attached."""
        self.author = author
        self.closed: str | None = None
        """Why the connection ended; None while it is open."""
        self._reader = reader
        self._writer = writer
        self._attached: asyncio.Future[Attached] = asyncio.get_running_loop().create_future()
        self._answers: dict[int, asyncio.Future[Answer]] = {}
        self._requests = 0
        self._queue: asyncio.Queue[EventHappened | EngineProgress | None] = asyncio.Queue()
        self._reading = asyncio.create_task(self._read())

    async def __aenter__(self) -> EngineClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def attach(self) -> Attached:
        """Ask for the snapshot; events follow from it without a gap.

        Raises:
            SessionError: the engine ended.
        """
        self._send(Attach(author=self.author, version=__version__))
        return await asyncio.shield(self._attached)

    async def messages(self) -> AsyncIterator[EventHappened | EngineProgress]:
        """Events and progress in their order, each folded into `state` or `progress` as it is given.

        Ends when the engine does, or when it disconnected this client for not reading; `closed` says why.
        """
        while (message := await self._queue.get()) is not None:
            self._apply(message)
            yield message
        self._queue.put_nowait(None)  # for another reader of the same client

    def drain(self) -> list[EventHappened | EngineProgress]:
        """What has come and was not read yet, folded; for a screen that draws in ticks."""
        found: list[EventHappened | EngineProgress] = []
        while not self._queue.empty():
            message = self._queue.get_nowait()
            if message is None:
                self._queue.put_nowait(None)
                break
            self._apply(message)
            found.append(message)
        return found

    async def request(self, message: ToEngine) -> Answer:
        """Send a request and wait for its answer; a refusal is an answer with `ok` False.

        Raises:
            SessionError: the engine ended before it answered, or the message is too large.
        """
        self._requests += 1
        number = self._requests
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answers[number] = future
        try:
            self._send(msgspec.structs.replace(message, request=number))
            return await future
        finally:
            del self._answers[number]

    async def submit_file(self, path: str | os.PathLike[str], *, provenance: str = "human") -> Answer:
        """Add the candidate file at `path`, which the engine watches from then on.

        The engine reads it, with its `.plan.py` where it has one. The answer carries the candidate's id; a file that
        cannot be read is refused with the reason.
        """
        absolute = os.path.abspath(path)
        try:
            absolute.encode()
        except UnicodeEncodeError:
            return Answer(
                request=0, ok=False, message=f"{absolute!r} is not a UTF-8 file name; rename the file."
            )
        return await self.request(
            SubmitCandidate(source=b"", name=Path(absolute).name, provenance=provenance, origin_path=absolute)
        )

    async def stop_engine(self, *, force: bool = False) -> Answer:
        """Ask the engine to end; refused while another screen is attached, unless `force`."""
        return await self.request(StopEngine(force=force))

    async def close(self) -> None:
        """Disconnect; the engine goes on."""
        self._reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reading
        self._end("closed by this side")
        self._writer.close()
        try:
            await asyncio.wait_for(self._writer.wait_closed(), CLOSE_LIMIT_S)
        except TimeoutError:
            self._writer.transport.abort()  # an engine that does not read keeps nobody from leaving
        except OSError:
            pass  # it is closed

    def _send(self, message: ToEngine) -> None:
        if self.closed is not None:
            raise SessionError(f"The engine is gone: {self.closed}.", do="Open the session again.")
        frame = pack(message)
        if len(frame) > MAX_FRAME_BYTES:
            raise SessionError(f"This is too large to send ({len(frame)} bytes).", do="Shorten the file.")
        self._writer.write(frame)

    def _apply(self, message: EventHappened | EngineProgress) -> None:
        if isinstance(message, EventHappened):
            self.state.apply(message.event)
        else:
            self.progress = message

    async def _read(self) -> None:
        why = "the engine ended"
        try:
            while (message := await read_frame_async(self._reader, FromEngine, limit=1 << 30)) is not None:
                match message:
                    case Attached():
                        self.state, self.progress = message.state, message.progress
                        self.session = message.session
                        if not self._attached.done():
                            self._attached.set_result(message)
                    case Answer():
                        future = self._answers.get(message.request)
                        if future is not None and not future.done():
                            future.set_result(message)
                        elif message.request == 0 and not message.ok:
                            why = message.message
                    case _:
                        self._queue.put_nowait(message)
        except (FrameError, ConnectionError) as error:
            why = f"the connection broke ({error})"
        except asyncio.CancelledError:
            why = "closed by this side"
            raise
        except Exception as error:  # whatever it is, whoever waits for an answer must hear of it
            why = f"reading its messages failed ({type(error).__name__}: {error})"
        finally:
            self._end(why)

    def _end(self, why: str) -> None:
        if self.closed is not None:
            return
        self.closed = why
        error = SessionError(f"The engine is gone: {why}.", do="Open the session again.")
        waiting: list[asyncio.Future[Any]] = [self._attached, *self._answers.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(error)
                future.exception()  # retrieved here: nobody may be waiting any more
        self._queue.put_nowait(None)


def start(
    task: str,
    *,
    new: bool = False,
    target: str | None = None,
    arch: str | None = None,
    judges: int | None = None,
    sessions: str | None = None,
) -> EngineStart:
    """Find the running engine of the task's last session, or start one; returns at once (a few milliseconds).

    Args:
        task: a file, a folder or "pkg.module:Class".
        new: start another session even where the task has one.
        target: "host" or "cuda"; None takes the session's, else the configured one.
        arch: for the compiler, "sm_90a"; None takes the configured one, else the device's.
        judges: how many work side by side, in an engine that is started; None takes the configured number.
        sessions: the folder of sessions; None takes WORKBENCH_SESSIONS, a workbench.toml's, or ./sessions.

    Raises:
        UsageError: a workbench.toml is wrong.
        SessionError: there is no runtime folder, or no process can be started.
    """
    root = Path(os.path.abspath(sessions or sessions_folder(task=task)))
    if not new:
        last = last_session(root, task, target=target)
        connection = dial(places(last).socket) if last is not None else None
        if connection is not None:
            return EngineStart(connection=connection)
    arguments = ["--task", task_key(task), "--root", str(root)]
    arguments += ["--new"] if new else []
    arguments += _judges(judges)
    return _spawn(arguments, target, arch, places(last).log if not new and last is not None else None)


def start_session(session: str | os.PathLike[str], *, judges: int | None = None) -> EngineStart:
    """As `start`, for the session in the folder `session`."""
    folder = os.path.abspath(session)
    where = places(Path(folder))
    connection = dial(where.socket)
    if connection is not None:
        return EngineStart(connection=connection)
    return _spawn(["--session", folder, *_judges(judges)], None, None, where.log)


def default_author() -> str:
    """How marks are signed: as workbench.toml says, else the login name; "someone" where there is none."""
    try:
        configured = load_config().author
    except UsageError:  # said where it matters, when a session is opened
        configured = None
    try:
        return configured or getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "someone"


def _judges(judges: int | None) -> list[str]:
    return ["--judges", str(judges)] if judges is not None else []


def _spawn(
    arguments: list[str],
    target: str | None,
    arch: str | None,
    log: Path | None,
) -> EngineStart:
    read, write = os.pipe()
    options = [*(["--target", target] if target else []), *(["--arch", arch] if arch else [])]
    try:
        process = subprocess.Popen(
            # -P: a file named msgspec.py beside the task must not become msgspec.
            [sys.executable, "-P", "-m", "workbench.engine", "--status-fd", str(write), *arguments, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(write,),
            start_new_session=True,  # ctrl-C in the screen's terminal is not meant for the engine
        )
    except OSError as error:
        os.close(read)
        raise SessionError(f"The engine cannot be started: {error.strerror}.", do="Try again.") from None
    finally:
        os.close(write)
    return EngineStart(process=process, status=read, log=log)


def dial(path: Path) -> socket.socket | None:
    """A connection to the engine at `path`; None where nobody listens."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(2.0)  # an engine whose queue of new connections is full does not answer
    try:
        connection.connect(os.fspath(path))
    except OSError:
        connection.close()
        return None
    connection.setblocking(False)
    return connection
