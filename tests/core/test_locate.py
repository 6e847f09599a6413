"""Which task or session a command line means."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from workbench.core import locate
from workbench.core.errors import UsageError


def test_a_bare_name_is_a_shipped_task() -> None:
    task = locate.locate_task("rmsnorm")
    assert task.shipped
    assert task.name == "rmsnorm"
    assert Path(task.path).is_file()


def test_at_least_eight_tasks_are_shipped() -> None:
    assert len(locate.shipped_tasks()) >= 8


def test_a_path_is_found_from_the_given_folder_and_made_absolute(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("")
    task = locate.locate_task("mine.py", folder=tmp_path)
    assert task == locate.LocatedTask(str((tmp_path / "mine.py").resolve()), "mine")


def test_a_task_file_is_never_executed(tmp_path: Path) -> None:
    (tmp_path / "bomb.py").write_text("raise SystemExit(9)\nopen('ran', 'w')\n")
    locate.locate_task("bomb.py", folder=tmp_path)
    locate.locate_task("bomb:Model", folder=tmp_path)
    assert not (tmp_path / "ran").exists()
    assert "bomb" not in sys.modules


def test_a_folder_is_a_task_unless_it_holds_an_event_log(tmp_path: Path) -> None:
    (tmp_path / "block").mkdir()
    assert locate.locate_task("block", folder=tmp_path).name == "block"
    (tmp_path / "block" / "events.jsonl").write_text("")
    with pytest.raises(UsageError, match="is a session"):
        locate.locate_task("block", folder=tmp_path)


def test_a_folder_named_like_a_shipped_task_wins_over_it(tmp_path: Path) -> None:
    (tmp_path / "rmsnorm").mkdir()
    assert not locate.locate_task("rmsnorm", folder=tmp_path).shipped


def test_a_class_is_named_by_its_module(tmp_path: Path) -> None:
    assert locate.locate_task("pkg.module:Block", folder=tmp_path) == locate.LocatedTask(
        "pkg.module:Block", "Block"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rmsnrm", "Did you mean rmsnorm"),
        ("elsewhere/softmax.py", "workbench softmax"),
        ("missing.py", "no task missing.py"),
        ("kernel.cu", "is a candidate"),
        ("notes.txt", "is not a task"),
        ("a b:c", "is not a task"),
        ("task.py:Model", "mixes a file and a class"),
        ("", "No task is named"),
        ("x\0y", "No task is named"),
    ],
)
def test_a_wrong_name_is_one_sentence_that_says_what_to_do(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UsageError, match=words) as caught:
        locate.locate_task(text, folder=tmp_path)
    assert caught.value.do
    assert "\n" not in str(caught.value)


def test_a_forgotten_suffix_is_named(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "mine.py").write_text("")
    with pytest.raises(UsageError, match=r"Did you mean tasks/mine\.py"):
        locate.locate_task("tasks/mine", folder=tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_task_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "t.py").write_text("")
    (tmp_path / "t.py").chmod(0)
    with pytest.raises(UsageError, match="cannot be read"):
        locate.locate_task("t.py", folder=tmp_path)


def _session(home: Path, name: str, at: float) -> Path:
    (home / name).mkdir(parents=True)
    log = home / name / "events.jsonl"
    log.write_text("")
    os.utime(log, (at, at))
    return home / name


def test_a_session_is_named_by_path_or_unique_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORKBENCH_SESSIONS", raising=False)
    home = tmp_path / "sessions"
    first = _session(home, "rmsnorm-20260101-1", 100)
    second = _session(home, "rmsnorm-20260101-12", 300)
    third = _session(home, "softmax-20260102-1", 200)
    assert locate.locate_session("soft", folder=tmp_path) == third.resolve()
    assert locate.locate_session("sessions/rmsnorm-20260101-12", folder=tmp_path) == second.resolve()
    assert locate.locate_session("rmsnorm-20260101-1", folder=tmp_path) == first.resolve()
    with pytest.raises(UsageError, match="names 2 sessions: rmsnorm-20260101-12, rmsnorm-20260101-1"):
        locate.locate_session("rms", folder=tmp_path)
    with pytest.raises(UsageError, match="no session gelu"):
        locate.locate_session("gelu", folder=tmp_path)
    assert locate.recent_sessions(tmp_path) == [second, third, first]


def test_the_environment_moves_the_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_SESSIONS", str(tmp_path / "elsewhere"))
    session = _session(tmp_path / "elsewhere", "a-1", 1)
    assert locate.recent_sessions(tmp_path) == [session]


def test_tasks_beside_the_user_are_listed_and_shipped_ones_are_not_listed_twice(tmp_path: Path) -> None:
    assert locate.local_tasks(tmp_path) == ()
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "mine.py").write_text("")
    (tmp_path / "tasks" / "_helper.py").write_text("")
    assert [t.name for t in locate.local_tasks(tmp_path)] == ["mine"]
    assert locate.local_tasks(locate.shipped_folder().parent) == ()
