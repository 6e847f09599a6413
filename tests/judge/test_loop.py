"""The judge's loop outlives what goes wrong outside of any gate, and says so in the verdict."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from workbench.core.messages import DebugCandidate, Debugged, FromJudge, Judge, Judged, StopJudge, ToJudge
from workbench.core.wire import read_frame, write_frame

# In a process of its own: a judge that is told to stop ends its process whatever runs there.
LOOP = """
import os
from workbench.judge.worker.bench import Bench
from workbench.judge.worker.loop import Worker

class Breaking:
    def settled(self):
        return not STUCK
    def __getattr__(self, name):
        raise ValueError(f"no {name} today")

def half_loaded(self):
    self._task = self._request = self._parts = Breaking()

Bench.warm_up, Bench.close = half_loaded, lambda self: None
os._exit(Worker(0, 1).serve())
"""
"""The real loop with what stands in the place of a task: whatever a verdict asks of it raises."""


@contextmanager
def loop(*, stuck: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    script = LOOP.replace("STUCK", str(stuck))
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def tell(process: subprocess.Popen[bytes], message: ToJudge) -> None:
    assert process.stdin is not None
    write_frame(process.stdin.fileno(), message)


def answer(process: subprocess.Popen[bytes]) -> Judged | Debugged:
    assert process.stdout is not None
    while True:
        message = read_frame(process.stdout.fileno(), FromJudge)
        assert message is not None
        if isinstance(message, Judged | Debugged):
            return message


def test_an_error_outside_of_the_gates_costs_one_verdict_and_not_the_judge() -> None:
    with loop() as process:
        tell(process, Judge(candidate="c1", source=b"one"))
        tell(process, DebugCandidate(candidate="c2", source=b"two"))
        tell(process, Judge(candidate="c3", source=b"three"))
        one, two, three = (answer(process) for _ in range(3))
        assert isinstance(one, Judged) and one.verdict is not None and one.verdict.outcome == "error"
        assert one.verdict.reason.startswith("The judge failed while it made the verdict (ValueError: no ")
        assert isinstance(two, Debugged) and not two.ran and "ValueError" in two.stopped
        assert isinstance(three, Judged) and three.candidate == "c3"
        tell(process, StopJudge())
        assert process.wait(60) == 0


def test_a_judge_whose_reference_never_comes_back_ends_after_its_verdict() -> None:
    with loop(stuck=True) as process:
        tell(process, Judge(candidate="c1", source=b"one"))
        assert isinstance(answer(process), Judged)
        assert process.wait(60) == 1
