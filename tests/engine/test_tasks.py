"""What is frozen as a revision of the task is what is judged under it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from engine_world import SCRIPTED

from workbench.core.events import CandidateAdded, SessionStarted
from workbench.engine.journal import Journal
from workbench.engine.population import Population
from workbench.engine.sessions import create_folder
from workbench.engine.store import Store
from workbench.engine.tasks import LOADS, TaskRevisions
from workbench.judge.client import JudgeClient


def test_of_many_files_those_whose_versions_are_newest_come_last_and_are_watched(tmp_path: Path) -> None:
    store, state = Store.open(create_folder(tmp_path / "sessions", "task.py"))
    journal = Journal(store, state)
    for number, path in enumerate(["a.cu", "b.cu", "c.cu", "a.cu"], 1):
        journal.record(
            CandidateAdded(candidate=f"c{number}", name=path, sha256="", provenance="human", origin_path=path)
        )
    assert Population(journal).origins() == ["b.cu", "c.cu", "a.cu"]
    store.close()


@pytest.mark.parametrize("saves", [1, LOADS + 5])
async def test_a_save_between_loading_and_freezing_is_loaded_too(tmp_path: Path, saves: int) -> None:
    task = tmp_path / "task.py"
    task.write_text("# version 0\n")
    store, state = Store.open(create_folder(tmp_path / "sessions", str(task)))
    journal = Journal(store, state)
    journal.record(SessionStarted(task_path=str(task), task_name="task", version="1", target="host"))
    revisions = TaskRevisions(journal, task=str(task), target="host", arch=None, timeout_s=None, limit_s=60.0)
    freeze = store.freeze_task
    saved: list[int] = []

    def saved_before(revision: int, sources: Sequence[str]) -> dict[str, str]:
        if len(saved) < saves:
            saved.append(revision)
            task.write_text(f"# version {len(saved)}\n")
        return freeze(revision, sources)

    store.freeze_task = saved_before  # type: ignore[method-assign] # once it is read, it is saved again
    async with JudgeClient(command=[sys.executable, str(SCRIPTED)]) as judge:
        assert await revisions.load(judge)
        assert state.task is not None and state.revision == 1
        frozen = store.frozen(1)[str(task)].read_text()
        if saves == 1:
            assert frozen == state.task.source == "# version 1\n"
            assert not await revisions.changed()
        else:  # it never holds still: shown, and seen as changed, so that it is loaded again
            assert len(saved) == LOADS + 1
            assert await revisions.changed()
    store.close()
