"""The engine's socket: any number of screens attach, get a snapshot and then every event.

A screen that stops reading costs the engine nothing: its queue is bounded, and over the bound it is disconnected
with a notice. Progress is coalesced, events never are.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

from workbench import __version__
from workbench.core.errors import SessionError, WorkbenchError
from workbench.core.events import Noticed
from workbench.core.messages import (
    Answer,
    Attach,
    Attached,
    EngineProgress,
    EventHappened,
    FromEngine,
    StopEngine,
    ToEngine,
)
from workbench.core.wire import FrameError, pack, read_frame_async
from workbench.engine.journal import Journal
from workbench.engine.runtime import remove_socket
from workbench.engine.store import StoreError

QUEUE_BYTES = 64 << 20
"""How much may wait for a client that does not read before it is disconnected."""
PROGRESS_EVERY_S = 0.05
"""Live progress is sent to a client at most this often."""

Command = Callable[[ToEngine, str], Awaitable[Answer]]
"""Carries out a request of an author; raises WorkbenchError to refuse it."""


class Server:
    """Serves one session on a Unix socket."""

    def __init__(self, journal: Journal, command: Command, stop: Callable[[], None]) -> None:
        """`command` answers requests; `stop` is called when a client asks the engine to end."""
        self._journal = journal
        self._command = command
        self._stop = stop
        self._server: asyncio.Server | None = None
        self._path: Path | None = None
        self._clients: set[_Client] = set()
        self.on_change: Callable[[], None] = lambda: None
        """Called when a client came or went."""

    @property
    def clients(self) -> int:
        """How many screens are attached."""
        return sum(client.attached for client in self._clients)

    @property
    def connections(self) -> int:
        """How many connections are open, attached or not yet."""
        return len(self._clients)

    async def start(self, path: Path) -> None:
        """Listen at `path`; the session's lock must be held, since a socket left there is removed.

        Raises:
            SessionError: the socket cannot be made.
        """
        remove_socket(path)
        try:
            self._server = await asyncio.start_unix_server(self._connected, path=path)
            self._path = path
            os.chmod(path, 0o600)
        except OSError as error:
            raise SessionError(
                f"The engine cannot listen at {path}: {error.strerror}.",
                do="Set XDG_RUNTIME_DIR to a folder of yours.",
            ) from None

    def stop_listening(self) -> None:
        """Take no further screen; those that are connected stay. The session's lock must still be held."""
        if self._server is not None and self._path is not None:
            self._server.close()
            remove_socket(self._path)
            self._path = None

    async def close(self) -> None:
        """Stop listening, let clients read what is queued (for a moment), and disconnect them."""
        self.stop_listening()
        await asyncio.gather(*(client.finish() for client in tuple(self._clients)), return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not _same_user(writer):
            writer.close()
            return
        client = _Client(self._journal, writer, self._overflowed)
        self._clients.add(client)
        self.on_change()
        try:
            await self._serve(client, reader)
        except (FrameError, ConnectionError) as error:
            # One screen that speaks another protocol or went away is no trouble of the session.
            client.say(Answer(request=0, ok=False, message=f"Disconnected: {error}."))
        finally:
            await client.finish()
            self._clients.discard(client)
            self.on_change()

    async def _serve(self, client: _Client, reader: asyncio.StreamReader) -> None:
        tasks: set[asyncio.Task[None]] = set()
        while (message := await read_frame_async(reader, ToEngine)) is not None:
            if isinstance(message, Attach):
                client.attach(message)
                self.on_change()
            elif isinstance(message, StopEngine):
                self._ask_to_stop(client, message)
            else:
                # A sweep may take a second to plan; other requests of the same screen must not wait for it.
                task = asyncio.create_task(self._answer(client, message))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

    async def _answer(self, client: _Client, message: ToEngine) -> None:
        try:
            answer = await self._command(message, client.author)
        except WorkbenchError as error:
            answer = Answer(request=message.request, ok=False, message=str(error))
        except Exception as error:  # a screen that waits for ever is worse than a bug that is named
            traceback.print_exc()
            words = f"The engine failed at this: {type(error).__name__}: {error}. This is a bug."
            answer = Answer(request=message.request, ok=False, message=words)
        client.say(answer)

    def _ask_to_stop(self, client: _Client, message: StopEngine) -> None:
        others = sum(c.attached for c in self._clients if c is not client)
        if others and not message.force:
            who = "another screen is" if others == 1 else f"{others} other screens are"
            client.say(
                Answer(
                    request=message.request,
                    ok=False,
                    message=f"The engine goes on, since {who} attached to it.",
                )
            )
            return
        client.say(Answer(request=message.request, ok=True, message="The engine ends."))
        self._stop()

    def _overflowed(self, client: _Client) -> None:
        with contextlib.suppress(StoreError):
            self._journal.record(
                Noticed(
                    text=f"A screen of {client.author or 'nobody'} stopped reading and was disconnected.",
                    level="warning",
                )
            )


class _Client:
    """One connection, with its bounded queue."""

    def __init__(
        self, journal: Journal, writer: asyncio.StreamWriter, overflowed: Callable[[_Client], None]
    ) -> None:
        self.author = ""
        self.attached = False
        self._journal = journal
        self._writer = writer
        self._overflowed = overflowed
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._queued_bytes = 0
        self._progress: EngineProgress | None = None
        self._progress_timer: asyncio.TimerHandle | None = None
        self._unlisten: Callable[[], None] | None = None
        self._ended = False
        self._sender = asyncio.create_task(self._send())

    def attach(self, message: Attach) -> None:
        self.author = message.author
        if self._unlisten is not None:
            self._unlisten()
        self.say(
            Attached(
                state=self._journal.state,
                session=str(self._journal.store.folder),
                version=__version__,
                progress=self._journal.progress,
            )
        )
        self.attached = True
        self._unlisten = self._journal.listen(self._hear)

    def say(self, message: FromEngine) -> None:
        """Queue `message`, encoded now; over the bound the client is disconnected instead."""
        if self._ended:
            return
        frame = pack(message)
        self._queued_bytes += len(frame)
        self._queue.put_nowait(frame)
        if self._queued_bytes > QUEUE_BYTES:
            self._end()
            self._writer.transport.abort()
            asyncio.get_running_loop().call_soon(self._overflowed, self)

    async def finish(self) -> None:
        """Send what is queued, but wait no longer than a moment, and close."""
        self._end()
        self._queue.put_nowait(None)
        with contextlib.suppress(TimeoutError, asyncio.CancelledError, ConnectionError):
            await asyncio.wait_for(asyncio.shield(self._sender), 1.0)
        self._sender.cancel()
        self._writer.close()

    def _hear(self, message: EventHappened | EngineProgress) -> None:
        if isinstance(message, EventHappened):
            self.say(message)
            return
        self._progress = message
        if self._progress_timer is None:
            loop = asyncio.get_running_loop()
            self._progress_timer = loop.call_later(PROGRESS_EVERY_S, self._say_progress)

    def _say_progress(self) -> None:
        self._progress_timer = None
        if self._progress is not None:
            self.say(self._progress)
            self._progress = None

    def _end(self) -> None:
        self._ended = True
        self.attached = False
        if self._unlisten is not None:
            self._unlisten()
            self._unlisten = None
        if self._progress_timer is not None:
            self._progress_timer.cancel()
            self._progress_timer = None

    async def _send(self) -> None:
        with contextlib.suppress(ConnectionError):
            while (frame := await self._queue.get()) is not None:
                self._writer.write(frame)
                await self._writer.drain()
                self._queued_bytes -= len(frame)


def _same_user(writer: asyncio.StreamWriter) -> bool:
    """The peer runs as our user. Elsewhere than Linux the runtime folder's mode 0700 has to do."""
    peer = getattr(socket, "SO_PEERCRED", None)
    if peer is None:
        return True
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, peer, size))
    return bool(uid == os.getuid())
