"""The example session that a checkout carries is whole: listed, opened by an engine, each file the one that was judged."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from engine_world import World

from workbench.cli.list import command
from workbench.core.messages import ReadSource, ReadVerdict
from workbench.core.session import fold
from workbench.core.verdict import decode_verdict
from workbench.engine.log import read_log
from workbench.engine.sessions import create_folder

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLE = ROOT / "sessions" / "example-rmsnorm"


def test_the_example_is_listed_with_its_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_SESSIONS", str(EXAMPLE.parent))
    sessions = CliRunner().invoke(command, ["--json"], catch_exceptions=False).stdout.splitlines()
    (listed,) = [one for one in map(json.loads, sessions) if one["name"] == EXAMPLE.name]
    assert (listed["task"], listed["target"]) == ("rmsnorm", "host")
    said = CliRunner().invoke(command, ["example-rmsnorm", "--json"], catch_exceptions=False).stdout
    views = {view["id"]: view for view in map(json.loads, said.splitlines())}
    assert [views[name]["state"] for name in sorted(views)] == [*["passed"] * 4, "failed", "passed"]
    assert views["c0005"]["verdict"]["failed_gate"] == "shapes"
    assert views["c0006"]["mark"] == "accepted" and views["c0006"]["parents"] == ["c0005"]


async def test_an_engine_opens_the_example_and_hands_out_every_verdict_that_its_log_tells_of(
    opened: World, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(EXAMPLE, copy)  # an engine writes into the session that it opens
    told = fold(read_log(EXAMPLE / "events.jsonl").events)
    # Where the scripted judge looks for the task: one that cannot be loaded, so nothing is judged again meanwhile.
    (opened.root / "tasks.rmsnorm:Model").write_text("BROKEN")
    client = await opened.reopen(copy)
    assert client.state.candidates.keys() == told.candidates.keys() and len(told.candidates) == 6
    assert not client.state.warnings
    for name, view in told.candidates.items():
        source = await client.request(ReadSource(candidate=name))
        assert source.ok and hashlib.sha256(source.data).hexdigest() == view.sha256, source.message
        answer = await client.request(ReadVerdict(candidate=name))
        assert answer.ok and hashlib.sha256(answer.data).hexdigest() == view.verdict_sha256, answer.message
        verdict = decode_verdict(answer.data)
        assert view.verdict is not None and verdict.first_line == view.verdict.first_line
        assert verdict.candidate.sha256 == view.sha256
        sass = (EXAMPLE / "profiles" / f"{name}.sass").read_bytes()
        assert hashlib.sha256(sass).hexdigest() == view.sass_sha256


def test_what_a_user_makes_beside_the_example_stays_out_of_version_control(tmp_path: Path) -> None:
    create_folder(tmp_path, "rmsnorm")
    assert (EXAMPLE.parent / ".gitignore").read_text() == (tmp_path / ".gitignore").read_text()
