"""Intervals and words rest on quantiles that agree with printed tables, and every border of a word is where judge.md has it."""

from __future__ import annotations

import math
import random

import msgspec
import pytest

from workbench.core.statistics import (
    LEAST_BLOCKS,
    median_interval,
    speedup,
    t_quantile,
    t_tail,
    trimmed_interval,
    word,
)
from workbench.core.verdict import Speedup


@pytest.mark.parametrize(
    ("level", "freedom", "quantile"),
    # Printed tables of the two-sided quantiles (three decimals; the two last from the closed forms of 1 and 2 degrees).
    [
        (0.05, 1, 12.706),
        (0.05, 2, 4.303),
        (0.05, 5, 2.571),
        (0.05, 9, 2.262),
        (0.05, 11, 2.201),
        (0.05, 30, 2.042),
        (0.05, 60, 2.000),
        (0.05, 120, 1.980),
        (0.10, 10, 1.812),
        (0.01, 10, 3.169),
        (0.001, 10, 4.587),
        (0.001, 30, 3.646),
        (0.02, 20, 2.528),
        (0.5, 4, 0.741),
        (1e-4, 1, 1 / math.tan(math.pi * 1e-4 / 2)),
        (1e-6, 2, (1 - 1e-6) * math.sqrt(2 / (1 - (1 - 1e-6) ** 2))),
    ],
)
def test_the_t_quantile_is_that_of_printed_tables(level: float, freedom: int, quantile: float) -> None:
    assert t_quantile(level, freedom) == pytest.approx(quantile, abs=6e-4, rel=1e-6)


def test_the_t_quantile_holds_far_out_where_the_300th_confirmation_needs_it() -> None:
    level = 0.05 / (300 * 301)
    for freedom in (39, 47, 79, 95):
        t = t_quantile(level, freedom)
        assert t_tail(t, freedom) == pytest.approx(level, rel=1e-9)
        assert _closed_tail(t, freedom) == pytest.approx(level, rel=1e-6)


def _closed_tail(t: float, freedom: int) -> float:
    """Abramowitz and Stegun 26.7.3, for odd degrees of freedom: an independent way."""
    theta = math.atan(t / math.sqrt(freedom))
    cosine, total, term = math.cos(theta), 0.0, math.cos(theta)
    for k in range(1, (freedom - 1) // 2 + 1):
        total += term
        term *= cosine**2 * (2 * k) / (2 * k + 1)
    return 1 - 2 * (theta + math.sin(theta) * total) / math.pi


@pytest.mark.parametrize(("level", "freedom"), [(0.0, 5), (1.0, 5), (0.05, 0)])
def test_no_quantile_is_made_up_where_there_is_none(level: float, freedom: int) -> None:
    with pytest.raises(ValueError, match="no t quantile"):
        t_quantile(level, freedom)


def test_below_ten_values_the_interval_is_the_ordinary_one() -> None:
    centre, half = trimmed_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert centre == 3.0
    assert half == pytest.approx(2.7764 * math.sqrt(2.5 / 5), rel=1e-4)


def test_one_wild_block_of_twelve_moves_the_interval_little() -> None:
    values = [0.001 * k for k in range(-5, 6)]
    centre, half = trimmed_interval([*values, 0.006])
    wild_centre, wild_half = trimmed_interval([*values, 3.0])
    assert wild_centre == centre
    assert wild_half == half


def test_all_blocks_alike_make_an_interval_without_width() -> None:
    assert trimmed_interval([0.5] * 12) == (0.5, 0.0)
    with pytest.raises(ValueError, match="two values"):
        trimmed_interval([0.5])


@pytest.mark.parametrize(
    ("n", "rank"),
    # Ranks from below, 1-based, of the 95 % sign interval, as printed in tables.
    [(6, 1), (9, 2), (10, 2), (12, 3), (15, 4), (20, 6), (25, 8), (48, 17)],
)
def test_the_median_has_the_tables_order_statistics_around_it(n: int, rank: int) -> None:
    found = median_interval([float(v) for v in random.Random(3).sample(range(1, n + 1), n)])
    assert (found.low, found.high) == (rank, n + 1 - rank)
    assert found.median == (n + 1) / 2


def test_the_median_of_few_lies_between_the_extremes() -> None:
    assert median_interval([7.0]).low == median_interval([7.0]).high == 7.0
    found = median_interval([3.0, 1.0, 2.0])
    assert (found.low, found.median, found.high) == (1.0, 2.0, 3.0)
    with pytest.raises(ValueError, match="nothing"):
        median_interval([])


UP = 1.01
DOWN = 1 / 1.01


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (math.nextafter(UP, 2), 1.5, "faster"),
        (UP, 1.5, "undecided"),
        (UP, UP, "same"),
        (0.5, math.nextafter(DOWN, 0), "slower"),
        (0.5, DOWN, "undecided"),
        (DOWN, UP, "same"),
        (DOWN, math.nextafter(UP, 2), "undecided"),
        (math.nextafter(DOWN, 0), UP, "undecided"),
        (1.0, 1.0, "same"),
        (0.9, 1.2, "undecided"),
        (0.99, 1.02, "undecided"),
    ],
)
def test_each_word_begins_where_the_interval_passes_the_margin(low: float, high: float, said: str) -> None:
    assert word(low, high, 0.01) == said


def test_faster_and_slower_mirror_each_other_when_the_sides_change_places() -> None:
    rng = random.Random(11)
    mirrored = {"faster": "slower", "slower": "faster", "same": "same", "undecided": "undecided"}
    for _ in range(300):
        values = [rng.gauss(rng.uniform(-0.03, 0.03), 0.01) for _ in range(12)]
        there, back = speedup(values, 0.01), speedup([-v for v in values], 0.01)
        assert back.word == mirrored[there.word]
        assert back.ratio == pytest.approx(1 / there.ratio)


def test_a_wider_margin_or_a_smaller_level_never_makes_a_word_stronger() -> None:
    values = [0.02 + 0.001 * (-1) ** k for k in range(12)]
    assert speedup(values, 0.01).word == "faster"
    assert speedup(values, 0.03).word == "same"
    assert speedup(values, 0.01, level=1e-12).word == "undecided"


def test_too_few_blocks_make_no_word_however_far_they_agree() -> None:
    few = speedup([0.7] * (LEAST_BLOCKS - 1), 0.01)
    assert (few.word, few.blocks) == ("undecided", LEAST_BLOCKS - 1)
    assert speedup([0.7] * LEAST_BLOCKS, 0.01).word == "faster"


def test_a_verdict_from_before_the_margin_was_kept_with_the_speed_up_is_read() -> None:
    old = msgspec.json.decode(b'{"ratio": 1.2, "low": 1.1, "high": 1.3, "word": "faster"}', type=Speedup)
    assert old.delta is None
    assert old.dropped == {}
