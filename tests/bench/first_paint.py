"""How long from the command to the first paint, and to the first verdict on the screen.

Run: python tests/bench/first_paint.py [--runs 5] [--task tasks/rmsnorm.py]

Each run opens a new session in a pseudo-terminal of 160x45 and reads what the terminal would get. The first paint is the
first moment at which the task's name, the panes and the population stand in the output; the first verdict, PASS or FAIL.
Goals: 0.9 s and 10 s on two idle cores.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import statistics
import struct
import sys
import tempfile
import termios
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COLUMNS, LINES = 160, 45
LIMIT_S = 90.0
KEPT_BYTES = 1 << 17
"""Of the output; a frame is about 40 KB, and the spinner adds to it ten times a second."""
_ESCAPE = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[@-Z\\-_])")


class Terminal:
    """A command in a pseudo-terminal."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.started = time.perf_counter()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            os.execvpe(command[0], command, environment)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self.seen = b""

    def until(self, *patterns: bytes, limit_s: float = LIMIT_S) -> float:
        """Seconds from the start until all `patterns` stand in the output, escape sequences aside."""
        while not all(re.search(pattern, _ESCAPE.sub(b"", self.seen)) for pattern in patterns):
            left = self.started + limit_s - time.perf_counter()
            ready, _, _ = select.select([self.fd], [], [], max(0.0, left))
            if not ready:
                raise SystemExit(
                    f"not on the screen within {limit_s:.0f} s: {patterns}\n{self.seen[-2000:]!r}"
                )
            self.seen = (self.seen + os.read(self.fd, 1 << 16))[-KEPT_BYTES:]
        return time.perf_counter() - self.started

    def cpu_s(self) -> float:
        """Processor seconds that the screen's own process has used: what a busy machine does not blur."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """Quit and stop the engine; kill what does not go."""
        for keys in (b"q", b"s"):
            try:
                os.write(self.fd, keys)
            except OSError:
                break
            time.sleep(0.3)
        ends = time.monotonic() + 5
        while time.monotonic() < ends:
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                break
            ready, _, _ = select.select([self.fd], [], [], 0.1)
            if ready:
                with contextlib.suppress(OSError):
                    os.read(self.fd, 1 << 16)
        else:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


def measure(task: str, sessions: str, *, new: bool, verdict: bool) -> tuple[float, float, float | None]:
    """Seconds to the first paint, of which on the processor, and to the first verdict."""
    environment = {
        **os.environ,
        "WORKBENCH_SESSIONS": sessions,
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
    }
    command = [str(Path(sys.executable).parent / "workbench"), *(["--new"] if new else []), task]
    terminal = Terminal(command, environment)
    try:
        painted = terminal.until(Path(task).stem.encode(), b"Verdict", b"Population", b"accept")
        used = terminal.cpu_s()
        judged = terminal.until(rb"(PASS|FAIL|COULD NOT JUDGE) ") if verdict else None
        return painted, used, judged
    finally:
        terminal.close()


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--task", default="tasks/rmsnorm.py")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as sessions:
        new = [measure(options.task, sessions, new=True, verdict=True) for _ in range(options.runs)]
        again = [measure(options.task, sessions, new=False, verdict=True)[0] for _ in range(options.runs)]
    for name, figures, goal in (
        ("first paint, new session", [p for p, _, _ in new], "0.9 s"),
        ("first paint, session resumed", again, "0.9 s"),
        ("of it, the screen's own processor time", [c for _, c, _ in new], ""),
        ("first verdict on the screen", [j for _, _, j in new if j is not None], "10 s"),
    ):
        said = f"  (goal {goal})" if goal else ""
        print(f"{name:40} median {statistics.median(figures):6.2f} s  max {max(figures):6.2f} s{said}")
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
