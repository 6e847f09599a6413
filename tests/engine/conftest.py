"""Each test's own machine: folders, settings, and the engines that it starts, which are ended after it."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from engine_world import World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A private machine; its engines are ended afterwards."""
    # Not below tmp_path: a socket's path must stay below 107 bytes.
    runtime = Path(tempfile.mkdtemp(prefix="wb-"))
    world = World(tmp_path, runtime)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(world.config.parent.parent))
    monkeypatch.setenv("WORKBENCH_SESSIONS", str(world.sessions))
    monkeypatch.chdir(tmp_path)
    try:
        yield world
    finally:
        for log in (runtime / "workbench").glob("*.log"):
            if text := log.read_text().strip():
                print(f"--- {log.name}\n{text}")
        world.kill_engines()
        shutil.rmtree(runtime, ignore_errors=True)


@pytest.fixture
async def opened(world: World) -> AsyncIterator[World]:
    """`world`, whose clients are closed afterwards."""
    yield world
    for client in world.clients:
        with contextlib.suppress(Exception):
            await client.close()
