"""What the statistics of timing hold on machines whose truth is known: `python tests/bench/timing_statistics.py [COMPARISONS]`.

No test; nothing is asserted but that the vectorised intervals used here are those of the judge. (Not named statistics.py: the
folder is on the path of every script in it, where that would hide Python's own module of the name.)
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "judge" / "timing"))

from synthetic import MACHINES, Machine, log_ratios, log_times

from workbench.core.confirmation import confirmation_level
from workbench.core.statistics import TRIMMED, t_quantile, trimmed_interval
from workbench.judge.worker.timing.looks import EARLY, NARROW, SCREENING, confirming
from workbench.judge.worker.timing.margin import percentile_99

SEED = 20261121


def intervals(rows: np.ndarray, level: float, trimmed: float = TRIMMED) -> tuple[np.ndarray, np.ndarray]:
    """Centres and half-widths of `core.statistics.trimmed_interval`, of each row."""
    n = rows.shape[1]
    cut = int(trimmed * n)
    ordered = np.sort(rows, axis=1)
    kept = ordered[:, cut : n - cut]
    pulled = np.clip(ordered, kept[:, :1], kept[:, -1:])
    h = n - 2 * cut
    spread = pulled.var(axis=1) * n
    return kept.mean(axis=1), t_quantile(level, h - 1) * np.sqrt(spread / (h * (h - 1)))


def looked(
    rows: np.ndarray, at: tuple[int, ...], level: float, early: float, trimmed: float, narrow: float = NARROW
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre, half-width and blocks of each comparison, where it stops."""
    centre, half, blocks = np.zeros((3, len(rows)))
    going = np.ones(len(rows), dtype=bool)
    for n in at:
        last = n == at[-1]
        c, h = intervals(rows[:, :n], level if last else early * level, trimmed)
        stop = going & (last | (h <= narrow))
        centre[stop], half[stop], blocks[stop] = c[stop], h[stop], n
        going &= ~stop
    return centre, half, blocks


def check(rng: np.random.Generator) -> None:
    """The vectorised intervals are those of the judge."""
    for n in (6, 12, 48, 96):
        rows = rng.normal(0, 1, (20, n))
        centres, halves = intervals(rows, 0.03)
        for row, c, h in zip(rows.tolist(), centres, halves, strict=True):
            assert np.allclose(trimmed_interval(row, 0.03), (c, h))


def coverage(rng: np.random.Generator, comparisons: int) -> None:
    """By machine: how often the interval holds the truth, how wide it is, how many blocks it took; and A/A words."""
    ways = {"plain t": (1.0, 0.0), "trimmed t": (1.0, TRIMMED), "as judged": (EARLY, TRIMMED)}
    print(f"coverage of the 95 % interval, looks at {SCREENING.at}, {comparisons} comparisons each")
    print(f"{'machine':20}" + "".join(f"{way:^32}" for way in ways) + "A/A words")
    print(" " * 20 + f"{'covers  half-width  blocks':^32}" * len(ways))
    for name, machine in MACHINES.items():
        rows = np.concatenate(
            [
                log_ratios(log_times(rng, machine, min(1000, comparisons)))
                for _ in range(max(comparisons // 1000, 1))
            ]
        )
        line = f"{name:20}"
        for early, trimmed in ways.values():
            c, h, n = looked(rows, SCREENING.at, 0.05, early, trimmed)
            line += f"{f'{np.mean(abs(c) <= h):7.1%} {np.median(h):8.2%} {n.mean():8.1f}':^32}"
        print(line + f"{np.mean(abs(c) - h > math.log(1.01)):6.2%}", flush=True)


def worst_noise(rng: np.random.Generator, comparisons: int) -> None:
    """The noise at which stopping early costs most."""
    print("\nnormal noise between blocks, coverage: plain t, trimmed t, as judged")
    for noise in (0.003, 0.006, 0.008, 0.01, 0.0115, 0.013, 0.017, 0.025):
        rows = rng.normal(0, noise, (comparisons, 96))
        found = [
            looked(rows, SCREENING.at, 0.05, *way) for way in ((1.0, 0.0), (1.0, TRIMMED), (EARLY, TRIMMED))
        ]
        print(f"{noise:6.2%} " + " ".join(f"{np.mean(abs(c) <= h):7.2%}" for c, h, _ in found), flush=True)


def far_tails(rng: np.random.Generator) -> None:
    """A confirmation's level is small: does the interval miss as rarely as that?"""
    print("\nconfirmations: how often the interval misses, over its level (1 = exactly)")
    count, chunk = 400_000, 20_000
    for j in (1, 3, 10, 30):
        level = confirmation_level(j)
        for name, out in (("normal", 0.0), ("2 % of blocks disturbed", 0.02)):
            missed = 0
            for _ in range(count // chunk):
                rows = rng.normal(0, 0.003, (chunk, 48))
                rows += (rng.random(rows.shape) < out) * rng.normal(0, 0.3, rows.shape)
                c, h = intervals(rows, EARLY * level)
                missed += int(np.sum(abs(c) > h))
            print(f"  j = {j:2}, level {level:.2g}, {name}: {missed / count / level:.2f}", flush=True)
    print("  with looks at 48 and 96, at the noise where this is worst:")
    for j in (1, 3, 10):
        level = confirmation_level(j)
        looks = confirming(level)
        # Half the comparisons are narrow enough at 48.
        just_narrow = NARROW * math.sqrt(48) / t_quantile(EARLY * level, 39)
        ratios = []
        for share in (0.9, 1.0, 1.1, 1.2):
            rows = rng.normal(0, share * just_narrow, (100_000, 96))
            c, h, _ = looked(rows, looks.at, level, EARLY, TRIMMED)
            ratios.append(float(np.mean(abs(c) > h)) / level)
        print(f"  j = {j:2}, level {level:.2g}: {max(ratios):.2f}", flush=True)


def champions(rng: np.random.Generator) -> None:
    """The best of 300 equal kernels, and what confirming every one of them says."""
    sessions = 200
    machine = Machine(noise=0.009)
    best, confirmed = [], 0
    for _ in range(sessions):
        rows = log_ratios(log_times(rng, machine, 300, blocks=12))
        best.append(math.expm1(float(intervals(rows, 0.04)[0].max())))
        fresh = log_ratios(log_times(rng, machine, 1))
        c, h, _ = looked(fresh, confirming(0.025).at, 0.025, EARLY, TRIMMED)
        confirmed += int(c[0] - h[0] > math.log(1.01))
    print(f"\nchampion of 300 equals, {sessions} sessions: screened at +{np.mean(best):.2%} on average")
    print(f"  confirmed as faster: {confirmed}")
    for label, levels in (
        ("0.05/(j(j+1))", [confirmation_level(j) for j in range(1, 301)]),
        ("0.05 each", [0.05] * 300),
    ):
        erred = faster = 0
        for _ in range(4000):
            rows = rng.normal(0, 0.003, (300, 48))
            c, h = intervals(rows, 0.05)
            half = h * np.array([t_quantile(EARLY * lv, 39) for lv in levels]) / t_quantile(0.05, 39)
            erred += bool(np.any(abs(c) > half))
            faster += bool(np.any(c - half > math.log(1.01)))
        print(
            f"  all 300 confirmed, level {label}: {erred / 4000:.1%} of 4,000 sessions err without a margin, "
            f"{faster} say faster with one of 1 %"
        )


def calibrations(rng: np.random.Generator) -> None:
    """How often A/A passes a margin that a calibration of few comparisons gave."""
    print("\nA/A comparisons beyond the calibrated 99th percentile (each start 0.7 % off for good)")
    for comparisons in (20, 40, 100, 300):
        beyond = []
        for _ in range(400):
            delta = percentile_99(np.exp(rng.normal(0, 0.007, comparisons)).tolist())
            beyond.append(float(np.mean(abs(rng.normal(0, 0.007, 4000)) > math.log1p(delta))))
        print(
            f"  {comparisons:3} comparisons: {np.mean(beyond):.2%} on average, worst tenth {np.quantile(beyond, 0.9):.2%}"
        )


def main() -> None:
    """Print all of it."""
    comparisons = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    print(f"seed {SEED}")
    rng = np.random.default_rng(SEED)
    check(rng)
    coverage(rng, comparisons)
    worst_noise(rng, 5 * comparisons)
    calibrations(rng)
    champions(rng)
    far_tails(rng)


if __name__ == "__main__":
    main()
