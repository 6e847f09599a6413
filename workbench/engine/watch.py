"""Notices saves of the task's sources and of candidates' own files, in any editor and on any file system.

Notifications (watchdog) only say when to look; what counts is what a look finds, so that editors that write in
place, that replace the file by rename, and that save twice are all one change. Where notifications are blind (network
file systems) or there are none left, looks are frequent enough to see a save within a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

SETTLED_S = 0.06
"""An editor that truncates and then writes must be done: the file looks the same twice, so far apart."""
LOOK_S = 0.8
"""How often files are looked at although notifications work; a lost one costs no more than this."""
BLIND_LOOK_S = 0.4
"""How often where notifications do not work."""
SETTLE_TRIES = 50
PAUSE_S = 0.02
"""Between two looks: a program that writes its log beside the task must not keep us busy."""

_BLIND = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "9p",
        "afs",
        "ceph",
        "glusterfs",
        "lustre",
        "vboxsf",
        "virtiofs",
        "prl_fs",
    }
)

Look = tuple[int, int, int] | None
"""Inode, size in bytes and time of change in ns; None where the file is not there."""


class Watcher:
    """Calls `changed(path)` after a watched file was saved; one call at a time, never while it is half written."""

    def __init__(self, changed: Callable[[str], Awaitable[None]]) -> None:
        self._changed = changed
        self._seen: dict[str, Look] = {}
        self._nudge = asyncio.Event()
        self._observer: Any = None
        self._folders: dict[str, Any] = {}
        self._blind: set[str] = set()

    def watch(self, paths: Iterable[str], *, seen: bool = True) -> None:
        """Watch exactly `paths` from now on. With `seen` False a file that is new here counts as saved just now."""
        wanted = dict.fromkeys(os.path.abspath(path) for path in paths)
        for path in [path for path in self._seen if path not in wanted]:
            del self._seen[path]
        for path in wanted:
            if path not in self._seen:
                self._seen[path] = _look(path) if seen else None
        # A link's own folder and that of the file itself: either may be what an editor writes.
        self._follow({os.path.dirname(p) for path in wanted for p in (path, os.path.realpath(path))})
        self._nudge.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        try:
            while True:
                wait_s = BLIND_LOOK_S if self._blind else LOOK_S
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._nudge.wait(), wait_s)
                self._nudge.clear()
                for path in list(self._seen):
                    if self._differs(path) and await self._settled(path):
                        await self._changed(path)
                await asyncio.sleep(PAUSE_S)
        finally:
            if self._observer is not None:
                self._observer.stop()

    def _differs(self, path: str) -> bool:
        # A file that is gone is an editor between its two renames, or a file that is really gone: nothing to judge.
        found = _look(path)
        return path in self._seen and found is not None and found != self._seen[path]

    async def _settled(self, path: str) -> bool:
        for _ in range(SETTLE_TRIES):
            before = _look(path)
            await asyncio.sleep(SETTLED_S)
            if before is not None and before == _look(path):
                break
        else:
            return False  # written without a pause; the next look sees it
        if path not in self._seen or before == self._seen[path]:
            return False
        self._seen[path] = before
        return True

    def _follow(self, folders: set[str]) -> None:
        for folder in [folder for folder in self._folders if folder not in folders]:
            self._unfollow(folder)
        for folder in folders - self._folders.keys():
            self._folders[folder] = self._schedule(folder)
        self._blind = {folder for folder, handle in self._folders.items() if handle is None}

    def _schedule(self, folder: str) -> Any:
        """Watchdog's handle for a folder; None where notifications cannot be had."""
        if is_blind(folder):
            return None
        try:
            if self._observer is None:
                from watchdog.observers import Observer

                # Its debug log of each event costs more than the event.
                logging.getLogger("watchdog").setLevel(logging.WARNING)
                self._observer = Observer()
                self._observer.start()
            return self._observer.schedule(_Nudge(self._nudge), folder, recursive=False)
        except OSError:  # no watches left, or the folder is gone
            return None

    def _unfollow(self, folder: str) -> None:
        handle = self._folders.pop(folder)
        if handle is not None:
            with contextlib.suppress(KeyError, OSError):
                self._observer.unschedule(handle)


class _Nudge:
    """Watchdog's handler: whatever happened in the folder, look."""

    def __init__(self, nudge: asyncio.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._nudge = nudge

    def dispatch(self, event: Any) -> None:
        """Called in watchdog's thread."""
        if event.event_type in ("opened", "closed_no_write"):
            return  # reading a file is no save, and our own looks would never end
        with contextlib.suppress(RuntimeError):  # the loop is closed: the engine ends
            self._loop.call_soon_threadsafe(self._nudge.set)


def is_blind(folder: str) -> bool:
    """Changes made elsewhere to this folder's file system raise no notification here."""
    kind = _file_system(os.path.realpath(folder))
    return kind in _BLIND or kind.startswith("fuse")


def _file_system(folder: str) -> str:
    """The type of the file system that `folder` is on; "" where the system does not say."""
    best, kind = "", ""
    try:
        mounts = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    for line in mounts:
        head, _, tail = line.partition(" - ")
        fields = head.split(" ")
        if len(fields) < 5 or not tail:
            continue
        point = fields[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        inside = folder == point or folder.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, tail.split(" ")[0]
    return kind


def _look(path: str) -> Look:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns)
