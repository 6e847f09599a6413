"""The one error base: what is wrong, what to do, and the exit code of the command line.

A candidate that fails is a result (`core.verdict`), never one of these.
"""

from __future__ import annotations

from typing import ClassVar


class WorkbenchError(Exception):
    """One sentence that says what is wrong and, in `do`, what to do about it.

    The command line prints it to stderr and exits with `exit_code` (docs/design.md, section 7).
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, what: str, *, do: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.do = do

    def __str__(self) -> str:
        return f"{self.what} {self.do}".strip()


class UsageError(WorkbenchError):
    """The command line or a file named on it is wrong, missing or unreadable (exit code 2)."""


class JudgeError(WorkbenchError):
    """The judge could not do its work: no device, no compiler, a broken task (exit code 3)."""

    exit_code = 3


class TaskError(JudgeError):
    """The task cannot be loaded or judged (exit code 3)."""


class DeviceError(TaskError):
    """This judge has no device or target for the task; another judge may (exit code 3)."""


class SessionError(WorkbenchError):
    """A session folder cannot be read or written (exit code 2)."""
