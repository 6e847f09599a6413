"""`python -m workbench.judge.worker`: the judge's process. Frames on the original stdin and stdout, nothing else.

An optional argument is the parent's process number: the judge then dies with it. The streams are moved away before anything else is imported, so that a task that prints (or a C library that does)
writes to stderr and can never put a byte between two frames.
"""

from __future__ import annotations

import contextlib
import os
import sys

NICE = 5
"""Judges run at a lower priority than the screen (docs/design.md, section 4)."""


def main() -> int:
    """Serve until stdin ends or `StopJudge` comes; the exit code is 0 for both."""
    from workbench.judge.worker.streams import take_standard_streams

    incoming, outgoing = take_standard_streams()
    with contextlib.suppress(OSError):
        os.nice(NICE)
    from workbench.judge.worker.loop import Worker
    from workbench.sandbox import spawn_guard

    if len(sys.argv) > 1:
        spawn_guard(int(sys.argv[1]))
    return Worker(incoming, outgoing).serve()


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # A task's threads, atexit hooks and a half-imported torch must not hold the process up or print into its end.
    os._exit(code)
