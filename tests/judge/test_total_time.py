"""A verdict ends, whatever a candidate does with the time of its single runs."""

from __future__ import annotations

import time
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from workbench.judge.worker.cancelled import Cancelled
from workbench.judge.worker.judging import Judging
from workbench.judge.worker.outcome import CannotJudge


def test_a_verdict_whose_time_is_up_stops_at_its_next_checkpoint_as_an_error() -> None:
    judging = Judging.__new__(Judging)
    judging._cancelled = lambda: False
    judging._total_s = 900.0
    judging._deadline = time.monotonic() + 900
    judging.checkpoint()
    judging._deadline = time.monotonic() - 1
    with pytest.raises(CannotJudge, match="not judged after 900 s"):
        judging.checkpoint()


def test_a_reference_that_never_comes_back_ends_the_verdict_and_the_judge() -> None:
    judging = Judging.__new__(Judging)
    judging.bench = SimpleNamespace(stuck=False)  # type: ignore[assignment]  # the one field that a wait touches
    judging._cancelled = lambda: False
    judging._total_s = 900.0
    judging._deadline = time.monotonic() + 900
    done: Future[int] = Future()
    done.set_result(5)
    assert judging.wait(done) == 5
    judging._deadline = time.monotonic() - 1
    never: Future[int] = Future()
    with pytest.raises(CannotJudge):
        judging.wait(never)
    assert judging.bench.stuck

    judging.bench.stuck = False
    judging._cancelled = lambda: True
    with pytest.raises(Cancelled):
        judging.wait(never)
    assert not judging.bench.stuck  # it may still come back


def test_a_reference_that_raises_a_timeout_of_its_own_is_heard() -> None:
    judging = Judging.__new__(Judging)
    raised: Future[int] = Future()
    raised.set_exception(TimeoutError("the task's own"))
    with pytest.raises(TimeoutError, match="own"):
        judging.wait(raised)


class _Late(Future[int]):
    """Comes between the wait that was too short and the question whether it is there."""

    def result(self, timeout: float | None = None) -> int:
        try:
            return super().result(0)
        except TimeoutError:
            self.set_result(5)
            raise


def test_a_reference_that_comes_just_when_a_wait_ends_is_its_result_and_no_timeout() -> None:
    assert Judging.wait(Judging.__new__(Judging), _Late()) == 5
