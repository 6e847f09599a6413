"""How long the planner takes: start to ready, and one warm evaluation (median of many). Run it alone: `python tests/bench/planner.py`."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from workbench.core.plan import Plan
from workbench.dialect.planner import Planner
from workbench.dialect.reference import EXAMPLE
from workbench.dialect.skeleton import skeleton
from workbench.dialect.source import CandidateSource, split

RUNS = 200
BUDGET_MS = 20.0


def main() -> None:
    """Print the figures; the budget is 20 ms for a warm evaluation."""
    shipped = (
        Path(__file__).resolve().parents[2]
        / "workbench"
        / "archive"
        / "kernels"
        / "rmsnorm"
        / "block_per_row.cu"
    )
    files = {"skeleton": skeleton([EXAMPLE]).encode()}
    if shipped.is_file():
        files["rmsnorm/block_per_row.cu"] = shipped.read_bytes()
    start = time.perf_counter()
    with Planner() as planner:
        evidence = planner.evidence
        print(f"planner ready: {(time.perf_counter() - start) * 1e3:.0f} ms ({evidence})")
        for name, data in files.items():
            source = split(data)
            assert isinstance(source, CandidateSource)
            for count in (1, 3):
                taken = []
                for _ in range(RUNS):
                    start = time.perf_counter()
                    answer = planner.evaluate(source, [EXAMPLE] * count)
                    taken.append((time.perf_counter() - start) * 1e3)
                    assert isinstance(answer, list) and isinstance(answer[0], Plan), answer
                low, high = (sorted(taken)[int(RUNS * q)] for q in (0.05, 0.95))
                print(
                    f"warm evaluation of {name} at {count} size(s): median {statistics.median(taken):.1f} ms "
                    f"(5 % {low:.1f}, 95 % {high:.1f}; budget {BUDGET_MS:.0f})"
                )


if __name__ == "__main__":
    main()
