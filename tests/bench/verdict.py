"""How long a verdict takes on the host target: `python tests/bench/verdict.py [TASK ...]` (no test; nothing is asserted).

Prints the time of a cold `workbench verify`, and for every shipped kernel the warm verdict with nothing compiled yet and
with both builds cached, with the medians by gate. Goals (issue 3): warm at most 2.5 s median, cached at most 1 s.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from workbench.core.verdict import GATES, Verdict
from workbench.judge.client import JudgeClient

ROOT = Path(__file__).resolve().parent.parent.parent
KERNELS = ROOT / "workbench" / "archive" / "kernels"
CACHED_ROUNDS = 3


def cold(task: str) -> tuple[float, float]:
    """Seconds of a whole `workbench verify` of one kernel in a new process: first time, and again."""
    kernel = sorted((KERNELS / task).glob("*.cu"))[0]
    command = [sys.executable, "-m", "workbench", "verify", str(ROOT / "tasks" / f"{task}.py"), str(kernel)]
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        seconds.append(time.perf_counter() - started)
    return seconds[0], seconds[1]


async def warm(tasks: list[str]) -> tuple[list[Verdict], list[Verdict]]:
    """Every shipped kernel once with nothing cached, then CACHED_ROUNDS times."""
    fresh: list[Verdict] = []
    cached: list[Verdict] = []
    async with JudgeClient() as judge:
        for task in tasks:
            await judge.load_task(str(ROOT / "tasks" / f"{task}.py"), target="host")
            for kernel in sorted((KERNELS / task).glob("*.cu")):
                for number in range(1 + CACHED_ROUNDS):
                    judged = await judge.judge(f"{task}/{kernel.stem}/{number}", kernel.read_bytes())
                    assert judged.verdict is not None
                    (cached if number else fresh).append(judged.verdict)
                first = fresh[-1]
                again = statistics.median(v.seconds.total for v in cached[-CACHED_ROUNDS:])
                name = f"{task}/{kernel.stem}"
                print(f"{name:46} {first.outcome:5} {first.seconds.total:6.2f} s {again:6.2f} s", flush=True)
                for verdict in [first, *cached[-CACHED_ROUNDS:]]:
                    if verdict.outcome != "pass":
                        print(f"    {verdict.first_line}")
    return fresh, cached


def main() -> None:
    """Run it on the tasks named, or on all that are shipped."""
    tasks = sys.argv[1:] or sorted(folder.name for folder in KERNELS.iterdir() if folder.is_dir())
    with tempfile.TemporaryDirectory(prefix="workbench-bench-") as folder:
        Path(folder).chmod(0o755)
        os.environ["XDG_CACHE_HOME"] = folder
        first, again = cold(tasks[0])
        print(f"cold `workbench verify {tasks[0]}`: {first:.2f} s, with builds cached {again:.2f} s\n")
        print(f"{'kernel':46} {'':5} {'compiled':>8} {'cached':>8}")
        fresh, cached = asyncio.run(warm(tasks))
    for words, verdicts in (("not cached", fresh), ("cached", cached)):
        total = statistics.median(v.seconds.total for v in verdicts)
        print(f"\nwarm verdict, {words}: median {total:.2f} s")
        for gate in GATES:
            seconds = [v.seconds.by_gate[gate] for v in verdicts if gate in v.seconds.by_gate]
            if seconds:
                print(f"  {gate:14} {statistics.median(seconds):7.3f} s")


if __name__ == "__main__":
    main()
