"""The task's revisions: when a saved task is a new one, its frozen copies, and what is said where it is broken."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from pathlib import Path

from workbench.core.errors import DeviceError, JudgeError, TaskError
from workbench.core.events import TaskBroken, TaskLoaded
from workbench.core.task import TaskInfo
from workbench.core.verdict import Target
from workbench.engine.journal import Journal
from workbench.engine.store import FROZEN_FILE_BYTES
from workbench.judge.client import JudgeClient

NEIGHBOURS = 200
"""How many files beside a broken task are watched; what it imports is not known then."""

LOADS = 3
"""How often a task that is saved while it is loaded is loaded again at once, so that what is frozen is what is judged."""


class TaskRevisions:
    """Loads the task into a judge and records what came of it."""

    def __init__(
        self,
        journal: Journal,
        *,
        task: str,
        target: Target,
        arch: str | None,
        timeout_s: float | None,
        limit_s: float,
    ) -> None:
        """`timeout_s` limits one launch of a candidate, `limit_s` the loading of the task; both in seconds."""
        self.task = task
        self.target: Target = target
        self._journal = journal
        self._arch = arch
        self._timeout_s = timeout_s
        self._limit_s = limit_s
        self._loaded: dict[str, str] = {}

    async def load(self, client: JudgeClient, *, alone: bool = True) -> bool:
        """Load the task; False where it is broken, which is recorded then.

        Args:
            alone: there is no other judge, which might have a device for the task where this one has none.

        Raises:
            JudgeError: the judge died, through no fault of the task's that it could tell.
            StoreError: the session cannot be written.
        """
        for _ in range(LOADS):
            loaded = await self._load(client, alone)
            if loaded is not None:
                return loaded
        # Written to all the time: the watcher has it loaded again, as with any save.
        return bool(await self._load(client, alone, whatever_is_frozen=True))

    async def follow(self, client: JudgeClient) -> bool:
        """Have `client` load the revision that another judge has loaded; False where it was saved again since.

        Raises:
            JudgeError: this judge cannot load it, or would judge it under another environment.
        """
        task, revision = self._journal.state.task, self._journal.state.revision
        try:
            info = await self._ask(client, revision)
        except TaskError as error:
            if await self.changed():
                return False
            raise JudgeError(f"It cannot load the task that another judge has: {error.what}") from None
        if task is not None and info.basis == task.basis:
            return True
        if await self.changed():
            return False
        raise JudgeError(
            "It does not load the same task as another judge: the task, its torch, driver or device differs."
        )

    async def _load(
        self, client: JudgeClient, alone: bool, *, whatever_is_frozen: bool = False
    ) -> bool | None:
        """As `load`; None where a source was saved between its loading and its freezing."""
        state = self._journal.state
        before = await asyncio.to_thread(_contents, self.sources())
        guess = state.revision if state.task is not None and not await self._edited() else state.revision + 1
        try:
            info = await self._ask(client, guess)
            same = state.task is not None and info.fingerprint == state.task.fingerprint
            revision = state.revision if same else state.revision + 1
            if revision != guess:  # the judge writes the number into its verdicts
                info = await self._ask(client, revision)
        except TaskError as error:
            if isinstance(error, DeviceError) and not alone:
                raise JudgeError(error.what, do=error.do) from None
            self._loaded = before
            if state.task_error != str(error):
                self._journal.record(TaskBroken(message=str(error)))
            return False
        self._loaded = await asyncio.to_thread(_contents, self._of(info)) | before
        if revision != state.revision:
            frozen = self._journal.store.freeze_task(revision, self._of(info))
            if frozen != {path: self._loaded.get(path) for path in frozen} and not whatever_is_frozen:
                return None
        if revision != state.revision or info != state.task or state.task_error is not None:
            self._journal.record(TaskLoaded(revision=revision, info=info))
        return True

    def sources(self) -> list[str]:
        """The files to watch: what the task covers, and where it is broken also what stands beside it."""
        state = self._journal.state
        found = dict.fromkeys(self._of(state.task) if state.task is not None else [])
        path = Path(self.task)
        if path.is_file():
            found[str(path)] = None
        if state.task is None or state.task_error is not None:
            folder = path if path.is_dir() else path.parent
            if path.exists():
                found.update(dict.fromkeys(str(p) for p in sorted(folder.glob("*.py"))[:NEIGHBOURS]))
        return list(found)

    async def changed(self) -> bool:
        """A source differs from what was loaded last (a save that changed nothing does not count)."""
        now = await asyncio.to_thread(_contents, self.sources())
        return any(self._loaded.get(path) != content for path, content in now.items())

    async def _ask(self, client: JudgeClient, revision: int) -> TaskInfo:
        return await client.load_task(
            self.task,
            target=self.target,
            arch=self._arch,
            timeout_s=self._timeout_s,
            revision=revision,
            limit_s=self._limit_s,
        )

    async def _edited(self) -> bool:
        """The sources differ from the frozen copies of the last revision, as far as there are copies."""
        frozen = self._journal.store.frozen(self._journal.state.revision)
        copies = await asyncio.to_thread(_contents, [str(copy) for copy in frozen.values()])
        originals = await asyncio.to_thread(_contents, list(frozen))
        return any(copies[str(copy)] != originals[path] for path, copy in frozen.items())

    def _of(self, info: TaskInfo) -> list[str]:
        base = Path(self.task) if Path(self.task).is_dir() else Path(self.task).parent
        return [str(base / source) for source in info.sources]


def _contents(paths: Iterable[str]) -> dict[str, str]:
    """A hash of each file's content; of its size and time where it is large (weights); "" where it is not there."""
    found: dict[str, str] = {}
    for path in paths:
        try:
            status = Path(path).stat()
            if status.st_size > FROZEN_FILE_BYTES:
                found[path] = f"{status.st_size}:{status.st_mtime_ns}"
            else:
                found[path] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        except OSError:
            found[path] = ""
    return found
