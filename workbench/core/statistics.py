"""The arithmetic of a timing claim: intervals on the log ratios of blocks, and the word that they allow (docs/judge.md).

Plain Python, since the judge's client and the engine read it without numpy. At most 96 numbers are handled at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from workbench.core.verdict import Interval, Speedup, Word

LEVEL = 0.05
"""Two-sided: the intervals of a screening are 95 % ones."""
TRIMMED = 0.1
"""Share of the blocks left out at either end. With one call a turn and one call in a hundred interrupted, the plain mean takes
57 blocks to an interval of 0.59 %, this one 24 to one of 0.40 % (tests/bench/timing_statistics.py)."""
LEAST_BLOCKS = 6
"""Fewer make no word: what one disturbed block does to five is more than a t quantile knows of."""


def t_tail(t: float, freedom: int) -> float:
    """The probability that Student's t with `freedom` degrees of freedom is at least `t` >= 0 away from 0."""
    return _incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t))


@lru_cache(maxsize=4096)
def t_quantile(level: float, freedom: int) -> float:
    """The t that Student's t exceeds in absolute value with probability `level` (0.05: the 97.5th percentile).

    Raises:
        ValueError: `level` is not between 0 and 1, or there is no degree of freedom.
    """
    if not 0 < level < 1 or freedom < 1:
        raise ValueError(f"no t quantile at level {level} with {freedom} degrees of freedom")
    low, high = 0.0, 1.0
    while t_tail(high, freedom) > level:
        low, high = high, 2 * high
    for _ in range(80):
        middle = (low + high) / 2
        if t_tail(middle, freedom) > level:
            low = middle
        else:
            high = middle
    return high


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function by its continued fraction (Lentz): tails of 1e-12 keep their digits."""
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    if x < (a + 1) / (a + b + 2):
        return math.exp(log_front) * _fraction(a, b, x) / a
    return 1 - math.exp(log_front) * _fraction(b, a, 1 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    tiny = 1e-300
    c, d = 1.0, 1 / _away_from_zero(1 - (a + b) * x / (a + 1), tiny)
    value = d
    for m in range(1, 400):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _away_from_zero(1 + term * d, tiny)
            c = _away_from_zero(1 + term / c, tiny)
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value


def _away_from_zero(x: float, tiny: float) -> float:
    return x if abs(x) > tiny else tiny


def trimmed_interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float]:
    """Centre and half-width of the `1 - level` interval: Student's t on the mean without the outer tenths (Yuen's).

    The spread is that of the values with the outer ones pulled in, so that leaving them out does not make the interval
    too narrow. Below ten values nothing is left out, and it is the ordinary one.

    Raises:
        ValueError: fewer than two values.
    """
    n = len(values)
    if n < 2:
        raise ValueError("an interval needs two values")
    ordered = sorted(values)
    cut = int(TRIMMED * n)
    kept = ordered[cut : n - cut]
    centre = math.fsum(kept) / len(kept)
    pulled = [kept[0]] * cut + kept + [kept[-1]] * cut
    mean = math.fsum(pulled) / n
    squares = math.fsum((v - mean) ** 2 for v in pulled)
    h = len(kept)
    return centre, t_quantile(level, h - 1) * math.sqrt(squares / (h * (h - 1)))


def median_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """The median, and order statistics that hold the true one with at least `1 - level`, whatever the distribution.

    With fewer than six values (at 95 %) there are none such, and it is the smallest and the largest.

    Raises:
        ValueError: no values.
    """
    if not values:
        raise ValueError("no median of nothing")
    ordered = sorted(values)
    n = len(ordered)
    rank, outside = 0, 0.0
    for r in range((n + 1) // 2):
        outside += 2 * math.comb(n, r) / 2**n
        if outside > level:
            break
        rank = r
    half = n // 2
    middle = ordered[half] if n % 2 else (ordered[half - 1] + ordered[half]) / 2
    return Interval(median=middle, low=ordered[rank], high=ordered[n - 1 - rank])


def word(low: float, high: float, delta: float) -> Word:
    """What an interval of the ratio baseline / candidate says beyond the margin `delta` (0.01: 1 %)."""
    upper, lower = 1 + delta, 1 / (1 + delta)
    if low > upper:
        return "faster"
    if high < lower:
        return "slower"
    if lower <= low and high <= upper:
        return "same"
    return "undecided"


def speedup(log_ratios: Sequence[float], delta: float, level: float = LEVEL) -> Speedup:
    """The ratio baseline / candidate from one log ratio a block, with its interval and word.

    Raises:
        ValueError: fewer than two blocks, or a margin below 0.
    """
    if delta < 0:
        raise ValueError("a margin is not negative")
    centre, half = trimmed_interval(log_ratios, level)
    low, high = math.exp(centre - half), math.exp(centre + half)
    said: Word = word(low, high, delta) if len(log_ratios) >= LEAST_BLOCKS else "undecided"
    return Speedup(
        ratio=math.exp(centre),
        low=low,
        high=high,
        word=said,
        delta=delta,
        level=level,
        blocks=len(log_ratios),
    )
