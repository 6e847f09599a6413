"""Ctrl-C in a command that waits for a judge."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, but that a SIGINT always wakes the loop.

    asyncio's own handler is Python code: a signal that comes between the last look for signals and the loop's wait is
    seen only when something else ends that wait, which may be never. A handler of the loop's writes to a descriptor
    that the wait looks at.

    Raises:
        KeyboardInterrupt: on SIGINT, once `work` has ended what it began.
    """
    return asyncio.run(_interruptible(work))


async def _interruptible(work: Coroutine[Any, Any, T]) -> T:
    loop, interrupted = asyncio.get_running_loop(), False
    task = asyncio.ensure_future(work)

    def interrupt() -> None:
        nonlocal interrupted
        interrupted = True
        task.cancel()

    if threading.current_thread() is not threading.main_thread():
        return await task
    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        return await task
    except asyncio.CancelledError:
        if interrupted:
            raise KeyboardInterrupt from None
        raise
    finally:
        loop.remove_signal_handler(signal.SIGINT)
