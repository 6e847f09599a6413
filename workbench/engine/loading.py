"""Which judges have the task as it is now: one of them loads a saved task and has it recorded, the others follow."""

from __future__ import annotations

import asyncio

from workbench.engine.tasks import TaskRevisions
from workbench.judge.client import JudgeClient


class Loading:
    """Each save of the task makes another `generation`, which every judge has to load."""

    def __init__(self, task: TaskRevisions) -> None:
        self.generation = 1
        self.turn = asyncio.Lock()
        """Held while a judge finds out which revision a generation is, so that no other records it too."""
        self._task = task
        self._loaded: dict[int, int] = {}

    def saved(self) -> None:
        """The task's sources changed: what judges have loaded is old."""
        self.generation += 1

    def needed(self, judge: int) -> bool:
        """`judge` has not loaded the task as it is now."""
        return self._loaded.get(judge) != self.generation

    def elsewhere(self, judge: int) -> bool:
        """Another judge has loaded it."""
        return any(n == self.generation for other, n in self._loaded.items() if other != judge)

    def forget(self, judge: int) -> None:
        """The process of `judge` is gone, and what it had loaded."""
        self._loaded.pop(judge, None)

    async def lead(self, judge: int, client: JudgeClient, *, alone: bool) -> bool:
        """As `TaskRevisions.load`."""
        generation = self.generation
        good = await self._task.load(client, alone=alone)
        self._loaded[judge] = generation
        return good

    async def follow(self, judge: int, client: JudgeClient) -> bool:
        """As `TaskRevisions.follow`."""
        generation = self.generation
        same = await self._task.follow(client)
        if same:
            self._loaded[judge] = generation
        return same

    def pass_over(self, judge: int) -> None:
        """The task is broken, as another judge found: there is nothing to load."""
        self._loaded[judge] = self.generation
