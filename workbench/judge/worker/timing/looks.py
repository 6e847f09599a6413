"""When to stop measuring: when the interval is narrow enough or the budget is spent, never because of the word."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from workbench.core.statistics import LEAST_BLOCKS, LEVEL, trimmed_interval
from workbench.judge.worker.timing.blocks import MOST_DROPPED, too_many_dropped

Why = Literal["narrow", "budget", "looks", "dropped"]

NARROW = 0.005
"""Half-width of an interval that is narrow enough, as a log ratio: 0.5 %."""
EARLY = 0.8
"""Share of the level that an interval gets which is not made at the last look. Stopping at a narrow interval picks those whose
spread came out too small by luck: at a plain 5 % such stops miss the truth in up to 6.8 % of the comparisons, with 0.8 of
it in 5.6 % (tests/bench/timing_statistics.py)."""


class Looks(msgspec.Struct, frozen=True):
    """The rule of one comparison."""

    at: tuple[int, ...] = (12, 24, 48, 96)
    """Usable blocks at which the interval's width is looked at; the last ends it."""
    least: int = LEAST_BLOCKS
    """The budget does not stop before this many usable blocks."""
    level: float = LEVEL
    """Two-sided, of the last look's interval."""

    @property
    def most_measured(self) -> int:
        """Blocks measured, dropped ones included, after which there is no hope of the last look with 20 % dropped."""
        return _measured_for(self.at[-1])

    def level_at(self, usable: int) -> float:
        """The level of the interval if it ends here."""
        return self.level if usable >= self.at[-1] else EARLY * self.level


SCREENING = Looks()


def confirming(level: float) -> Looks:
    """The rule of a confirmation at `level` (`core.confirmation`): no fewer than 48 blocks, whatever they take."""
    return Looks(at=(48, 96), least=48, level=level)


class Measure(msgspec.Struct, frozen=True):
    """Go on: measure this many blocks, then ask again."""

    blocks: int


class Stop(msgspec.Struct, frozen=True):
    """Conclude with what there is."""

    why: Why


def next_step(
    looks: Looks,
    log_ratios: Sequence[float],
    dropped: int,
    *,
    delta: float,
    left_s: float,
    block_s: float,
) -> Measure | Stop:
    """What to do after the blocks so far.

    The width is looked at when exactly as many usable blocks are there as `looks.at` says, so that a caller who asks more
    often gets no further chances to stop.

    Args:
        looks: the rule.
        log_ratios: of the usable blocks.
        dropped: blocks measured and not usable.
        delta: the margin; where it is wide (short kernels), half of it is narrow enough.
        left_s: what is left of the budget, seconds; it must not depend on the ratios.
        block_s: what one block takes, seconds; 0 where not known yet.
    """
    usable = len(log_ratios)
    measured = usable + dropped
    if usable >= looks.at[-1]:
        return Stop("looks")
    if measured >= looks.most_measured:
        return Stop("dropped")
    if usable in looks.at and not too_many_dropped(usable, dropped):
        _, half = trimmed_interval(log_ratios, looks.level_at(usable))
        if half <= max(NARROW, delta / 2):
            return Stop("narrow")
    needed = max(looks.least - usable, 0)
    if left_s <= 0 or left_s < block_s:
        if not needed:
            return Stop("budget")
        return Stop("dropped") if measured >= _measured_for(looks.least) else Measure(needed)
    to_look = min(next(n for n in looks.at if n > usable) - usable, looks.most_measured - measured)
    affordable = to_look if block_s <= 0 else math.floor(left_s / block_s)
    return Measure(min(to_look, max(affordable, needed)))


def _measured_for(usable: int) -> int:
    return math.ceil(usable / (1 - MOST_DROPPED) - 1e-9)
