"""Pairs of kernels for one task each, of which the faster one is known from what they do; both are right."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from workbench.core.locate import shipped_tasks
from workbench.core.verdict import Verdict
from workbench.judge.client import JudgeClient

HERE = Path(__file__).parent
PAIRS: dict[str, str] = {
    "row_sums_coalesced": "row_sums",
    "row_sums_shuffled": "row_sums",
    "transpose_tiled": "transpose",
    "transpose_padded": "transpose",
    "column_sums_coalesced": "column_sums",
    "half_vectors": "scale_half",
    "octets_vectors": "octets",
    "histogram_privatised": "histogram",
    "total_by_blocks": "total",
    "alternating_uniform": "alternating",
    "gains_hoisted": "column_gains",
    "decode_one_launch": "decode",
    "affine_occupied": "affine",
    "affine_all_sms": "affine",
    "softmax_one_pass": "softmax",
    "gelu_fused": "bias_gelu_residual",
    "matmul_tiled": "matmul_square",
    "matmul_blocked": "matmul_square",
}
"""Task by pair: a file of `tasks/` here, or a shipped task."""


class Ranked(msgspec.Struct, frozen=True):
    """Both verdicts of a pair."""

    pair: str
    better: Verdict
    worse: Verdict

    @property
    def costs(self) -> tuple[float, float]:
        """`relative_cost` of the better and of the worse one; NaN where there is none."""
        found = [(v.estimate or {}).get("relative_cost", float("nan")) for v in (self.better, self.worse)]
        return found[0], found[1]

    @property
    def right(self) -> bool:
        """Both passed, and the better one is ranked first."""
        better, worse = self.costs
        return self.better.outcome == self.worse.outcome == "pass" and better < worse


def task_of(pair: str) -> Path:
    own = HERE / "tasks" / f"{PAIRS[pair]}.py"
    return own if own.exists() else next(Path(t.path) for t in shipped_tasks() if t.name == PAIRS[pair])


async def ranked(pairs: list[str]) -> list[Ranked]:
    """Judge both halves of each pair on the host target, in one warm judge."""
    found: list[Ranked] = []
    async with JudgeClient() as judge:
        loaded = ""
        for pair in sorted(pairs, key=lambda p: PAIRS[p]):
            if loaded != PAIRS[pair]:
                loaded = PAIRS[pair]
                await judge.load_task(str(task_of(pair)), target="host")
            verdicts = []
            for half in ("better", "worse"):
                path = HERE / pair / f"{half}.cu"
                judged = await judge.judge(f"{pair}-{half}", path.read_bytes(), path=str(path))
                assert judged.verdict is not None
                verdicts.append(judged.verdict)
            found.append(Ranked(pair, *verdicts))
    return found


def table(results: list[Ranked]) -> str:
    """A row a pair, for people."""
    rows = [f"{'pair':24} {'better':>10} {'worse':>10} {'ratio':>7}  limit of each"]
    for r in results:
        better, worse = r.costs
        limits = [(v.estimate or {}).get("limit", v.first_line[:60]) for v in (r.better, r.worse)]
        word = "" if r.right else "   WRONG"
        rows.append(
            f"{r.pair:24} {better:>10.4g} {worse:>10.4g} {worse / better:>7.2f}  {limits[0]} | {limits[1]}{word}"
        )
    return "\n".join(rows)


def rank(pairs: list[str]) -> list[Ranked]:
    """`ranked`, for callers without an event loop."""
    return asyncio.run(ranked(pairs))
