"""A functional form that is never found holds up nothing: no candidate, no saved task, and no later engine."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
from pathlib import Path

import pytest
from engine_world import PATIENCE_S, SCRIPTED, World, until

from workbench.core.events import SessionStarted
from workbench.core.messages import SubmitCandidate
from workbench.engine import form as engine_form
from workbench.engine.bench import Bench
from workbench.engine.client import EngineClient
from workbench.engine.journal import Journal
from workbench.engine.sessions import create_folder
from workbench.engine.store import Store
from workbench.engine.tasks import TaskRevisions
from workbench.judge.client import FormLimitError, JudgeClient


async def _looking(client: EngineClient) -> None:
    await until(client, lambda _: client.progress.activity == "finding the functional form")


async def test_a_saved_task_does_not_wait_for_a_form_that_is_never_found(opened: World) -> None:
    opened.task.write_text("# FORMLESS\n")
    client = await opened.open()
    await _looking(client)
    opened.task.write_text("# another task\n")
    await until(client, lambda s: s.functional is not None and s.functional.source is not None)
    assert client.state.revision == 2
    assert not client.state.warnings


async def test_candidates_do_not_wait_for_a_form_that_is_never_found_and_it_is_given_up_the_second_time(
    opened: World,
) -> None:
    opened.task.write_text("# FORMLESS\n")
    client = await opened.open()
    for number in (1, 2):
        await _looking(client)
        assert client.state.functional is None
        await client.request(SubmitCandidate(source=b"%d" % number, name="one"))
        await until(client, lambda s, n=number: [v.state for v in s.candidates.values()] == ["passed"] * n)
    assert client.state.functional is not None
    assert "while a candidate waited" in client.state.functional.note
    assert not client.state.warnings


async def test_a_client_ends_the_judge_that_does_not_find_the_form_in_time(tmp_path: Path) -> None:
    task = tmp_path / "task.py"
    task.write_text("# FORMLESS\n")
    async with JudgeClient(command=[sys.executable, str(SCRIPTED)]) as judge:
        await judge.load_task(str(task), target="host")
        with pytest.raises(FormLimitError, match="was stopped"):
            await judge.functional_form(limit_s=0.1)
        assert not judge.alive


async def test_a_form_that_takes_too_long_is_not_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_form, "FORM_LIMIT_S", 0.1)
    task = tmp_path / "task.py"
    task.write_text("# FORMLESS\n")
    store, state = Store.open(create_folder(tmp_path / "sessions", str(task)))
    journal = Journal(store, state)
    journal.record(SessionStarted(task_path=str(task), task_name="task", version="1", target="host"))
    revisions = TaskRevisions(journal, task=str(task), target="host", arch=None, timeout_s=None, limit_s=60.0)

    async def nothing() -> None:
        return

    bench = Bench(
        journal,
        revisions,
        command=[sys.executable, str(SCRIPTED)],
        propose=nothing,
    )
    activities: list[str] = []
    idle = asyncio.Event()

    def hear(_: object) -> None:
        activities.append(journal.progress.activity)
        if (
            state.functional is not None
            and journal.progress.judge == "ready"
            and not journal.progress.activity
        ):
            idle.set()

    journal.listen(hear)
    running = asyncio.create_task(bench.run())
    try:
        await asyncio.wait_for(idle.wait(), PATIENCE_S)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        store.close()
    assert state.functional is not None and state.functional.source is None
    assert "torch.export was still tracing" in state.functional.note
    assert [said for said, _ in itertools.groupby(activities)].count("finding the functional form") == 1
