"""delta: how far apart a kernel and itself come out, by device and duration class. No word is said of less."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

CLASSES: dict[str, float] = {
    "under 20 us": 20,
    "20 to 100 us": 100,
    "100 us to 1 ms": 1000,
    "over 1 ms": math.inf,
}
"""Upper ends, microseconds. Below 20 us calls are batched; above 1 ms launch effects have no share."""
LEAST_DELTA = 0.01
DEFAULT_DELTA: dict[str, float] = {
    "under 20 us": 0.03,
    "20 to 100 us": 0.02,
    "100 us to 1 ms": 0.02,
    "over 1 ms": 0.02,
}
"""Without a calibration: above what an H200 showed (1 to 2 % at 5 us before batching, 0.13 % at 186 us), since another
device may be worse, and a margin that is too wide only leaves words unsaid."""
LEAST_COMPARISONS = 40
"""Fewer A/A comparisons of a class are no calibration of it: from 20, 1.4 % of further ones lie beyond the margin, from 40 1.0 %,
from 100 0.7 % (tests/bench/timing_statistics.py)."""


class ClassCalibration(msgspec.Struct, frozen=True):
    """A/A comparisons of one duration class."""

    comparisons: int
    """Each over its own start of the runner, with the looks of a screening."""
    p99: float
    """99th percentile of max(ratio, 1 / ratio) - 1."""
    typical_us: float = 0.0
    """What the kernel of the calibration took."""


class DeviceKey(msgspec.Struct, frozen=True, order=True):
    """What a calibration holds for; another driver is another device."""

    name: str
    uuid: str
    driver: str


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """What `workbench doctor --calibrate` found on one device."""

    format: int
    device: DeviceKey
    made_at: str
    """UTC, ISO 8601."""
    workbench: str
    classes: dict[str, ClassCalibration]


class Margin(msgspec.Struct, frozen=True):
    """The delta of one comparison."""

    delta: float
    """0.01 is 1 %."""
    source: str
    """In words, for the verdict."""


def duration_class(us: float) -> str:
    """The name in `CLASSES` of a call that takes `us` microseconds."""
    return next(name for name, end in CLASSES.items() if us < end or math.isinf(end))


def percentile_99(ratios: Sequence[float]) -> float:
    """The 99th percentile of max(ratio, 1 / ratio) - 1 over A/A comparisons.

    The larger of the one counted and the one of a normal distribution of the same spread around 1: of fewer than a hundred
    comparisons the largest lies below the 99th percentile more often than not.

    Raises:
        ValueError: no ratios, or one that is not a finite number above 0.
    """
    if not ratios or not all(math.isfinite(r) and r > 0 for r in ratios):
        raise ValueError("A/A ratios are finite numbers above 0")
    logs = sorted(abs(math.log(r)) for r in ratios)
    counted = logs[min(math.ceil(0.99 * (len(logs) + 1)), len(logs)) - 1]
    # A few wild comparisons must widen the margin by themselves, not through the spread: that of the lower 90 %, whose
    # ends lie at 1.645 sigma and whose mean square is 0.6231 sigma^2.
    lower = logs[: max(math.ceil(0.9 * len(logs)), 1)]
    sigma = math.sqrt(math.fsum(v * v for v in lower) / len(lower) / 0.6231)
    return math.expm1(max(counted, 2.5758 * sigma))


def margin(
    calibration: Calibration | None, *us: float, missing: str = "this device was never calibrated"
) -> Margin:
    """The margin between calls that take `us` microseconds: that of the class where it is widest.

    Args:
        calibration: of this device; None where there is none.
        us: the time of each side.
        missing: why there is none, a clause for the verdict.
    """
    return max((_of_class(calibration, duration_class(t), missing) for t in us), key=lambda m: m.delta)


def _of_class(calibration: Calibration | None, name: str, missing: str) -> Margin:
    default = DEFAULT_DELTA[name]
    if calibration is None:
        return Margin(default, f"the default {name}: {missing}")
    found = calibration.classes.get(name)
    if found is None or found.comparisons < LEAST_COMPARISONS:
        return Margin(default, f"the default {name}: the calibration has too few comparisons there")
    return Margin(
        max(LEAST_DELTA, found.p99),
        f"{found.comparisons} A/A comparisons {name} on this device, {calibration.made_at}",
    )
