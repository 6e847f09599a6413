"""The block: two turns of either side in mirrored order, which is one log ratio or nothing.

A disturbed block is dropped whole, for a reason that does not depend on the ratio that it measured; whoever dropped by the
ratio would choose the result.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from statistics import median
from typing import Literal

import msgspec

Side = Literal["candidate", "baseline"]
Reason = Literal["sample", "process", "throttle", "clock", "no control", "control"]

REASONS: dict[Reason, str] = {
    "sample": "a time was missing, not finite or not above zero",
    "process": "another process was on the device",
    "throttle": "the device was throttled",
    "clock": "the SM clock changed",
    "no control": "the control kernel was not timed in both contexts",
    "control": "the control kernel's times in the two contexts differed by more than delta",
}
"""What each reason says to a person. The first that holds is a block's."""

MOST_DROPPED = 0.2
"""Of the blocks measured. More than that is `undecided`: what disturbs one block in five hardly spares the others."""
CLOCK_STEP = 0.03
"""An SM clock that moves by less, two steps of 15 MHz at 1,980, moves both sides of a block alike."""
HARMFUL_THROTTLES = frozenset(
    {"hw_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown", "sw_thermal_slowdown", "sync_boost"}
)
"""NVML's names, lower case. `sw_power_cap` is recorded and drops nothing: a large matmul on an H200 always runs under it,
and a device at its power limit slows both sides of a block."""


class Turn(msgspec.Struct, frozen=True):
    """One turn of one side, queued behind one delay kernel."""

    side: Side
    us: tuple[float, ...]
    """Device time of each call, microseconds, by events; of a batch, its time over its calls."""


class Environment(msgspec.Struct, frozen=True):
    """What NVML said around a block."""

    sm_mhz: tuple[float, ...] = ()
    """Readings from before the block to after it; empty where NVML is not to be had."""
    throttle: frozenset[str] = frozenset()
    """Reasons that held at any reading, by NVML's names in lower case."""
    processes: tuple[int, ...] = ()
    """Process ids on the device that are not the judge's own."""


class Block(msgspec.Struct, frozen=True):
    """The unit of all statistics."""

    turns: tuple[Turn, Turn, Turn, Turn]
    """In mirrored order: A B B A or B A A B."""
    control_us: tuple[float, float] | None
    """The control kernel in the candidate's context and in the baseline's."""
    environment: Environment = Environment()

    def __post_init__(self) -> None:
        sides = [turn.side for turn in self.turns]
        if sides != sides[::-1] or sides[0] == sides[1]:
            raise ValueError(f"a block is ABBA or BAAB, not {' '.join(sides)}")

    def us(self, side: Side) -> float:
        """Time of one call of `side`: the geometric mean of its turns' medians, in which a steady drift cancels."""
        first, second = (median(turn.us) for turn in self.turns if turn.side == side)
        return math.sqrt(first * second)

    @property
    def log_ratio(self) -> float:
        """ln(baseline / candidate): above 0 the candidate is faster.

        The median within a turn takes out a single interrupted call. It is not taken over both turns of a side, which
        would let the drift in.
        """
        return math.log(self.us("baseline") / self.us("candidate"))


def reason_to_drop(block: Block, control_delta: float) -> Reason | None:
    """Why `block` does not count; None where it does.

    Args:
        block: as measured.
        control_delta: by how much the control kernel's two times may differ, 0.01 for 1 %: the margin (`margin`) of the
            control kernel's own duration class.
    """
    around = block.environment
    if not all(turn.us and all(map(_is_time, turn.us)) for turn in block.turns):
        return "sample"
    if around.processes:
        return "process"
    if around.throttle & HARMFUL_THROTTLES:
        return "throttle"
    if around.sm_mhz and max(around.sm_mhz) > (1 + CLOCK_STEP) * min(around.sm_mhz):
        return "clock"
    if block.control_us is None or not all(map(_is_time, block.control_us)):
        return "no control"
    if abs(math.log(block.control_us[0] / block.control_us[1])) > math.log1p(control_delta):
        return "control"
    return None


def _is_time(us: float) -> bool:
    return math.isfinite(us) and us > 0


class Sorted(msgspec.Struct, frozen=True):
    """The blocks of one comparison, those that count apart from those that do not."""

    usable: tuple[Block, ...]
    dropped: dict[str, int]
    """By reason."""

    @property
    def too_many_dropped(self) -> bool:
        return too_many_dropped(len(self.usable), sum(self.dropped.values()))


def too_many_dropped(usable: int, dropped: int) -> bool:
    """Whether more than 20 % of the blocks measured were dropped."""
    return dropped > MOST_DROPPED * (usable + dropped)


def sort_out(blocks: Iterable[Block], control_delta: float) -> Sorted:
    """Tell the usable blocks from the others, in their order."""
    usable: list[Block] = []
    dropped: Counter[str] = Counter()
    for block in blocks:
        reason = reason_to_drop(block, control_delta)
        if reason is None:
            usable.append(block)
        else:
            dropped[reason] += 1
    return Sorted(tuple(usable), dict(dropped))


def dropped_sentence(dropped: dict[str, int], measured: int) -> str:
    """ "9 of 40 blocks were dropped: 7 as another process was on the device, ...": the most frequent reason first."""
    ranked = sorted(dropped.items(), key=lambda item: (-item[1], item[0]))
    named = {str(reason): text for reason, text in REASONS.items()}
    said = ", ".join(f"{count} as {named.get(reason, reason)}" for reason, count in ranked)
    return f"{sum(dropped.values())} of {measured} blocks were dropped: {said}."
