"""A candidate that is slower on other data is said to be, and noise says nothing."""

from __future__ import annotations

import pytest

from workbench.judge.worker.timing.blocks import Block, Turn
from workbench.judge.worker.timing.rescaled import data_dependence


def block(candidate: float, baseline: float) -> Block:
    a, b = Turn("candidate", (candidate,)), Turn("baseline", (baseline,))
    return Block(turns=(a, b, b, a), control_us=(50.0, 50.0))


PLAIN = [block(100, 150), block(101, 150), block(99, 151)]


def test_over_ten_percent_slower_on_rescaled_inputs_warns() -> None:
    found = data_dependence(PLAIN, [block(125, 150)] * 4)
    assert found is not None
    assert found.candidate == pytest.approx(0.25)
    assert found.warning == "Speed depends on the data: 25% slower on rescaled inputs (the baseline by 0%)."


def test_a_task_that_depends_on_its_data_itself_is_told_from_a_candidate_that_does() -> None:
    found = data_dependence(PLAIN, [block(125, 195)] * 4)
    assert found is not None
    assert found.warning.endswith("(so is the baseline).")


@pytest.mark.parametrize("candidate", [109.9, 100.0, 40.0])
def test_up_to_ten_percent_or_faster_warns_of_nothing(candidate: float) -> None:
    found = data_dependence(PLAIN, [block(candidate, 150)] * 4)
    assert found is not None
    assert found.warning == ""


def test_one_disturbed_block_of_four_warns_of_nothing() -> None:
    found = data_dependence(PLAIN, [block(100, 150)] * 3 + [block(900, 150)])
    assert found is not None
    assert found.warning == ""


def test_without_two_blocks_of_either_nothing_is_said() -> None:
    assert data_dependence(PLAIN, [block(900, 150)]) is None
    assert data_dependence(PLAIN[:1], PLAIN) is None
