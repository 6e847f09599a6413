"""What the screen needs of an engine: the client of `workbench.engine`, or in a test a scripted one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from workbench.core.messages import Answer, Attached, EngineProgress, EventHappened, ToEngine
from workbench.core.session import SessionState


class Link(Protocol):
    """One connection to an engine; `workbench.engine.client.EngineClient` is the real one."""

    state: SessionState
    """Folded up to the last message that `messages` gave."""
    progress: EngineProgress
    session: str
    """The session's folder, absolute."""
    closed: str | None
    """Why it ended; None while it is open."""

    async def attach(self) -> Attached:
        """The snapshot; events follow from it. Raises SessionError where the engine ended."""

    def messages(self) -> AsyncIterator[EventHappened | EngineProgress]:
        """Events and progress, folded into `state` and `progress`; ends with the engine."""

    async def request(self, message: ToEngine) -> Answer:
        """Send and wait. Raises SessionError where the engine ended."""

    async def submit_file(self, path: str, *, provenance: str = "human") -> Answer:
        """Have the engine read and watch a candidate's file."""

    async def close(self) -> None:
        """Disconnect; the engine goes on."""


class Opening(Protocol):
    """An engine that is starting, or that runs already."""

    async def connect(self) -> Link:
        """Wait for it. Raises SessionError with the engine's own sentence where it could not start."""


class Opener(Protocol):
    """Starts engines, without waiting for them."""

    def open(self, task: str) -> Opening:
        """For a task's last session, or a new one."""

    def reopen(self, session: str) -> Opening:
        """For the session in this folder, after its engine died or because a person picked it."""
