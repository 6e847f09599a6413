"""A judge for tests that have no event loop of their own, and what to print when a verdict is not the one expected."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

from workbench.core.errors import JudgeError
from workbench.core.messages import StandaloneWritten
from workbench.core.task import TaskInfo
from workbench.core.verdict import Verdict
from workbench.judge.client import JudgeClient


class WarmJudge:
    """`JudgeClient` for tests without a loop of their own; a judge that died is started again for the next candidate."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._client: JudgeClient | None = None
        self._task: tuple[tuple[str, float | None], TaskInfo] | None = None
        self._numbers = itertools.count(1)

    def load(self, task: Path, *, timeout_s: float | None = None) -> TaskInfo:
        """Load `task`, unless it is the one that is loaded; a launch may take `timeout_s` (None: the default)."""
        return self._runner.run(self._load(str(task), timeout_s))

    def verdict(self, task: Path, source: bytes, name: str, *, timeout_s: float | None = None) -> Verdict:
        """Judge `source` against `task` on the host target; the verdict names it `name`."""
        return self._runner.run(self._judge(str(task), source, name, timeout_s))

    def standalone(self, task: Path, source: bytes, folder: Path, **how: Any) -> StandaloneWritten:
        """Write `source` as a program of its own into `folder`; `how` as in `JudgeClient.write_standalone`."""
        return self._runner.run(self._standalone(str(task), source, str(folder), how))

    def close(self) -> None:
        if self._client is not None:
            self._runner.run(self._client.close())
        self._runner.close()

    async def _load(self, task: str, timeout_s: float | None) -> TaskInfo:
        if self._client is None or not self._client.alive:
            self._client = JudgeClient()
            self._task = None
            await self._client.start()
        if self._task is None or self._task[0] != (task, timeout_s):
            self._task = None
            info = await self._client.load_task(task, target="host", timeout_s=timeout_s)
            self._task = ((task, timeout_s), info)
        return self._task[1]

    async def _judge(self, task: str, source: bytes, name: str, timeout_s: float | None) -> Verdict:
        await self._load(task, timeout_s)
        assert self._client is not None
        judged = await self._client.judge(f"c{next(self._numbers)}", source, path=name)
        if judged.verdict is None:
            raise JudgeError(f"{name} has no verdict.")
        return judged.verdict

    async def _standalone(
        self, task: str, source: bytes, folder: str, how: dict[str, Any]
    ) -> StandaloneWritten:
        await self._load(task, None)
        assert self._client is not None
        return await self._client.write_standalone(f"c{next(self._numbers)}", source, folder, **how)


def complaint(verdict: Verdict) -> str:
    """What an assertion shows of a verdict that should have been another."""
    gates = "\n".join(f"  {g.name}: {g.status} {g.reason}" for g in verdict.gates)
    return f"{verdict.candidate.path}: {verdict.first_line}\n{gates}\nseeds {verdict.seeds}"
