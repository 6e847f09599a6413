"""Real engines in private folders, with the scripted judge (see scripted_judge.py) unless a test wants the real one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from workbench.core.session import SessionState
from workbench.engine import client as engine_client
from workbench.engine.client import EngineClient

SCRIPTED = Path(__file__).parent / "scripted_judge.py"
PATIENCE_S = 90.0
"""For what must happen; long, since the machine may be busy. Nothing passes by waiting."""


class World:
    """One user's machine: folders, environment, and the engines started on it."""

    def __init__(self, root: Path, runtime: Path) -> None:
        self.root = root
        self.runtime = runtime
        self.sessions = root / "sessions"
        self.config = root / "config" / "workbench" / "workbench.toml"
        self.task = root / "task.py"
        self.task.write_text("# a task that the scripted judge takes\n")
        self.config.parent.mkdir(parents=True)
        python = root / "python"
        python.write_text(f"#!/bin/sh\nexec {sys.executable} {SCRIPTED}\n")
        python.chmod(0o755)
        self.config.write_text(f'[judge]\npython = "{python}"\ntarget = "host"\n')
        self.starts: list[engine_client.EngineStart] = []
        self.clients: list[EngineClient] = []

    def candidate(self, name: str, text: str) -> Path:
        """A candidate's file outside of the session."""
        path = self.root / name
        path.write_text(text)
        return path

    async def open(self, task: Path | None = None, *, author: str = "ada", new: bool = False) -> EngineClient:
        """Start or find the engine of `task`, and attach."""
        start = engine_client.start(str(task or self.task), new=new)
        self.starts.append(start)
        return await self._attach(start, author)

    async def reopen(self, session: Path, *, author: str = "ada") -> EngineClient:
        """As `open`, for a session's folder."""
        start = engine_client.start_session(session)
        self.starts.append(start)
        return await self._attach(start, author)

    async def _attach(self, start: engine_client.EngineStart, author: str) -> EngineClient:
        client = await start.connect(author=author)
        self.clients.append(client)
        await client.attach()
        return client

    @property
    def session(self) -> Path:
        """The only session."""
        (folder,) = (p for p in self.sessions.iterdir() if p.is_dir())
        return folder

    def engine_pids(self) -> list[int]:
        """Of the engines that this test started and that run."""
        return [s._process.pid for s in self.starts if s._process is not None and s._process.poll() is None]

    def kill_engines(self, number: int = signal.SIGKILL) -> None:
        """End them, and wait until they are gone."""
        for start in self.starts:
            if start._process is not None and start._process.poll() is None:
                start._process.send_signal(number)
                start._process.wait(30)


async def until(client: EngineClient, holds: Callable[[SessionState], bool], what: str = "") -> SessionState:
    """Read messages until `holds` is true of the state; fails with the last state after PATIENCE_S."""
    if holds(client.state):
        return client.state

    async def read() -> None:
        async for _ in client.messages():
            if holds(client.state):
                return
        raise AssertionError(f"the engine ended ({client.closed}) before: {what}")

    try:
        await asyncio.wait_for(read(), PATIENCE_S)
    except TimeoutError:
        states = {v.id: (v.state, v.state_reason) for v in client.state.candidates.values()}
        notices = [n.text for n in client.state.notices]
        pytest.fail(f"never came: {what}; {client.progress}; {states}; {notices}")
    return client.state


def alive(pid: int) -> bool:
    """The process runs (a zombie does not)."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def children(pid: int) -> list[int]:
    """Every process that descends from `pid`."""
    found: list[int] = []
    front = [pid]
    while front:
        parent = front.pop()
        for path in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                front.extend(map(int, path.read_text().split()))
        found.append(parent)
    return [p for p in found if p != pid]
