"""Reading a candidate's own file: the `.cu` that a person keeps in an editor, joined with its `.plan.py` if it has one."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from workbench.core.errors import UsageError

MAX_FILE_BYTES = 15 << 20
"""Larger files do not fit a message to the judge; `parse` refuses far smaller ones."""


def plan_path(path: str | os.PathLike[str]) -> Path:
    """The plan that stands beside "x.cu": "x.plan.py"."""
    return Path(path).with_suffix(".plan.py")


def read_candidate_file(path: str | os.PathLike[str]) -> bytes:
    """The candidate at `path`: as it is, joined with the plan beside it, or taken from a model's answer (.md).

    Raises:
        UsageError: it is missing, unreadable, no regular file, or too large to be one.
    """
    from workbench.dialect.source import from_file

    beside = plan_path(path)
    return from_file(os.fspath(path), _read(Path(path)), lambda: _read(beside) if beside.is_file() else None)


def _read(path: Path) -> bytes:
    try:
        # Not blocking: a pipe that nobody writes must not hold up the engine.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", do="Check its name.") from None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f"{path} is not a file.", do="Name a candidate's .cu file.")
        if found.st_size > MAX_FILE_BYTES:
            raise UsageError(
                f"{path} has {found.st_size / 2**20:.0f} MiB, far more than a candidate may have (4 MiB).",
                do="Name a candidate's .cu file.",
            )
        with open(fd, "rb", closefd=False) as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", do="Check the disk.") from None
    finally:
        os.close(fd)
