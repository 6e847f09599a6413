"""Draws docs/screen.svg, the picture in the README: a real session, run without a terminal.

    python docs/screenshot.py

Opens tasks/rmsnorm.py in a temporary session, adds the failing candidate of docs/first-quarter-hour.md, sweeps the
knobs of a shipped kernel, waits until everything is judged, and saves what the screen shows.
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from pathlib import Path

from textual.pilot import Pilot

from workbench.cli.open import Engines
from workbench.core.locate import locate_task
from workbench.core.session import SessionState, fold
from workbench.engine.log import read_log
from workbench.ui.app import WorkbenchApp

DOCS = Path(__file__).resolve().parent
SIZE = (160, 42)
LIMIT_S = 300
WORKING = ("queued", "writing", "judging")


def _state(sessions: Path) -> SessionState:
    logs = list(sessions.glob("*/events.jsonl"))
    return fold(read_log(logs[0]).events) if logs else SessionState()


async def _judged(pilot: Pilot[None], sessions: Path, candidates: int) -> None:
    """Wait until at least so many candidates are there, and all of them judged."""
    for _ in range(LIMIT_S):
        await pilot.pause(1)
        states = [view.state for view in _state(sessions).candidates.values()]
        if len(states) >= candidates and not any(state in WORKING for state in states):
            await pilot.pause(1)
            return
    raise TimeoutError(f"not judged within {LIMIT_S} s: {states}")


async def _draw(folder: Path) -> str:
    walk = (DOCS / "first-quarter-hour.md").read_text()
    (failing, *_) = re.findall(r"^```cuda\n(.*?)^```", walk, flags=re.MULTILINE | re.DOTALL)
    mine = folder / "mine.cu"
    mine.write_text(failing)
    sessions = folder / "sessions"
    os.environ["WORKBENCH_SESSIONS"] = str(sessions)
    os.environ["XDG_CONFIG_HOME"] = str(folder)
    (folder / "workbench").mkdir()
    (folder / "workbench" / "workbench.toml").write_text('author = "kim"\n')

    engines = Engines(new=True)
    task = locate_task(str(DOCS.parent / "tasks" / "rmsnorm.py"))
    app = WorkbenchApp(engines, task=task, opening=engines.open(task.path), candidates=[str(mine)])
    async with app.run_test(size=SIZE) as pilot:
        await _judged(pilot, sessions, 4)
        await pilot.press("home")
        await pilot.press("t")
        await _judged(pilot, sessions, 6)
        await pilot.press("A")
        await pilot.pause(1)
        await pilot.press(*"one barrier", "enter")
        await pilot.pause(8)  # until the toasts are gone
        drawn = app.export_screenshot(title="workbench tasks/rmsnorm.py")
        await pilot.press("q")
        await pilot.pause(1)
    return drawn


def main() -> None:
    """Draw and save."""
    with tempfile.TemporaryDirectory() as folder:
        drawn = asyncio.run(_draw(Path(folder)))
    (DOCS / "screen.svg").write_text(drawn + "\n")


if __name__ == "__main__":
    main()
