"""What pilots share: waiting for something that will be true, however slow the machine is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

LIMIT_S = 30.0


async def _until(pilot, holds: Callable[[], object], what: str = "") -> None:
    ends = time.monotonic() + LIMIT_S
    while True:
        await pilot.pause()
        if holds():
            return
        assert time.monotonic() < ends, f"never came true: {what or holds}"
        await asyncio.sleep(0.01)


@pytest.fixture
def until():
    """`await until(pilot, condition)`."""
    return _until


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VISUAL", "EDITOR", "NO_COLOR", "TEXTUAL_THEME"):
        monkeypatch.delenv(name, raising=False)
