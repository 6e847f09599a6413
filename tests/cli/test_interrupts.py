"""Ctrl-C reaches a command's coroutine, also when it comes just before the loop begins to wait."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from workbench.cli.interrupts import run
from workbench.core.errors import UsageError


def test_an_interrupt_ends_what_waits_and_its_last_act_is_done() -> None:
    done: list[str] = []

    async def work() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            done.append("closed")

    with pytest.raises(KeyboardInterrupt):
        run(work())
    assert done == ["closed"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_wakes_the_loop_by_a_descriptor_that_it_waits_for() -> None:
    async def work() -> int:
        descriptor = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(descriptor)
        return descriptor

    assert run(work()) >= 0
    assert signal.set_wakeup_fd(-1) == -1


def test_results_and_errors_come_through() -> None:
    async def right() -> str:
        return "right"

    async def wrong() -> None:
        raise UsageError("Something is wrong.", do="Mend it.")

    assert run(right()) == "right"
    with pytest.raises(UsageError):
        run(wrong())
