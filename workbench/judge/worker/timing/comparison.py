"""The conclusion of one comparison: from its blocks to what the verdict says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Literal

import msgspec

from workbench.core.statistics import LEAST_BLOCKS, median_interval, speedup
from workbench.core.verdict import BaselineTiming, Interval, Speedup
from workbench.judge.worker.timing.blocks import Block, Sorted, dropped_sentence, sort_out
from workbench.judge.worker.timing.looks import Looks
from workbench.judge.worker.timing.margin import Margin


class Comparison(msgspec.Struct, frozen=True):
    """What was found out between a candidate and one baseline, or between two candidates."""

    candidate_us: Interval | None
    """None without a usable block."""
    baseline_us: Interval | None
    speedup: Speedup | None
    """None with fewer than two usable blocks."""
    usable: int
    dropped: dict[str, int]
    why: str
    """One sentence where there is no word, or none on account of the interval; else ""."""

    def timing(self, name: str) -> BaselineTiming:
        """As the verdict has it, for a baseline of that name."""
        status: Literal["ok", "failed"] = "ok" if self.speedup is not None else "failed"
        return BaselineTiming(name, status, us=self.baseline_us, speedup=self.speedup, note=self.why)


def conclude(
    blocks: Sequence[Block], looks: Looks, margin: Margin, control_delta: float, *, doubt: str = ""
) -> Comparison:
    """The comparison that `blocks` make.

    Args:
        blocks: all that were measured on plain inputs, dropped ones included.
        looks: the rule by which they were measured; its level is the interval's.
        margin: the delta, and whence.
        control_delta: as of `blocks.reason_to_drop`.
        doubt: one sentence for which no word may be said whatever the blocks are: a second clock that stays unclear.
    """
    found = sort_out(blocks, control_delta)
    usable = len(found.usable)
    why = _why_undecided(found, looks, measured=len(blocks)) or doubt
    if not usable:
        return Comparison(None, None, None, 0, found.dropped, why)
    candidate, baseline = (
        median_interval([b.us(side) for b in found.usable]) for side in ("candidate", "baseline")
    )
    result: Speedup | None = None
    if usable >= 2:
        level = looks.level_at(usable)
        result = speedup([b.log_ratio for b in found.usable], margin.delta, level)
        result = msgspec.structs.replace(
            result,
            level=looks.level,
            dropped=found.dropped,
            why=why,
            word="undecided" if why else result.word,
        )
    return Comparison(candidate, baseline, result, usable, found.dropped, why)


def fastest(us: Mapping[str, Sequence[float]]) -> str:
    """The name with the smallest median time: which of several ways of one baseline (torch.compile's modes) to compare with.

    Args:
        us: one time a block, of blocks that enter no ratio, since the smallest of several is biased downwards.

    Raises:
        ValueError: nothing was timed.
    """
    timed = {name: median(times) for name, times in us.items() if times}
    if not timed:
        raise ValueError("no times to choose by")
    return min(timed, key=lambda name: timed[name])


def _why_undecided(found: Sorted, looks: Looks, measured: int) -> str:
    """A sentence where no word may be said whatever the interval; else ""."""
    if found.too_many_dropped:
        return dropped_sentence(found.dropped, measured)
    usable, least = len(found.usable), max(looks.least, LEAST_BLOCKS)
    if usable < least:
        return f"Only {usable} blocks could be used; a word needs {least}."
    return ""
