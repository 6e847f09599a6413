"""`workbench [TASK] [CANDIDATE.cu ...]` through the command line: what is wrong is one sentence, and nothing is made."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
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


class Screen:
    """The command on a terminal of its own, with what it has written there so far."""

    LIMIT_S = 120.0

    def __init__(self, *arguments: str, folder: Path, sessions: Path, columns: int, lines: int = 24) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
        self._sessions = sessions
        self._process = subprocess.Popen(
            [sys.executable, "-m", "workbench", *arguments],
            cwd=folder,
            env={**environment, "WORKBENCH_SESSIONS": str(sessions), "TERM": "xterm-256color"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self._said = b""

    @property
    def text(self) -> str:
        """All that was written, without what moves and colours it."""
        return self._plain(self._said)

    @staticmethod
    def _plain(said: bytes) -> str:
        escapes = r"\x1b(\[[0-9;?>=<$]*[ -/]*[@-~]|[PX^_\]].*?(\x1b\\|\x07)|.)"
        return re.sub(escapes, " ", said.decode(errors="replace"))

    def until(self, words: str) -> None:
        """Read until `words` were written; line breaks and borders between them do not count."""
        ends = time.monotonic() + self.LIMIT_S
        while words not in " ".join(self.text.split()):
            assert time.monotonic() < ends and self._read(), f"never on the screen: {words}\n{self.text}"

    def end(self) -> tuple[int, str]:
        """Exit code, and what stands in the terminal afterwards."""
        ends = time.monotonic() + self.LIMIT_S
        while self._read():
            assert time.monotonic() < ends, f"it does not end\n{self.text}"
        _, left, after = self._said.rpartition(b"\x1b[?1049l")
        assert left, f"it never left the terminal's other screen\n{self.text}"
        return self._process.wait(self.LIMIT_S), self._plain(after).strip()

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._master, keys.encode())

    def close(self) -> None:
        """End what still runs, its engine included."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._master)
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if b"workbench.engine" in words and os.fsencode(self._sessions) in words:
                    os.kill(int(entry.name), signal.SIGTERM)

    def _read(self) -> bool:
        """Wait a moment for more; False where nobody can write any more."""
        if not select.select([self._master], [], [], 0.2)[0]:
            return self._process.poll() is None
        try:
            piece = os.read(self._master, 1 << 16)
        except OSError:  # Linux says EIO where the other end is closed
            return False
        self._said += piece
        return bool(piece)


@pytest.fixture
def screens() -> Iterator[list[Screen]]:
    """Screens that are closed after the test."""
    opened: list[Screen] = []
    yield opened
    for screen in opened:
        screen.close()


def test_a_sessions_folder_that_cannot_be_made_is_said_on_the_screen_and_is_exit_code_2_after_it(
    tmp_path: Path, screens: list[Screen]
) -> None:
    """Neither of these can be written by root either."""
    (tmp_path / "file").write_text("mine")
    for sessions, why in (
        (tmp_path / "file" / "sessions", "Not a directory"),
        (Path("/proc/none"), "No such file"),
    ):
        screen = Screen("rmsnorm", folder=tmp_path, sessions=sessions, columns=100)
        screens.append(screen)
        screen.until("A session cannot be kept in")
        screen.press("q")
        code, after = screen.end()
        assert code == 2
        assert after.startswith(f"workbench: A session cannot be kept in {sessions}: {why}")
        assert after.endswith("Set WORKBENCH_SESSIONS to a folder that can be written.")
        assert "\n" not in after
        assert "Traceback" not in screen.text
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("state", ["full", "read-only"])
def test_a_full_or_read_only_sessions_folder_is_said_on_the_screen_and_is_exit_code_2_after_it(
    tmp_path: Path, small_disk: Path, screens: list[Screen], state: str
) -> None:
    (small_disk / "kept").write_text("mine")
    if state == "full":
        with open(small_disk / "ballast", "wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"x" * 4096):
                pass
    else:
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    screen = Screen("rmsnorm", folder=tmp_path, sessions=small_disk / "sessions", columns=100)
    screens.append(screen)
    screen.until("No session could be opened")
    screen.press("q")
    code, after = screen.end()
    assert code == 2
    assert after.startswith("workbench: ") and after.endswith(".") and "\n" not in after
    assert ("No space left" if state == "full" else "Read-only") in after
    assert (small_disk / "kept").read_text() == "mine"


def test_a_terminal_of_40_columns_says_what_it_needs_and_leaves_the_session_whole(
    tmp_path: Path, screens: list[Screen]
) -> None:
    sessions = tmp_path / "sessions"
    screen = Screen("rmsnorm", folder=tmp_path, sessions=sessions, columns=40)
    screens.append(screen)
    screen.until("at least 60 columns")
    ends = time.monotonic() + Screen.LIMIT_S
    while not list(sessions.glob("rmsnorm-*/events.jsonl")):
        assert time.monotonic() < ends and screen._process.poll() is None, screen.text
        time.sleep(0.05)
    screen.press("q")
    assert screen.end() == (0, "")


def test_40_columns_do_not_hide_why_no_session_could_be_opened(tmp_path: Path, screens: list[Screen]) -> None:
    screen = Screen("rmsnorm", folder=tmp_path, sessions=Path("/proc/none"), columns=40)
    screens.append(screen)
    screen.until("No session could be opened")
    screen.press("q")
    code, after = screen.end()
    assert code == 2 and "Set WORKBENCH_SESSIONS to a folder that can be written." in after
