"""Two clocks: the host's clock must see the time that the events say (judge.md), or one of them was misled.

Turns of n and of 2 n calls, timed by both. Their difference is n calls, whatever the launch, the delay kernel and the
synchronisation take. An honest candidate never fails for a busy host: what is not clear is said to be so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Literal

import msgspec

RELATIVE = 0.05
ABSOLUTE_US = 1.0
LEAST_PAIRS = 5
PAIRS = 9
"""As many are worth measuring. What is unclear then is measured once more before it is said to be."""
ONE_SIDED = 0.75
"""Share of the pairs that must be off on the same side for a disagreement. Interruptions of the host make single pairs
wrong, on either side; events that leave work out make all of them wrong on one."""
_TURN_US = 2000
_LEAST_CALLS, _MOST_CALLS = 2, 512


class ClockPair(msgspec.Struct, frozen=True):
    """A turn of `calls` and one of twice as many, one right after the other."""

    calls: int
    host_us: tuple[float, float]
    """From before the first launch to after the synchronisation, of the shorter and of the longer turn."""
    event_us: tuple[float, float]
    """The same work by events: from the first call's start to the last call's end, flushes between them included."""


class TwoClocks(msgspec.Struct, frozen=True):
    """What the check found."""

    status: Literal["agree", "disagree", "unclear"]
    host_us: float
    """Median slope by the host's clock, microseconds a call; NaN without pairs."""
    event_us: float
    """Median slope by the events."""
    reason: str
    """One sentence. "disagree" fails `timing`, "unclear" belongs in `unchecked`."""


def calls_for(us: float) -> int:
    """How many calls the shorter turn needs for the host clock's few microseconds of noise to be little in one of them.

    Args:
        us: time of one call with its flush.
    """
    return min(max(math.ceil(_TURN_US / us), _LEAST_CALLS), _MOST_CALLS)


def check_clocks(pairs: Sequence[ClockPair]) -> TwoClocks:
    """Whether the host clock's slope and the events' agree within 5 % + 1 us."""
    slopes = [s for pair in pairs if (s := _slopes(pair)) is not None]
    if len(slopes) < LEAST_PAIRS:
        return TwoClocks(
            "unclear",
            _median([h for h, _ in slopes]),
            _median([e for _, e in slopes]),
            f"The host's clock was compared with the events in {len(slopes)} pairs of turns only; {LEAST_PAIRS} are needed.",
        )
    host, event = _median([h for h, _ in slopes]), _median([e for _, e in slopes])
    over = sum(h - e > _allowed(e) for h, e in slopes) / len(slopes)
    under = sum(e - h > _allowed(e) for h, e in slopes) / len(slopes)
    said = f"{host:.2f} us a call by the host's clock, {event:.2f} us by the events"
    if max(over, under) >= ONE_SIDED:
        return TwoClocks("disagree", host, event, f"The clocks disagree: {said}.")
    if abs(host - event) <= _allowed(event):
        return TwoClocks("agree", host, event, f"The clocks agree: {said}.")
    return TwoClocks("unclear", host, event, f"The host's clock was too unsteady to compare: {said}.")


def _slopes(pair: ClockPair) -> tuple[float, float] | None:
    if pair.calls < 1 or not all(math.isfinite(v) and v > 0 for v in (*pair.host_us, *pair.event_us)):
        return None
    return (
        (pair.host_us[1] - pair.host_us[0]) / pair.calls,
        (pair.event_us[1] - pair.event_us[0]) / pair.calls,
    )


def _allowed(event_us: float) -> float:
    return RELATIVE * abs(event_us) + ABSOLUTE_US


def _median(values: Sequence[float]) -> float:
    return median(values) if values else math.nan
