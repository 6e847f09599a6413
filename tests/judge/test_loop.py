"""The judge's loop outlives what goes wrong outside of any gate, and says so in the verdict."""

from __future__ import annotations

import os
import threading
from typing import Any

from workbench.core.messages import (
    DebugCandidate,
    Debugged,
    FromJudge,
    Judge,
    Judged,
    StopJudge,
)
from workbench.core.wire import read_frame, write_frame
from workbench.judge.worker.bench import Bench
from workbench.judge.worker.loop import Worker


class Breaking:
    """Stands in the task's place: whatever a verdict asks of it raises."""

    stuck = False

    def __getattr__(self, name: str) -> Any:
        raise ValueError(f"no {name} today")


def test_an_error_outside_of_the_gates_costs_one_verdict_and_not_the_judge(monkeypatch: Any) -> None:
    def half_loaded(self: Bench) -> None:
        self._task = self._request = self._parts = Breaking()  # type: ignore[assignment]  # it stands for all three

    monkeypatch.setattr(Bench, "warm_up", half_loaded)
    monkeypatch.setattr(Bench, "close", lambda self: None)
    (theirs, ours), (mine, out) = os.pipe(), os.pipe()
    worker = threading.Thread(target=Worker(theirs, out).serve, daemon=True)
    worker.start()
    write_frame(ours, Judge(candidate="c1", source=b"one"))
    write_frame(ours, DebugCandidate(candidate="c2", source=b"two"))
    write_frame(ours, Judge(candidate="c3", source=b"three"))
    found: list[FromJudge] = []
    while len([m for m in found if isinstance(m, Judged | Debugged)]) < 3:
        message = read_frame(mine, FromJudge)
        assert message is not None
        found.append(message)
    one, two, three = [m for m in found if isinstance(m, Judged | Debugged)]
    assert isinstance(one, Judged) and one.verdict is not None and one.verdict.outcome == "error"
    assert one.verdict.reason.startswith("The judge failed while it made the verdict (ValueError: no ")
    assert isinstance(two, Debugged) and not two.ran and "ValueError" in two.stopped
    assert isinstance(three, Judged) and three.candidate == "c3"
    write_frame(ours, StopJudge())
    worker.join(60)
    assert not worker.is_alive()


def test_a_judge_whose_reference_never_comes_back_ends_after_its_verdict(monkeypatch: Any) -> None:
    monkeypatch.setattr(Bench, "warm_up", lambda self: None)
    monkeypatch.setattr(Bench, "close", lambda self: None)
    monkeypatch.setattr(Bench, "stuck", property(lambda self: True))
    (theirs, ours), (mine, out) = os.pipe(), os.pipe()
    codes: list[int] = []
    worker = threading.Thread(target=lambda: codes.append(Worker(theirs, out).serve()), daemon=True)
    worker.start()
    write_frame(ours, Judge(candidate="c1", source=b"one"))
    while not isinstance(message := read_frame(mine, FromJudge), Judged):
        assert message is not None
    worker.join(60)
    assert codes == [1]
