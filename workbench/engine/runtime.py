"""The user's runtime folder: where an engine's socket, lock and log live, found again from the session's folder alone.

A Unix socket's path is limited to 107 bytes and a session's folder is not, so names here are short hashes of the
folder's real path.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
import tempfile
import time
import warnings
from pathlib import Path

import msgspec

from workbench.core.errors import SessionError

SOCKET_PATH_BYTES = 107
"""The longest path that Linux takes for a Unix socket."""


class Places(msgspec.Struct, frozen=True):
    """What belongs to one session in the runtime folder."""

    socket: Path
    lock: Path
    log: Path
    """The engine's stderr: read only where an engine ended without a word."""


def runtime_folder() -> Path:
    """The user's runtime folder of workbench, made with mode 0700.

    Raises:
        SessionError: it cannot be made, or belongs to another user.
    """
    import platformdirs

    with warnings.catch_warnings():
        # platformdirs warns where XDG_RUNTIME_DIR is unset and falls back to a folder in /tmp: ours is checked below.
        warnings.simplefilter("ignore")
        folder = platformdirs.user_runtime_path("workbench")
    if len(os.fsencode(folder)) + len("/0123456789abcdef.sock") > SOCKET_PATH_BYTES:
        folder = Path(tempfile.gettempdir()) / f"workbench-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = os.lstat(folder)
    except OSError as error:
        raise SessionError(
            f"The runtime folder {folder} cannot be made: {error.strerror}.",
            do="Set XDG_RUNTIME_DIR to a folder of yours.",
        ) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise SessionError(
            f"The runtime folder {folder} belongs to another user.",
            do="Set XDG_RUNTIME_DIR to a folder of yours.",
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        os.chmod(folder, 0o700)
    return folder


def places(session: Path) -> Places:
    """Socket, lock and log of the session at `session`; the same for every path that leads to it."""
    name = _hash(os.path.realpath(session))
    folder = runtime_folder()
    return Places(folder / f"{name}.sock", folder / f"{name}.lock", folder / f"{name}.log")


class Lock:
    """An advisory lock on a file; the kernel lets go of it when its process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def acquire(self, *, wait_s: float = 0.0) -> bool:
        """Take the lock; False where another process holds it after `wait_s` seconds."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        until = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EAGAIN):
                    os.close(fd)
                    raise
                if time.monotonic() >= until:
                    os.close(fd)
                    return False
                time.sleep(0.02)
            else:
                self._fd = fd
                return True

    def release(self) -> None:
        """Let go; the file stays, since removing it would let two processes hold two files of one name."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def task_lock(root: Path, task: str) -> Lock:
    """Held while the session of a task is looked for and made, so that two engines started at once agree."""
    return Lock(runtime_folder() / f"{_hash(os.path.realpath(root) + chr(0) + task)}.start")


def remove_socket(path: Path) -> None:
    """Remove a socket that its engine left; only the holder of the session's lock may."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def _hash(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:16]
