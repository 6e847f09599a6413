"""Has the real judge verify mutants: one warm process, or several side by side, each asked for one task at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from mutants.sampling import Mutant
from mutants.twins import Twins
from workbench.core.errors import JudgeError
from workbench.core.task import TaskInfo
from workbench.core.verdict import Verdict
from workbench.judge.client import JudgeClient

LAUNCH_S = 8.0
"""Of one launch; a mutant that loops for ever costs no more, and a slow one on a busy machine is not taken for it."""
LARGEST_BATCH = 12
"""Mutants of a task that one judge takes at a time, so that two end at about the same moment."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What the judge said of a mutant."""

    id: str
    kernel: str
    operator: str
    line: int
    before: str
    after: str
    outcome: str
    gate: str
    """The failed gate; "" where none did."""
    reason: str
    seconds: float
    seed: int = 0
    unchecked: tuple[str, ...] = ()
    twin: bool = False
    """It passed, and NVRTC makes the same PTX of it as of its original."""


def result_of(mutant: Mutant, verdict: Verdict, *, twin: bool = False) -> Result:
    """A verdict, in short."""
    return Result(
        id=mutant.id,
        kernel=mutant.kernel.name,
        operator=mutant.operator,
        line=mutant.line,
        before=mutant.before,
        after=mutant.after,
        outcome=verdict.outcome,
        gate=verdict.failed_gate or "",
        reason=verdict.reason,
        seconds=verdict.seconds.total,
        seed=verdict.seeds[0] if verdict.seeds else 0,
        unchecked=tuple(verdict.unchecked),
        twin=twin,
    )


async def judge_all(mutants: Sequence[Mutant], *, judges: int, done: Callable[[Result], None]) -> None:
    """Judge every mutant; `done` is called with each result, and not at all for one on which the judge died."""
    by_task: dict[Path, list[Mutant]] = defaultdict(list)
    for mutant in mutants:
        by_task[mutant.kernel.task].append(mutant)
    waiting: list[tuple[Path, list[Mutant]]] = [
        (task, group[at : at + LARGEST_BATCH])
        for task, group in sorted(by_task.items())
        for at in range(0, len(group), LARGEST_BATCH)
    ]
    waiting.reverse()
    twins = Twins()

    async def one_judge() -> None:
        judge: JudgeClient | None = None
        loaded: Path | None = None
        info: TaskInfo | None = None
        try:
            while waiting:
                at = next((n for n in reversed(range(len(waiting))) if waiting[n][0] == loaded), -1)
                task, batch = waiting.pop(at)
                for mutant in batch:
                    if judge is None or not judge.alive:
                        judge, loaded = JudgeClient(), None
                        await judge.start()
                    if loaded != task:
                        info = await judge.load_task(str(task), target="host", timeout_s=LAUNCH_S)
                        loaded = task
                    with contextlib.suppress(JudgeError):
                        judged = await judge.judge(mutant.id, mutant.source, path=f"{mutant.id}.cu")
                        verdict = judged.verdict
                        if verdict is not None and info is not None:
                            passed = verdict.outcome == "pass"
                            twin = passed and await asyncio.to_thread(twins.same, mutant, info)
                            done(result_of(mutant, verdict, twin=twin))
        finally:
            if judge is not None:
                await judge.close()

    try:
        await asyncio.gather(*(one_judge() for _ in range(judges)))
    finally:
        twins.close()
