"""Standard output that cannot be written: a full disk, or a reader that went away. It says nothing of candidates, so
it must never look like "some fail" (exit code 1)."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from workbench.core.errors import UsageError

READER_GONE = 141
"""As a shell says of a program that SIGPIPE ended."""


@contextmanager
def standard_output() -> Iterator[None]:
    """Around a command: exits with 141, in silence, where whoever read the output has enough (`... | head`).

    Raises:
        UsageError: standard output is closed, or refuses what is written to it.
    """
    if sys.stdout is None:
        raise UsageError("Standard output is closed.", do="Leave it open, or send it to a file.")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (it is to stay open)
    try:
        yield
    except OSError as error:
        if not _echoing(error):
            raise
        # What could not be written is still in a buffer: Python's last act would be to fail at it once more.
        _discard(1)
        if isinstance(error, BrokenPipeError):
            sys.exit(READER_GONE)
        raise UsageError(
            f"Standard output cannot be written: {error.strerror}.",
            do="Send it elsewhere, or free some space.",
        ) from None


def complain(show: Callable[[], None]) -> None:
    """Have `show` write to stderr; where that cannot be written either, the exit code has to say it alone."""
    try:
        show()
    except OSError:
        _discard(2)


def _discard(descriptor: int) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def _echoing(error: OSError) -> bool:
    """It arose in `click.echo`, through which everything is written, click's own help included."""
    return any(frame.f_code is click.echo.__code__ for frame, _ in traceback.walk_tb(error.__traceback__))
