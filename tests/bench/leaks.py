"""What a warm judge leaves behind: `python tests/bench/leaks.py [VERDICTS]` (no test; nothing is asserted).

One judge gives VERDICTS verdicts (default 60) on passes, wrong results, faults, hangs, compile errors and cancelled
ones in turn. After every round it prints the judge's file descriptors and threads, its and its children's memory,
the number of its processes, and what lies in its temporary folder; a leak is a column that keeps growing.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

NORM = Path(__file__).resolve().parent.parent / "judge" / "candidates" / "norm"
ROUND = (
    "two_pass",  # passes
    "wrong_scale",
    "missing_bounds_check",
    "null_pointer",  # faults
    "infinite_loop",  # hangs
    "recursion",
    "unwritten_rows",
    "three_launches",
    "static_counter",
    "inline_ptx",  # error
    "divergent_barrier",
    "does not compile",
)


def descendants(pid: int) -> list[int]:
    """`pid` and all processes below it that still live."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            children = (task / "children").read_text().split()
        except OSError:
            continue
        for child in children:
            found += descendants(int(child))
    return found


def pss_mib(pid: int) -> float:
    """Proportional memory of a process in MiB; 0 where it has just ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def sizes(pid: int, folder: str) -> tuple[int, int, float, int, float, int]:
    """Descriptors, threads and MiB of the judge; processes, MiB and open files of those below it; temporary files."""
    below = descendants(pid)[1:]
    return (
        len(os.listdir(f"/proc/{pid}/fd")),
        len(os.listdir(f"/proc/{pid}/task")),
        pss_mib(pid),
        len(below),
        sum(map(pss_mib, below)),
        sum(len(names) + len(files) for _, names, files in os.walk(folder)),
    )


async def measure(verdicts: int, folder: str) -> None:
    """Judge, and print a line a round."""
    from workbench.judge.client import JudgeClient

    # Its own cache: what it keeps there is on purpose, and counted apart from what it forgets in the temporary folder.
    env = {**os.environ, "TMPDIR": folder, "XDG_CACHE_HOME": f"{folder}.cache"}
    print(
        f"{'verdicts':>8} {'fds':>5} {'threads':>7} {'MiB':>7} {'below':>5} {'MiB':>7} {'files':>5} {'s':>6}"
    )
    async with JudgeClient(env=env) as judge:
        await judge.load_task(str(NORM / "task.py"), target="host", timeout_s=1.0)
        assert judge.pid is not None
        started, outcomes = time.perf_counter(), dict[str, int]()
        for number in range(verdicts):
            name = ROUND[number % len(ROUND)]
            source = (NORM / f"{name}.cu").read_bytes() if " " not in name else b"int x = ;"
            if " " in name:
                source = (NORM / "two_pass.cu").read_bytes() + b"\nint x = ;\n"
            judged = await judge.judge(f"c{number}", source)
            outcome = judged.verdict.outcome if judged.verdict is not None else "cancelled"
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
            if (number + 1) % len(ROUND) == 0:
                await asyncio.sleep(1.0)  # the spare is being started
                fds, threads, own, below, mib, files = sizes(judge.pid, folder)
                took = time.perf_counter() - started
                row = f"{number + 1:>8} {fds:>5} {threads:>7} {own:>7.0f} {below:>5} {mib:>7.0f} {files:>5} {took:>6.0f}"
                print(row, flush=True)
        group = judge.pid
    print("outcomes:", ", ".join(f"{n} {count}" for n, count in outcomes.items()))
    left = sum(len(names) + len(files) for _, names, files in os.walk(folder))
    print(f"after the end: {left} temporary files, process {group} {'lives' if alive(group) else 'is gone'}")


def alive(group: int) -> bool:
    """Whether any process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def main() -> None:
    """Measure in a temporary folder of its own."""
    with tempfile.TemporaryDirectory() as root:
        folder = str(Path(root) / "tmp")
        os.mkdir(folder)
        os.chmod(root, 0o755)
        os.chmod(folder, 0o1777)
        asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 60, folder))


if __name__ == "__main__":
    main()
