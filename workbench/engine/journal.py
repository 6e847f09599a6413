"""The engine's one way to change state: append to the log, fold, then show.

Everything in the engine runs on one asyncio loop and `record` does not yield, so what is checked before it is still
true when it is done, and every client sees the same order.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from workbench.core.events import Event
from workbench.core.messages import EngineProgress, EventHappened
from workbench.core.session import SessionState
from workbench.engine.store import Store

Listener = Callable[[EventHappened | EngineProgress], None]


class Journal:
    """A session's state with its store and the listeners that are shown each change."""

    def __init__(self, store: Store, state: SessionState) -> None:
        self.store = store
        self.state = state
        self.progress = EngineProgress()
        self._listeners: list[Listener] = []

    def record(self, *events: Event, author: str = "") -> list[Event]:
        """Put `events` on disk, fold them and show them to every listener.

        Raises:
            StoreError: the folder cannot be written; nothing changed.
        """
        if not events:
            return []
        stamped = self.store.append(events, author=author)
        for event in stamped:
            self.state.apply(event)
            self._show(EventHappened(event=event))
        return stamped

    def tell(self, **changes: object) -> None:
        """Change the live progress (fields of `EngineProgress`) and show it, if it differs; never kept on disk."""
        progress = msgspec.structs.replace(self.progress, **changes)
        if progress != self.progress:
            self.progress = progress
            self._show(progress)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with each change from now on; the result ends that. A listener must not block or raise."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _show(self, message: EventHappened | EngineProgress) -> None:
        for listener in tuple(self._listeners):
            listener(message)
