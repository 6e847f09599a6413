"""However many champions a session confirms, its chance of one wrong word is that of a single interval."""

from __future__ import annotations

import math

import msgspec
import pytest

from workbench.core.confirmation import Confirmations, confirmation_level


def test_the_levels_of_all_confirmations_add_up_to_five_percent() -> None:
    assert confirmation_level(1) == pytest.approx(0.025)
    assert confirmation_level(2) == pytest.approx(0.05 / 6)
    total = math.fsum(confirmation_level(j) for j in range(1, 100_001))
    assert 0.0499 < total < 0.05


def test_there_is_no_confirmation_before_the_first() -> None:
    with pytest.raises(ValueError, match="counted from 1"):
        confirmation_level(0)


def test_each_task_of_a_session_counts_for_itself_and_no_count_is_changed_in_place() -> None:
    none = Confirmations()
    one, j = none.begin("softmax")
    two, k = one.begin("softmax")
    other, m = two.begin("rmsnorm")
    assert (j, k, m) == (1, 2, 1)
    assert none.begun == {}
    assert one.begun == {"softmax": 1}
    assert other.begun == {"softmax": 2, "rmsnorm": 1}


def test_the_count_survives_being_written_down() -> None:
    state, _ = Confirmations({"softmax": 299}).begin("softmax")
    again = msgspec.json.decode(msgspec.json.encode(state), type=Confirmations)
    assert again.begin("softmax")[1] == 301
