"""Session folders: their names, which one is a task's last, and `workbench list`."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from workbench.cli.list import command
from workbench.core.candidate import VerdictSummary
from workbench.core.errors import UsageError
from workbench.core.events import CandidateAdded, CandidateMarked, Noticed, SessionStarted, VerdictReached
from workbench.core.task import TaskInfo
from workbench.core.verdict import Outcome
from workbench.engine import sessions as engine_sessions
from workbench.engine.sessions import create_folder, last_session, summaries, task_key, task_name
from workbench.engine.store import Store


def started(root: Path, task: str, *, target: str = "host", at: float = 0.0) -> Path:
    folder = create_folder(root, task)
    store, _ = Store.open(folder)
    store.append(
        [SessionStarted(task_path=task_key(task), task_name=task_name(task), version="1", target=target)]
    )
    store.close()
    if at:
        os.utime(folder / "events.jsonl", (at, at))
    return folder


def test_a_session_is_named_by_task_date_and_number(tmp_path: Path) -> None:
    date = time.strftime("%Y-%m-%d")
    names = [create_folder(tmp_path, "tasks/rmsnorm.py").name for _ in range(3)]
    assert names == [f"rmsnorm-{date}-{n}" for n in (1, 2, 3)]
    assert create_folder(tmp_path, "pkg.attention:Model").name == f"attention-{date}-1"
    assert create_folder(tmp_path, "../../evil/../x y;z.py").name.startswith("x-y-z")


def test_sessions_stay_out_of_version_control_and_a_users_own_gitignore_stays(tmp_path: Path) -> None:
    create_folder(tmp_path / "a", "t.py")
    assert "*" in (tmp_path / "a" / ".gitignore").read_text().splitlines()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / ".gitignore").write_text("mine")
    create_folder(tmp_path / "b", "t.py")
    assert (tmp_path / "b" / ".gitignore").read_text() == "mine"


def test_the_last_used_session_of_the_same_task_and_target_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.py", "b.py"):
        Path(name).write_text("")
    root = tmp_path / "sessions"
    older = started(root, "a.py", at=1000)
    newer = started(root, str(tmp_path / "a.py"), at=2000)
    other = started(root, "b.py", at=3000)
    gpu = started(root, "a.py", target="cuda", at=500)
    (root / "no-session").mkdir()
    (root / "broken").mkdir()
    (root / "broken" / "events.jsonl").write_text("garbage")
    assert last_session(root, "a.py") == newer
    assert last_session(root, "a.py", target="cuda") == gpu
    assert last_session(root, "./b.py") == other
    assert last_session(root, "c.py") is None
    os.utime(older / "events.jsonl", (4000, 4000))
    assert last_session(root, "a.py") == older
    assert [s.name for s in summaries(root)] == [older.name, other.name, newer.name, gpu.name]
    assert all(s.bytes > 0 for s in summaries(root))
    assert list(engine_sessions.all_sessions(tmp_path / "nothing")) == []


@pytest.mark.parametrize(
    "damage",
    [
        b'{"type":"session_started","task_path":"\xff","task_name":"t","version":"1","target":"host"}\n',
        b'{"type":"session_started","x":' + b"[" * 5000 + b"]" * 5000 + b"}\n",
        b'{"type":"noticed","text":"no first event"}\n',
        b'{"type":"of_a_newer_version"}\n',
        b"\0" * 700,
        b"",
    ],
    ids=["not UTF-8", "deep", "another event", "unknown event", "zeros", "empty"],
)
def test_a_session_whose_first_line_is_damaged_hides_no_other(sessions: Path, damage: bytes) -> None:
    broken, whole = started(sessions, "a.py"), started(sessions, "b.py")
    (broken / "events.jsonl").write_bytes(damage)
    assert whole.name in run().output
    assert [s.name for s in summaries(sessions)] == [whole.name]
    assert last_session(sessions, "b.py") == whole
    assert last_session(sessions, "a.py") is None


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, list(arguments), catch_exceptions=False)


def test_list_shows_sessions_with_their_disk_use(sessions: Path, tmp_path: Path) -> None:
    assert "no sessions" in run().output
    assert run("--json").output == ""
    one = started(sessions, "softmax.py")
    two = started(sessions, "rmsnorm.py")
    output = run().output
    assert one.name in output and two.name in output
    assert "2 in" in output
    lines = [json.loads(line) for line in run("--json").output.splitlines()]
    assert {line["path"] for line in lines} == {str(one), str(two)}
    assert {"name", "task", "task_path", "target", "started_at", "used_at", "bytes"} <= lines[0].keys()


def test_list_of_a_session_shows_its_candidates_best_first(sessions: Path) -> None:
    folder = started(sessions, "softmax.py")
    assert "no candidates yet" in run("softmax").output
    store, _ = Store.open(folder)
    ends: list[tuple[Outcome, float | None]] = [("fail", None), ("pass", 2.0), ("pass", 1.0)]
    for n, (outcome, rank) in enumerate(ends, 1):
        summary = VerdictSummary(
            outcome=outcome,
            first_line=f"line {n}",
            basis="f:e",
            revision=1,
            seconds=1.0,
            rank=rank,
        )
        store.append(
            [
                CandidateAdded(candidate=f"c{n:04d}", name=f"n{n}", sha256="", provenance="human"),
                VerdictReached(candidate=f"c{n:04d}", summary=summary),
            ]
        )
    store.append([CandidateMarked(candidate="c0002", mark="accepted"), Noticed(text="x")])
    store.close()
    lines = run("softmax").output.splitlines()
    assert [line.split()[0] for line in lines] == ["c0002", "c0003", "c0001"]
    assert "accepted" in lines[0] and "line 2" in lines[0]
    objects = [json.loads(line) for line in run("softmax", "--json").output.splitlines()]
    assert [o["id"] for o in objects] == ["c0002", "c0003", "c0001"]
    assert objects[0]["mark"] == "accepted"
    with pytest.raises(UsageError, match="There is no session"):
        run("nothing-like-it")


def test_list_reads_a_session_whose_log_is_torn(sessions: Path) -> None:
    folder = started(sessions, "softmax.py")
    with open(folder / "events.jsonl", "ab") as log:
        log.write(b'{"type":"not')
    assert run("softmax").exit_code == 0
    assert (folder / "events.jsonl").read_bytes().endswith(b'"not')


def test_a_task_info_survives_the_log(tmp_path: Path) -> None:
    info = TaskInfo(
        name="t",
        path="p",
        fingerprint="f",
        environment="e",
        source="é\0\n",
        sources=(),
        sizes=(),
        derived_small=True,
    )
    assert msgspec.json.decode(msgspec.json.encode(info), type=TaskInfo) == info
