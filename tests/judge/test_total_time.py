"""A verdict ends, whatever a candidate does with the time of its single runs."""

from __future__ import annotations

import time

import pytest

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
