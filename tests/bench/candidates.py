"""The table of candidates, several times over: `python tests/bench/candidates.py [--passes 5] [--task NAME ...]`.

Judges every candidate of tests/judge/candidates in one warm judge, with seeds from the operating system and in another
order in each pass. Prints each verdict with its root seed, what was expected against what came by gate, and of
whatever deviates the line that makes the same draws again. Exits with 1 where anything deviates. Goal (issue 4): at
least 60 that must fail, each at its gate, over at least eight tasks, and 30 that must pass; none deviates in five passes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from workbench.core.verdict import GATES, Verdict, encode_verdict
from workbench.judge.client import JudgeClient
from workbench.judge.worker.seeds import fresh_seed

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "judge"))
from candidate_table import CANDIDATES, EXPECTED, LAUNCH_LIMIT_S, came_out


@dataclass(frozen=True)
class Row:
    """One verdict of one pass."""

    task: str
    name: str
    verdict: Verdict

    @property
    def expected(self) -> str:
        return EXPECTED[self.task][self.name]

    @property
    def got(self) -> str:
        return came_out(self.verdict)


async def one_pass(tasks: list[str], order: random.Random) -> list[Row]:
    """Every candidate of `tasks` once, tasks and candidates in a random order."""
    rows: list[Row] = []
    judge = JudgeClient()
    await judge.start()
    try:
        for task in order.sample(tasks, len(tasks)):
            folder = CANDIDATES / task
            await judge.load_task(str(folder / "task.py"), target="host", timeout_s=LAUNCH_LIMIT_S)
            names = list(EXPECTED[task])
            for name in order.sample(names, len(names)):
                file = folder / f"{name}.cu"
                judged = await judge.judge(f"{task}/{name}", file.read_bytes(), path=str(file))
                assert judged.verdict is not None
                rows.append(Row(task, name, judged.verdict))
                show(rows[-1])
    finally:
        await judge.close()
    return rows


def show(row: Row) -> None:
    """One line a verdict."""
    mark = " " if row.got == row.expected else "!"
    seed = row.verdict.seeds[0] if row.verdict.seeds else "none drawn"
    seconds = row.verdict.seconds.total
    print(f"{mark} {row.task + '/' + row.name:46} {row.got:14} {seconds:6.2f} s  seed {seed}", flush=True)


def confusion(rows: list[Row]) -> str:
    """Expected by row, what came by column; dots for zero."""
    counts = Counter((row.expected, row.got) for row in rows)
    known = [*GATES, "pass", "error"]
    down = [k for k in known if any(e == k for e, _ in counts)]
    across = [k for k in known if any(k in pair for pair in counts)]
    lines = [" " * 14 + "".join(f"{k[:13]:>14}" for k in across)]
    for expected in down:
        cells = "".join(f"{counts[expected, got] or '.':>14}" for got in across)
        lines.append(f"{expected:14}{cells}")
    return "\n".join(lines)


def deviations(rows: list[Row], folder: Path) -> list[str]:
    """Of each verdict that is not the one expected: what it says, and how to make it again."""
    lines: list[str] = []
    for row in rows:
        if row.got == row.expected:
            continue
        root = row.verdict.seeds[0] if row.verdict.seeds else 0
        kept = folder / f"{row.task}-{row.name}-{root}.json"
        kept.write_bytes(encode_verdict(row.verdict))
        place = CANDIDATES / row.task
        lines += [
            f"{row.task}/{row.name}: {row.got}, expected {row.expected}: {row.verdict.first_line}",
            f"    python -m workbench verify {place / 'task.py'} {place / row.name}.cu --reproduce {kept}",
        ]
    return lines


def main() -> int:
    """Run the passes and print what they found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument(
        "--task", action="append", choices=sorted(EXPECTED), help="this task alone; repeatable"
    )
    arguments = parser.parse_args()
    tasks = arguments.task or list(EXPECTED)
    everything: list[Row] = []
    wrong: list[str] = []
    kept = Path(tempfile.mkdtemp(prefix="workbench-deviations-"))
    with tempfile.TemporaryDirectory(prefix="workbench-bench-") as cache:
        Path(cache).chmod(0o755)
        os.environ["XDG_CACHE_HOME"] = cache
        for number in range(1, arguments.passes + 1):
            order_seed = fresh_seed()
            print(f"--- pass {number} of {arguments.passes}, order {order_seed}", flush=True)
            started = time.perf_counter()
            rows = asyncio.run(one_pass(tasks, random.Random(order_seed)))
            found = deviations(rows, kept)
            right = sum(row.got == row.expected for row in rows)
            seconds = time.perf_counter() - started
            print(f"--- pass {number}: {right} of {len(rows)} as expected, {seconds:.0f} s\n", flush=True)
            everything += rows
            wrong += found
    print(confusion(everything))
    for kind, chosen in (
        ("must fail", [r for r in everything if r.expected in GATES]),
        ("must pass", [r for r in everything if r.expected == "pass"]),
        ("need CUDA", [r for r in everything if r.expected == "error"]),
    ):
        right = sum(row.got == row.expected for row in chosen)
        each = len({(row.task, row.name) for row in chosen})
        print(f"{kind}: {each} candidates, {right} of {len(chosen)} verdicts as expected")
    print("\n".join(["", *wrong]) if wrong else "nothing deviates")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
