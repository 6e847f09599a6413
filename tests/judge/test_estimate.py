"""The estimate ranks kernels whose better half is known, and says what it rests on.

Every pair goes through the real judge: compiled, run, instrumented, counted.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.core.verdict import Verdict, decode_verdict

sys.path.insert(0, str(Path(__file__).parent / "estimate"))

from pairs import PAIRS, Ranked, rank, table

pytestmark = pytest.mark.timeout(1800)  # the first test judges all pairs
HERE = Path(__file__).parent
TASKS = HERE.parent.parent / "tasks"


@functools.cache
def results() -> dict[str, Ranked]:
    return {r.pair: r for r in rank(list(PAIRS))}


@pytest.mark.parametrize("pair", PAIRS)
def test_both_halves_of_a_pair_are_right(pair: str) -> None:
    for verdict in (results()[pair].better, results()[pair].worse):
        assert verdict.outcome == "pass", f"{verdict.candidate.path}: {verdict.first_line}"


def test_nearly_all_pairs_are_ranked_rightly() -> None:
    found = list(results().values())
    print(table(found))
    wrong = [r.pair for r in found if not r.right]
    assert len(found) >= 12
    assert len(wrong) * 12 <= len(found), f"ranked wrongly: {wrong}"  # 11 of 12


def test_an_estimate_names_what_it_counted_and_the_line_that_wastes_most() -> None:
    naive = results()["transpose_tiled"].worse.estimate
    padded, square = (
        v.estimate for v in (results()["transpose_padded"].better, results()["transpose_padded"].worse)
    )
    assert naive and padded and square
    assert naive["kind"] == "estimate" and "counted" in naive["basis"]
    assert naive["load_efficiency"] == 1.0 and naive["store_efficiency"] == 0.125
    assert (padded["bank_conflicts"], square["bank_conflicts"]) == (0, 128 * 96 // 32 * 31)
    assert "bank" in square["worst_lines"][0]["what"] and "sector" in naive["worst_lines"][0]["what"]
    histogram = results()["histogram_privatised"]
    assert histogram.worse.estimate and histogram.worse.estimate["atomics"]["global"] == 1 << 14
    uniform, divergent = (
        v.estimate for v in (results()["alternating_uniform"].better, results()["alternating_uniform"].worse)
    )
    assert uniform and divergent
    assert uniform["active_lanes"] > 0.95 and divergent["active_lanes"] < 0.6
    assert divergent["divergent_branches"] >= (1 << 12) // 32


def test_an_estimate_does_not_depend_on_the_draw() -> None:
    first = results()["gelu_fused"].better.estimate
    again = rank(["gelu_fused"])[0].better.estimate
    assert first == again


def judged(task: Path, candidate: Path) -> Verdict:
    done = subprocess.run(
        [sys.executable, "-m", "workbench", "verify", str(task), str(candidate), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    return decode_verdict(done.stdout.splitlines()[0])


def test_where_nothing_was_counted_the_estimate_says_so() -> None:
    folder = HERE / "candidates" / "library_step"
    estimate = judged(folder / "task.py", folder / "library_product.cu").estimate
    assert estimate is not None and "no memory access was counted" in estimate["basis"]
    assert estimate["relative_cost"] > 0 and estimate["tensor_bytes"] > 0
    assert "load_sectors" not in estimate  # nothing that would have to be counted
    folder = HERE / "candidates" / "norm"
    failed = judged(folder / "task.py", folder / "wrong_scale.cu").estimate
    assert failed is not None and failed["relative_cost"] > 0
    refused = judged(folder / "task.py", folder / "reads_clock.cu").estimate
    assert refused is not None and "no memory access was counted" in refused["basis"]
    unplanned = judged(
        HERE / "candidates" / "matmul" / "task.py", HERE / "candidates" / "matmul" / "flat_result.cu"
    )
    assert unplanned.failed_gate == "parse" and unplanned.estimate is None
    only = HERE / "candidates" / "library_step"
    library = judged(only / "task.py", only / "library_only.cu")
    assert library.failed_gate == "audit" and library.estimate is None
