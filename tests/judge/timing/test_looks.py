"""Measuring stops when the interval is narrow or the budget spent, and nothing else has a say."""

from __future__ import annotations

import random

import pytest

from workbench.judge.worker.timing.looks import SCREENING, Looks, Measure, Stop, confirming, next_step

CONFIRMING = confirming(0.05 / 6)


def blocks(count: int, spread: float, centre: float = 0.0) -> list[float]:
    """Log ratios of a given spread, half of them to either side."""
    return [centre + spread * (1 if k % 2 else -1) for k in range(count)]


def step(
    looks: Looks, ratios: list[float], dropped: int = 0, *, left_s: float = 100.0, block_s: float = 0.001
) -> Measure | Stop:
    return next_step(looks, ratios, dropped, delta=0.01, left_s=left_s, block_s=block_s)


def test_the_first_look_is_after_twelve_blocks_and_further_ones_after_24_48_and_96() -> None:
    wide = 0.5
    assert [step(SCREENING, blocks(n, wide)) for n in (0, 12, 24, 48)] == [
        Measure(12),
        Measure(12),
        Measure(24),
        Measure(48),
    ]
    assert step(SCREENING, blocks(96, wide)) == Stop("looks")


@pytest.mark.parametrize("count", [12, 24, 48])
def test_a_narrow_interval_stops_at_each_look(count: int) -> None:
    assert step(SCREENING, blocks(count, 0.001)) == Stop("narrow")


@pytest.mark.parametrize("count", [6, 11, 13, 23, 30, 95])
def test_between_looks_even_a_narrow_interval_does_not_stop(count: int) -> None:
    assert isinstance(step(SCREENING, blocks(count, 1e-6)), Measure)


def test_a_confirmation_takes_48_blocks_whatever_the_budget() -> None:
    assert step(CONFIRMING, []) == Measure(48)
    assert step(CONFIRMING, [], left_s=0) == Measure(48)
    assert step(CONFIRMING, blocks(47, 0.0), left_s=-5, block_s=10) == Measure(1)
    assert step(CONFIRMING, blocks(12, 0.0)) == Measure(36)
    assert step(CONFIRMING, blocks(48, 0.0)) == Stop("narrow")
    assert step(CONFIRMING, blocks(48, 0.5), left_s=0) == Stop("budget")
    assert step(CONFIRMING, blocks(48, 0.5)) == Measure(48)
    assert step(CONFIRMING, blocks(96, 0.5)) == Stop("looks")


def test_what_the_ratio_is_never_decides_whether_to_go_on() -> None:
    rng = random.Random(1)
    for _ in range(300):
        count = rng.choice((6, 12, 20, 24, 48))
        noise = [rng.gauss(0, 0.01) for _ in range(count)]
        dropped, left_s = rng.randrange(6), rng.choice((0.0, 0.01, 5.0))
        answers = {
            str(step(SCREENING, [v + shift for v in noise], dropped, left_s=left_s))
            for shift in (-0.7, -0.0101, 0.0, 0.0101, 0.7)
        }
        assert len(answers) == 1, (count, noise, answers)


def test_a_spent_budget_stops_at_six_blocks_at_the_earliest() -> None:
    assert step(SCREENING, [], left_s=0) == Measure(6)
    assert step(SCREENING, blocks(5, 0.5), left_s=0) == Measure(1)
    assert step(SCREENING, blocks(6, 0.5), left_s=0) == Stop("budget")
    assert step(SCREENING, blocks(12, 0.5), left_s=0.5, block_s=1.0) == Stop("budget")


def test_no_more_blocks_are_asked_for_than_the_budget_pays() -> None:
    assert step(SCREENING, blocks(12, 0.5), left_s=5.5, block_s=1.0) == Measure(5)
    assert step(SCREENING, [], left_s=2.5, block_s=1.0) == Measure(6)
    assert step(SCREENING, [], left_s=2.5, block_s=0.0) == Measure(12)


def test_half_of_a_wide_margin_is_narrow_enough() -> None:
    ratios = blocks(12, 0.012)
    assert next_step(SCREENING, ratios, 0, delta=0.01, left_s=9, block_s=0.1) == Measure(12)
    assert next_step(SCREENING, ratios, 0, delta=0.03, left_s=9, block_s=0.1) == Stop("narrow")


def test_dropped_blocks_are_measured_again_until_there_is_no_hope() -> None:
    assert step(SCREENING, blocks(9, 0.5), 3) == Measure(3)
    # Narrow, but a third was dropped: that may pass, so it goes on.
    assert step(SCREENING, blocks(12, 0.0), 6) == Measure(12)
    assert step(SCREENING, [], 120) == Stop("dropped")
    assert step(SCREENING, blocks(90, 0.5), 25) == Measure(5)


def test_a_device_on_which_every_block_is_dropped_does_not_outlast_the_budget() -> None:
    assert step(SCREENING, [], 7, left_s=0) == Measure(6)
    assert step(SCREENING, [], 8, left_s=0) == Stop("dropped")
    assert step(CONFIRMING, [], 60, left_s=0) == Stop("dropped")


def test_whoever_asks_for_what_next_step_says_arrives_at_every_look() -> None:
    # Whatever is dropped on the way: the number of usable blocks comes by 12, 24, 48 and 96 exactly.
    rng = random.Random(2)
    for _ in range(200):
        usable, dropped, seen = 0, 0, []
        while isinstance(todo := step(SCREENING, blocks(usable, 0.5), dropped), Measure):
            assert todo.blocks >= 1
            lost = sum(rng.random() < 0.05 for _ in range(todo.blocks))
            usable, dropped = usable + todo.blocks - lost, dropped + lost
            if usable in SCREENING.at:
                seen.append(usable)
        assert todo == Stop("looks")
        assert seen == list(SCREENING.at)


def test_an_interval_that_could_have_gone_on_is_made_at_four_fifths_of_the_level() -> None:
    assert SCREENING.level_at(96) == 0.05
    assert SCREENING.level_at(12) == SCREENING.level_at(30) == pytest.approx(0.04)
    assert CONFIRMING.level_at(48) == pytest.approx(0.8 * 0.05 / 6)
