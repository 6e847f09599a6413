"""`workbench [TASK] [CANDIDATE.cu ...]` through the command line: what is wrong is one sentence, and nothing is made."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.core.locate import EVENT_LOG


def run(*arguments: str, folder: Path, terminal: bool = False) -> subprocess.CompletedProcess[str]:
    """The command's result; `terminal` gives it one to read and write on, errors included."""
    code = f"import sys; from workbench.cli import main; main({list(arguments)!r})"
    environment = {**os.environ, "WORKBENCH_SESSIONS": str(folder / "sessions")}
    command = [sys.executable, "-c", code]
    if not terminal:
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60
        )
    master, slave = pty.openpty()
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, stdin=slave, stdout=slave, stderr=slave, timeout=60
        )
        os.close(slave)
        said = b""
        while True:
            try:
                piece = os.read(master, 1 << 16)
            except OSError:
                break
            if not piece:
                break
            said += piece
    finally:
        os.close(master)
    return subprocess.CompletedProcess(command, done.returncode, "", said.decode().replace("\r\n", "\n"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["nowhere/rmsnorm.py"],
            "There is no task nowhere/rmsnorm.py. A task of that name is shipped: workbench rmsnorm.",
        ),
        (["rmsnrm"], "Did you mean rmsnorm?"),
        (["verfy", "rmsnorm", "kernel.cu"], "Did you mean workbench verify?"),
        (["kernel.cu"], "kernel.cu is a candidate, not a task."),
        (["rmsnorm", "gone.cu"], "There is no candidate gone.cu."),
        (["rmsnorm", "."], ". is a folder."),
        (["rmsnorm", "--target", "tpu"], "'tpu' is not one of 'host', 'cuda'"),
        (["rmsnorm", "--nonsense"], "--nonsense"),
    ],
)
def test_a_wrong_word_is_one_sentence_and_exit_code_2(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    (tmp_path / "kernel.cu").write_text("")
    done = run(*arguments, folder=tmp_path, terminal=True)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "sessions").exists()


def test_without_a_terminal_it_names_the_command_that_needs_none(tmp_path: Path) -> None:
    for arguments in (["rmsnorm"], []):
        done = run(*arguments, folder=tmp_path)
        assert done.returncode == 2
        assert "needs a terminal" in done.stderr and "workbench verify" in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "sessions").exists()


def test_help_has_an_example(tmp_path: Path) -> None:
    done = run("open", "--help", folder=tmp_path)
    assert done.returncode == 0 and "Example: workbench tasks/rmsnorm.py" in done.stdout


def test_the_prefix_of_several_sessions_is_refused_with_their_names(tmp_path: Path) -> None:
    for n in (1, 2):
        folder = tmp_path / "sessions" / f"mine-2026-01-01-{n}"
        folder.mkdir(parents=True)
        (folder / EVENT_LOG).write_text("")
    done = run("mine", folder=tmp_path, terminal=True)
    assert done.returncode == 2
    assert "names 2 sessions" in done.stderr and "mine-2026-01-01-2" in done.stderr
