"""The open events.jsonl of a session: what is appended is in the file that stands in the folder, or it is refused.

Editors, sync tools and `git checkout` put another file in a log's place, or rewrite it; what we would write to the file
that we once opened would then be gone when the session is opened again. So before each append the file of that name is
compared with what we wrote: by its inode, size and time, and where these differ by its bytes. The very same text, put
back, is taken up; anything else is refused until it is put back.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
from pathlib import Path

from workbench.engine.log import LogContents, parse_log


class LogFile:
    """A log that one process appends to. Every error is an OSError; ESTALE says that another program changed it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1
        self._size = 0
        self._hash = hashlib.sha256()
        """Of the first `_size` bytes: the whole lines that were read or appended."""
        self._tail = b""
        """What may stand after them, or the start of it: a torn line, or an append that was refused."""
        self._seen: tuple[int, ...] | None = None
        """The file's marks when it was last known to be ours."""

    def open(self) -> None:
        """Open and lock the file, made where it is not there.

        Raises:
            BlockingIOError: another process has locked it.
            OSError: it cannot be written; `read` still works where it is there, and `append` tries again.
        """
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        _lock(self._fd)

    @property
    def is_open(self) -> bool:
        return self._fd >= 0

    def read(self) -> LogContents:
        """What the file holds; from now on that is what it has to hold. Raises SessionError as `read_log` does."""
        contents, data = parse_log(self.path)
        self._size = contents.good_bytes
        self._hash = hashlib.sha256(data[: self._size])
        self._tail = contents.torn
        return contents

    def check(self) -> None:
        """Raises OSError where the file that stands there now is not the one that was written."""
        there = os.stat(self.path)
        if self._fd >= 0 and self._seen == _marks(there):
            return
        fd = self._fd
        if fd < 0 or not os.path.samestat(there, os.fstat(fd)):
            fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        try:
            if fd != self._fd:
                _lock(fd)
            marks = _marks(os.fstat(fd))  # before it is read: what is changed meanwhile is read again
            data = _read(fd)
            ours = hashlib.sha256(data[: self._size]).digest() == self._hash.digest()
            if not ours or not self._tail.startswith(data[self._size :]):
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        except OSError:
            if fd != self._fd:
                os.close(fd)
            raise
        if fd != self._fd:
            self.close()
            self._fd = fd
        self._seen = marks

    def append(self, data: bytes) -> None:
        """Put whole lines on disk (fdatasync), all or nothing; raises OSError."""
        self.check()
        self._cut()
        self._tail = data
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
            os.fdatasync(self._fd)
            if not os.path.samestat(os.stat(self.path), os.fstat(self._fd)):  # put in its place meanwhile
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        except OSError:
            with contextlib.suppress(OSError):
                self._cut()
            raise
        self._tail = b""
        self._size += len(data)
        self._hash.update(data)
        self._seen = _marks(os.fstat(self._fd))

    def close(self) -> None:
        """Let go of the file and its lock; appended lines are on disk already."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _cut(self) -> None:
        # Also after a failed append: half a line in the middle of the log would damage it for good.
        if self._tail:
            os.ftruncate(self._fd, self._size)
            self._tail = b""


def _lock(fd: int) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if (
            error.errno == errno.EWOULDBLOCK
        ):  # others: a file system without locks; the runtime folder's holds
            raise


def _marks(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _read(fd: int) -> bytes:
    with open(fd, "rb", closefd=False) as file:
        file.seek(0)
        return file.read()
