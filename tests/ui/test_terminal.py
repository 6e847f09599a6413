"""The README's first line in a real terminal: open, read a verdict, accept, quit, and find it all again."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 150.0

pytestmark = [
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed"),
    pytest.mark.timeout(400),
]


class Tmux:
    """One terminal of a tmux server of its own."""

    def __init__(self, folder: Path, width: int, height: int) -> None:
        self._folder, self._opened = folder, 0
        self.sessions = folder / "sessions"
        self.size = (width, height)
        self.editor = ""

    def set(self, *lines: str) -> None:
        """Write the user's workbench.toml."""
        file = self._folder / "config" / "workbench" / "workbench.toml"
        file.parent.mkdir(parents=True)
        file.write_text("\n".join(lines))

    def open(self, *arguments: str) -> None:
        """Run the workbench; what it leaves behind stays on the screen."""
        self._opened += 1  # a server that is just ending refuses the next command on its socket
        script = Path(sys.executable).parent / "workbench"
        run = (
            f"{script}"
            if script.exists()
            else f"{sys.executable} -c 'from workbench.cli import main; main()'"
        )
        editor = f"VISUAL={self.editor} " if self.editor else ""
        settings = f"XDG_CONFIG_HOME={self._folder / 'config'} COLORTERM=truecolor "
        command = f"cd {ROOT} && {settings}{editor}WORKBENCH_SESSIONS={self.sessions} {run} {' '.join(arguments)}; echo left=$?; cat"
        self._tmux("new-session", "-d", "-x", str(self.size[0]), "-y", str(self.size[1]), command)

    def press(self, *keys: str) -> None:
        """Type keys, as tmux names them."""
        self._tmux("send-keys", *keys)

    def screen(self, *options: str) -> str:
        """What the terminal shows; with "-e" in its colours."""
        return self._tmux("capture-pane", "-p", *options)

    def until(self, *words: str) -> str:
        """The screen, once all `words` stand on it."""
        ends = time.monotonic() + LIMIT_S
        while not all(word in (screen := self.screen()) for word in words):
            assert time.monotonic() < ends, f"never on the screen: {words}\n{screen}"
            time.sleep(0.1)
        return screen

    @property
    def socket(self) -> str:
        """Of this run's server."""
        return str(self._folder / f"tmux{self._opened}")

    def close(self) -> None:
        """End the terminal and the program in it."""
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], capture_output=True, check=False)

    def _tmux(self, *arguments: str) -> str:
        # A process of pytest-xdist has COLUMNS and LINES, which would go before the terminal's own size.
        not_ours = ("TMUX", "NO_COLOR", "COLUMNS", "LINES")
        environment = {k: v for k, v in os.environ.items() if k not in not_ours}
        done = subprocess.run(
            ["tmux", "-S", self.socket, "-f", "/dev/null", *arguments],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        return done.stdout


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Tmux]:
    found = Tmux(tmp_path, 160, 45)
    yield found
    found.close()


def _events(terminal: Tmux) -> list[dict[str, object]]:
    (log,) = terminal.sessions.glob("*/events.jsonl")
    return [json.loads(line) for line in log.read_text().splitlines()]


def _rows(screen: str) -> list[str]:
    """State, mark, id and name of the population, as drawn; a toast over it and the hint name candidates too."""
    rows = re.findall(r"^│[▌ ](✓ .*?c\d{4} +\S+)", screen[screen.index("4 Population") :], re.MULTILINE)
    return [" ".join(row.split()) for row in rows]


def test_the_readmes_first_line_from_open_to_an_accepted_kernel_on_disk_and_back(terminal: Tmux) -> None:
    terminal.open("tasks/rmsnorm.py")
    terminal.until("rmsnorm", "1 PyTorch", "class Model", "4 Population")
    terminal.until("✓ PASS", "gates on host", "needs GPU")
    terminal.until("judge ready", "✓ 4 passed")
    terminal.press("a")
    accepted = terminal.until("★ accepted", "★ 1 accepted")
    terminal.press("q")
    terminal.until("left=0")
    (marked,) = [e for e in _events(terminal) if e["type"] == "candidate_marked"]
    assert marked["mark"] == "accepted"
    (folder,) = terminal.sessions.glob("rmsnorm-*")
    kernel = folder / "candidates" / f"{marked['candidate']}.cu"
    assert "/*@plan" in kernel.read_text()
    terminal.close()

    terminal.open("tasks/rmsnorm.py")
    again = terminal.until("★ accepted", "✓ 4 passed", "judge ready")
    assert len(_rows(accepted)) == 4
    assert _rows(again) == _rows(accepted)
    assert len(list(terminal.sessions.glob("rmsnorm-*"))) == 1
    terminal.press("q")
    terminal.until("left=0")


def test_a_copy_edited_with_the_editor_of_the_settings_is_judged_as_a_child_and_its_later_saves_too(
    terminal: Tmux, tmp_path: Path
) -> None:
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nprintf '// mine\\n' >> \"$1\"\n")
    editor.chmod(0o755)
    terminal.editor = "false"  # the setting goes before it
    terminal.set(
        "[screen]",
        f'editor = "{editor}"',
        'theme = "nord"',
    )
    terminal.open("tasks/rmsnorm.py")
    terminal.until("✓ PASS", "✓ 4 passed")
    assert "48;2;46;52;64" in terminal.screen("-e")  # nord's background, #2e3440
    terminal.press("e")
    terminal.until(", edited", "c0005")
    (work,) = terminal.sessions.glob("*/work/*.cu")
    work.write_text(work.read_text().replace("// mine", "int broken = ;"))
    terminal.until(
        "c0006", "✗ compile", "✗ 1 failed", "judge ready"
    )  # a gate shows before its verdict is kept
    terminal.press("q")
    terminal.until("left=0")


def _engine_of(terminal: Tmux) -> int:
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"workbench.engine" in words and str(terminal.sessions).encode() in words:
            return int(entry.name)
    raise AssertionError("no engine runs")


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds the engine through /proc")
def test_an_engine_that_is_killed_loses_nothing_that_was_shown_and_r_starts_it_again(terminal: Tmux) -> None:
    terminal.open("tasks/softmax.py")
    before = _rows(terminal.until("✓ PASS", "✓ 3 passed", "judge ready"))
    os.kill(_engine_of(terminal), signal.SIGKILL)
    terminal.until("The engine has stopped", "r starts it again")
    terminal.press("r")
    after = terminal.until("✓ 3 passed", "judge ready")
    assert "The engine has stopped" not in after
    assert _rows(after) == before
    terminal.press("a")
    terminal.until("★ 1 accepted")
    terminal.press("q")
    terminal.until("left=0")
