"""`workbench verify SESSION`: its accepted kernels again, in the present environment, and nothing else of it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.core.events import CandidateAdded, CandidateMarked, SessionStarted
from workbench.engine.sessions import create_folder
from workbench.engine.store import Store

CANDIDATES = Path(__file__).parent.parent / "judge" / "candidates" / "norm"


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """A session of the norm task: c0001 accepted and right, c0002 accepted then taken back, c0003 no candidate at all."""
    task = str(CANDIDATES / "task.py")
    folder = create_folder(tmp_path / "sessions", task)
    store, _ = Store.open(folder)
    store.append([SessionStarted(task_path=task, task_name="task", version="1", target="host")])
    good = (CANDIDATES / "two_pass.cu").read_bytes()
    for candidate, source in (("c0001", good), ("c0002", good), ("c0003", b"garbage")):
        store.write_candidate(candidate, source)
        store.append([CandidateAdded(candidate=candidate, name=candidate, sha256="", provenance="human")])
    store.append([CandidateMarked(candidate=c, mark="accepted") for c in ("c0001", "c0002")])
    store.append([CandidateMarked(candidate="c0002", mark=None)])
    store.close()
    return folder


def verify(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    code = f"from workbench.cli import main; main(['verify', *{list(arguments)!r}])"
    environment = {**os.environ, "WORKBENCH_SESSIONS": str(folder / "sessions")}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=200
    )


def test_the_accepted_kernels_of_a_session_are_judged_again_and_no_others(
    session: Path, tmp_path: Path
) -> None:
    before = (session / "events.jsonl").read_bytes()
    done = verify(session.name, "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (verdict,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert verdict["outcome"] == "pass"
    assert Path(verdict["candidate"]["path"]) == session / "candidates" / "c0001.cu"
    assert (session / "events.jsonl").read_bytes() == before  # the session itself is left alone


def test_an_accepted_kernel_that_does_not_hold_any_more_is_exit_code_one(
    session: Path, tmp_path: Path
) -> None:
    store, _ = Store.open(session)
    store.append([CandidateMarked(candidate="c0003", mark="accepted")])
    store.close()
    done = verify(str(session), "--json", folder=tmp_path)
    assert done.returncode == 1, done.stderr
    assert [json.loads(line)["outcome"] for line in done.stdout.splitlines()] == ["pass", "fail"]


def test_a_session_in_which_nothing_is_accepted_is_one_sentence(session: Path, tmp_path: Path) -> None:
    store, _ = Store.open(session)
    store.append([CandidateMarked(candidate="c0001", mark=None)])
    store.close()
    done = verify(session.name, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and "Nothing is accepted" in done.stderr


def test_an_accepted_kernel_whose_file_was_edited_is_refused_before_anything_is_judged(
    session: Path, tmp_path: Path
) -> None:
    good = (CANDIDATES / "two_pass.cu").read_bytes()
    store, _ = Store.open(session)
    store.write_candidate("c0004", good)
    store.append(
        [
            CandidateAdded(
                candidate="c0004", name="x", sha256=hashlib.sha256(good).hexdigest(), provenance="human"
            ),
            CandidateMarked(candidate="c0004", mark="accepted"),
        ]
    )
    store.close()
    (session / "candidates" / "c0004.cu").write_bytes(good + b"// edited\n")
    done = verify(session.name, folder=tmp_path)
    assert done.returncode == 2
    assert "c0004.cu was changed after it was added" in done.stderr and not done.stdout
