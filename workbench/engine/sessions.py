"""Session folders: how they are made, found again by their task and listed (`core.locate` finds them by name).

`sessions/<task>-<date>-<n>/`; a folder with an events.jsonl is a session. What is inside is `engine.store`'s.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from workbench.core.errors import SessionError
from workbench.core.events import SessionStarted
from workbench.core.locate import EVENT_LOG, is_session
from workbench.engine.log import decode_line

_IGNORE = """\
# Made by workbench: sessions are yours and stay out of version control; shipped examples stay in.
*
!.gitignore
!example*/
!example*/**
"""

_FIRST_LINE_LIMIT = 1 << 20


class SessionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `workbench list`."""

    name: str
    path: str
    task: str
    task_path: str
    target: str
    started_at: float
    """Seconds since the epoch."""
    used_at: float
    """When its log last grew, seconds since the epoch."""
    bytes: int
    """Disk use of the whole folder."""


def task_key(task: str) -> str:
    """How a session names its task: an absolute path where there is such a file or folder, else `task` itself."""
    return os.path.realpath(task) if os.path.exists(task) else task


def task_name(task: str) -> str:
    """The task's name before it is loaded: "tasks/rmsnorm.py" and "pkg.rmsnorm:Model" are "rmsnorm"."""
    if os.path.exists(task) or task.endswith(".py"):
        return Path(os.path.realpath(task)).stem
    return task.partition(":")[0].rpartition(".")[2] or task


def create_folder(root: Path, task: str, *, now: float | None = None) -> Path:
    """Make `<task>-<date>-<n>/` with its subfolders, n being the first that is free.

    Raises:
        SessionError: the folder cannot be made (read-only, full, no permission).
    """
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", task_name(task)).strip("-.")[:60] or "task"
    date = time.strftime("%Y-%m-%d", time.localtime(now))
    try:
        root.mkdir(parents=True, exist_ok=True)
        ignore = root / ".gitignore"
        if not ignore.exists():
            ignore.write_text(_IGNORE)
        n = 1
        while True:
            folder = root / f"{stem}-{date}-{n}"
            try:
                folder.mkdir()
                break
            except FileExistsError:
                n += 1
        for part in ("task", "candidates", "verdicts", "profiles"):
            (folder / part).mkdir()
    except OSError as error:
        raise SessionError(
            f"A session cannot be kept in {root}: {error.strerror}.",
            do="Set WORKBENCH_SESSIONS to a folder that can be written.",
        ) from None
    return folder


def started(folder: Path) -> SessionStarted | None:
    """The first event of the session at `folder`; None where it has none that can be read."""
    try:
        with open(folder / EVENT_LOG, "rb") as log:
            line = log.readline(_FIRST_LINE_LIMIT)
        event = decode_line(line)
    except (OSError, msgspec.MsgspecError):
        return None
    return event if isinstance(event, SessionStarted) else None


def all_sessions(root: Path) -> Iterator[tuple[Path, SessionStarted]]:
    """Every readable session under `root`, last used first."""
    try:
        folders = [entry for entry in root.iterdir() if is_session(entry)]
    except OSError:
        return
    for folder in sorted(folders, key=_used_at, reverse=True):
        first = started(folder)
        if first is not None:
            yield folder, first


def last_session(root: Path, task: str, *, target: str | None = None) -> Path | None:
    """The task's session that was used last (and on `target`, if given); None where it has none."""
    key = task_key(task)
    for folder, first in all_sessions(root):
        if first.task_path == key and target in (None, first.target):
            return folder
    return None


def summaries(root: Path) -> list[SessionSummary]:
    """Every session under `root` with its disk use, last used first."""
    return [
        SessionSummary(
            name=folder.name,
            path=str(folder),
            task=first.task_name,
            task_path=first.task_path,
            target=first.target,
            started_at=first.at,
            used_at=_used_at(folder),
            bytes=disk_bytes(folder),
        )
        for folder, first in all_sessions(root)
    ]


def disk_bytes(folder: Path) -> int:
    """Bytes that the files under `folder` take on disk (blocks, as `du` counts)."""
    total = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(parent, name)).st_blocks * 512
            except OSError:
                continue
    return total


def _used_at(folder: Path) -> float:
    try:
        return (folder / EVENT_LOG).stat().st_mtime
    except OSError:
        return 0.0
