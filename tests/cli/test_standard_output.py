"""Standard output that cannot be written is no "some fail": the exit code is another, and nobody sees a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.engine.sessions import create_folder

SCRIPTED = Path(__file__).parent.parent / "engine" / "scripted_judge.py"
PROGRAM = """
import sys
from workbench.cli import main
from workbench.judge import client
judge = [sys.executable, sys.argv.pop(1)]
client.local_command = lambda *_: judge
main()
"""
"""`workbench` with the scripted judge, which loads no torch."""
FULL = "workbench: Standard output cannot be written: No space left on device. Send it elsewhere, or free some space.\n"


@pytest.fixture
def lines(tmp_path: Path, sessions: Path) -> dict[str, list[str]]:
    """Command lines that write a little, much, or while candidates are judged, and would exit with 0."""
    sessions.mkdir()
    create_folder(sessions, "softmax")
    (tmp_path / "task.py").write_text("# loads\n")
    (tmp_path / "good.cu").write_text("good")
    judged = ["verify", str(tmp_path / "task.py"), str(tmp_path / "good.cu")]
    return {
        "list": ["list"],
        "dialect": ["dialect"],
        "--help": ["--help"],
        "verify --help": ["verify", "--help"],
        "--version": ["--version"],
        "verify": judged,
        "verify --json": [*judged, "--json"],
    }


def _run(words: list[str], redirected: str) -> subprocess.CompletedProcess[str]:
    """`workbench` in bash with standard output or error as `redirected` says; its exit code and stderr."""
    return subprocess.run(
        ["bash", "-c", f'"$@" {redirected}', "bash", sys.executable, "-c", PROGRAM, str(SCRIPTED), *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


WHICH = ["list", "dialect", "--help", "verify --help", "--version", "verify", "verify --json"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("which", WHICH)
def test_a_full_disk_behind_standard_output_is_one_sentence_and_exit_code_two(
    which: str, lines: dict[str, list[str]]
) -> None:
    done = _run(lines[which], "> /dev/full")
    assert (done.returncode, done.stderr) == (2, FULL)


@pytest.mark.parametrize("which", WHICH)
def test_a_reader_that_goes_away_ends_it_in_silence_as_a_pipe_does(
    which: str, lines: dict[str, list[str]]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # before anything is written, whatever the timing
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(SCRIPTED), *lines[which]],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("which", ["list", "verify"])
def test_a_closed_standard_output_is_one_sentence(which: str, lines: dict[str, list[str]]) -> None:
    done = _run(lines[which], ">&-")
    assert done.returncode == 2
    assert done.stderr.startswith("workbench: Standard output is closed.") and done.stderr.count("\n") == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("words", [["list", "no such"], ["list", "--no-such"]])
@pytest.mark.parametrize("redirected", ["2> /dev/full", "2>&-"])
def test_the_exit_code_is_the_same_where_the_sentence_cannot_be_written(
    words: list[str], redirected: str, sessions: Path
) -> None:
    assert _run(words, redirected).returncode == 2
