"""A verdict file from elsewhere asks for nothing that a person would not."""

from __future__ import annotations

import pytest

from workbench.cli.candidates import CandidateFile
from workbench.cli.reproduce import LONGEST_S, Recorded
from workbench.core.locate import LocatedTask
from workbench.core.verdict import Verdict, VerdictCandidate, VerdictTask


@pytest.mark.parametrize(
    ("written", "taken"),
    [(2.5, 2.5), (LONGEST_S, LONGEST_S), (1e300, None), (0, None), (-1, None), ("9", None)],
)
def test_a_recorded_launch_limit_is_taken_over_only_within_reason(
    written: object, taken: float | None
) -> None:
    verdict = Verdict(
        task=VerdictTask("t", "f", 1),
        candidate=VerdictCandidate("c1", "", "x.cu"),
        target="host",
        device={"launch_limit_s": written},
        versions={},
        outcome="pass",
    )
    found = Recorded(verdict, LocatedTask("/t.py", "t"), CandidateFile("x.cu", b""))
    assert found.launch_limit_s == taken
