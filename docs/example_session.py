"""Makes sessions/example-rmsnorm: a real session, by the real engine and the real judge.

    python docs/example_session.py /home/kim/workbench

Copies tasks/rmsnorm.py into the folder (a new one: the session remembers its path, so give it one that says nothing
of your machine), opens the workbench's engine on it, adds the failing candidate of docs/first-quarter-hour.md and the
same with the fix as its child, accepts the child, and copies the session here once all is judged. The task is named
as a class in a module, which is there in every checkout: the example can be opened and verified again.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path

from workbench.core.candidate import CandidateId
from workbench.core.messages import Answer, MarkCandidate, SubmitCandidate
from workbench.core.session import SessionState
from workbench.engine import client

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "sessions" / "example-rmsnorm"
LIMIT_S = 300
WORKING = ("queued", "writing", "judging")
TASK = "tasks.rmsnorm:Model"
SHIPPED = 4
"""Kernels for the task's signature that the engine adds by itself."""


async def _judged(engine: client.EngineClient, candidates: int) -> SessionState:
    """Wait until so many candidates are there, and all of them judged."""
    async with asyncio.timeout(LIMIT_S):
        async for _ in engine.messages():
            states = [view.state for view in engine.state.candidates.values()]
            if len(states) >= candidates and not any(state in WORKING for state in states):
                return engine.state
    raise RuntimeError(f"the engine ended: {engine.closed}")


def _taken(answer: Answer) -> CandidateId:
    if not answer.ok or not answer.candidate:
        raise RuntimeError(answer.message)
    return answer.candidate


async def _session(folder: Path) -> Path:
    walk = (ROOT / "docs" / "first-quarter-hour.md").read_text()
    failing, fixed = re.findall(r"^```cuda\n(.*?)^```", walk, flags=re.MULTILINE | re.DOTALL)[:2]
    task, mine = folder / "tasks" / "rmsnorm.py", folder / "mine.cu"
    task.parent.mkdir(parents=True)
    shutil.copy(ROOT / "tasks" / "rmsnorm.py", task)
    mine.write_text(failing)
    os.chdir(folder)
    start = client.start(TASK, new=True, target="host", sessions=str(folder / "sessions"))
    async with await start.connect(author="kim") as engine:
        await engine.attach()
        await _judged(engine, SHIPPED)
        parent = _taken(await engine.submit_file(mine))
        await _judged(engine, SHIPPED + 1)
        edit = SubmitCandidate(source=fixed.encode(), name="mine.cu, edited", parents=(parent,))
        child = _taken(await engine.request(edit))
        await _judged(engine, SHIPPED + 2)
        await engine.request(MarkCandidate(candidate=child, mark="accepted", reason="any number of columns"))
        made = Path(engine.session)
        await engine.stop_engine(force=True)
    return made


def main() -> None:
    """Make it, in the place of the one that is here."""
    folder = Path(sys.argv[1]).absolute()
    os.environ["XDG_CONFIG_HOME"] = str(folder / "config")  # nobody's settings
    made = asyncio.run(_session(folder))
    shutil.rmtree(EXAMPLE, ignore_errors=True)
    EXAMPLE.parent.mkdir(exist_ok=True)
    shutil.copy(made.parent / ".gitignore", EXAMPLE.parent / ".gitignore")
    shutil.copytree(made, EXAMPLE)


if __name__ == "__main__":
    main()
