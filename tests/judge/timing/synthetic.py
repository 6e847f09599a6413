"""Timed blocks of a machine that does not exist, whose true ratio is known; for tests and `tests/bench/timing_statistics.py`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from workbench.core.statistics import speedup
from workbench.core.verdict import Speedup
from workbench.judge.worker.timing.blocks import Block, Environment, Side, Turn
from workbench.judge.worker.timing.looks import SCREENING, Looks, Stop, next_step

MOST = 96
ORDERS: tuple[tuple[Side, ...], ...] = (
    ("candidate", "baseline", "baseline", "candidate"),
    ("baseline", "candidate", "candidate", "baseline"),
)


@dataclass(frozen=True)
class Machine:
    """How noisy it is; all of it relative to the time of a call."""

    noise: float = 0.005
    """Standard deviation from call to call."""
    outliers: float = 0.0
    """Share of calls that something interrupts, on either side: they take 1.2 to 4 times as long."""
    walk: float = 0.0
    """Standard deviation of a step of the clock between turns, which stays."""
    slope: float = 0.0
    """Slowing down from turn to turn, as of a device that gets warm."""
    warming: float = 0.0
    """The first turns are faster by this; it decays over 40 turns."""
    calls: int = 3
    """In a turn."""


QUIET = Machine()
MACHINES: dict[str, Machine] = {
    "quiet": QUIET,
    "two looks": Machine(noise=0.015),
    "all looks": Machine(noise=0.035),
    "outliers": Machine(noise=0.012, outliers=0.01),
    "many outliers": Machine(noise=0.01, outliers=0.03),
    "drift": Machine(noise=0.01, walk=0.003, slope=0.0005, warming=0.05),
    "outliers and drift": Machine(noise=0.01, outliers=0.01, walk=0.003, slope=0.0005, warming=0.05),
    "one call a turn": Machine(noise=0.008, outliers=0.01, walk=0.002, calls=1),
}


def log_times(rng: np.random.Generator, machine: Machine, comparisons: int, blocks: int = MOST) -> np.ndarray:
    """Log time of each call, over what it would be undisturbed: shape (comparisons, blocks, 4 turns, calls)."""
    shape = (comparisons, blocks, 4, machine.calls)
    t = rng.normal(0, machine.noise, shape)
    if machine.outliers:
        t += (rng.random(shape) < machine.outliers) * np.log(rng.uniform(1.2, 4, shape))
    turns = np.arange(4 * blocks)
    common = machine.slope * turns - machine.warming * np.exp(-turns / 40)
    moved = np.cumsum(rng.normal(0, machine.walk, (comparisons, 4 * blocks)), axis=1) + common
    return t + moved.reshape(comparisons, blocks, 4, 1)


def log_ratios(times: np.ndarray, true_log_ratio: float = 0.0) -> np.ndarray:
    """What `Block.log_ratio` makes of `times`, for many comparisons at once: shape (comparisons, blocks).

    Blocks begin with either side in turn.
    """
    turns = np.median(times, axis=3)
    outer = (turns[:, :, 0] + turns[:, :, 3]) / 2
    inner = (turns[:, :, 1] + turns[:, :, 2]) / 2
    sign = np.where(np.arange(times.shape[1]) % 2 == 0, 1.0, -1.0)
    return (inner - outer) * sign + true_log_ratio


def as_blocks(times: np.ndarray, true_log_ratio: float = 0.0, *, us: float = 100.0) -> Iterator[Block]:
    """The same as records, of one comparison: `times` has shape (blocks, 4, calls)."""
    for number, block in enumerate(times):
        turns = tuple(
            Turn(side, tuple(us * math.exp(v + (true_log_ratio if side == "baseline" else 0)) for v in calls))
            for side, calls in zip(ORDERS[number % 2], block.tolist(), strict=True)
        )
        yield Block(
            turns=(turns[0], turns[1], turns[2], turns[3]), control_us=(50.0, 50.0), environment=Environment()
        )


def measure(
    ratios: list[float], looks: Looks = SCREENING, delta: float = 0.01, *, affordable: int = 1000
) -> tuple[Speedup, str]:
    """Let the rule of looks take what it wants of `ratios`, with a budget of `affordable` blocks, and conclude."""
    taken = 0
    while True:
        step = next_step(looks, ratios[:taken], 0, delta=delta, left_s=float(affordable - taken), block_s=1.0)
        if isinstance(step, Stop):
            return speedup(ratios[:taken], delta, looks.level_at(taken)), step.why
        taken += step.blocks


def generator(seed: int) -> np.random.Generator:
    """Random numbers from `seed`, which is printed, so that a failing run can be had again."""
    print(f"seed {seed}")
    return np.random.default_rng(seed)
