"""One session's engine: the log, the population, the judge and the screens, on one asyncio loop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.core.candidate import CandidateView
from workbench.core.errors import SessionError
from workbench.core.events import CandidateMarked
from workbench.core.messages import (
    Answer,
    Attach,
    CancelCandidate,
    MarkCandidate,
    ReadSource,
    ReadVerdict,
    StopEngine,
    SubmitCandidate,
    ToEngine,
    TuneCandidate,
    VerifyAgain,
)
from workbench.core.session import SessionState
from workbench.engine.journal import Journal
from workbench.engine.runtime import remove_socket
from workbench.engine.server import Server
from workbench.engine.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from workbench.engine.runtime import Lock


class Engine:
    """Serves one session until it is asked to stop, or has had no screen and no work for `idle_s` seconds."""

    def __init__(
        self, store: Store, state: SessionState, *, arch: str | None = None, idle_s: float = 30.0
    ) -> None:
        self.journal = Journal(store, state)
        self._arch = arch
        self._idle_s = idle_s
        self._stopping = asyncio.Event()
        self._server = Server(self.journal, self._command, self._stopping.set)

    async def serve(self, socket: Path, listening: Callable[[], None], choosing: Lock | None) -> None:
        """Listen at `socket`, tell `listening`, let go of `choosing`, and serve until the end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        await self._server.start(socket)
        listening()
        if choosing is not None:
            choosing.release()
        try:
            await self._until_idle()
        finally:
            await self._server.close()
            remove_socket(socket)
            self.journal.store.close()

    async def _until_idle(self) -> None:
        idle_since = asyncio.get_running_loop().time()
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), min(1.0, self._idle_s))
            now = asyncio.get_running_loop().time()
            if self._server.connections:
                idle_since = now
            elif now - idle_since >= self._idle_s:
                return

    async def _command(self, message: ToEngine, author: str) -> Answer:
        match message:
            case MarkCandidate():
                return self._mark(message, author)
            case ReadSource():
                self._known(message.candidate)
                data = self.journal.store.read_candidate(message.candidate)
                return Answer(request=message.request, ok=True, candidate=message.candidate, data=data)
            case ReadVerdict():
                self._known(message.candidate)
                data = self.journal.store.read_verdict(message.candidate)
                return Answer(request=message.request, ok=True, candidate=message.candidate, data=data)
            case SubmitCandidate() | VerifyAgain() | TuneCandidate() | CancelCandidate():
                raise SessionError("Not yet.")
            case Attach() | StopEngine():
                raise AssertionError("the server's own")

    def _mark(self, message: MarkCandidate, author: str) -> Answer:
        self._known(message.candidate)
        self.journal.record(
            CandidateMarked(candidate=message.candidate, mark=message.mark, reason=message.reason),
            author=author,
        )
        return Answer(request=message.request, ok=True, candidate=message.candidate)

    def _known(self, candidate: str) -> CandidateView:
        view = self.journal.state.candidates.get(candidate)
        if view is None:
            raise SessionError(
                f"There is no candidate {candidate} in this session.", do="Choose one of the list."
            )
        return view
