"""The judge's own standard streams, taken away from whatever runs in its process."""

from __future__ import annotations

import os


def take_standard_streams() -> tuple[int, int]:
    """Move stdin and stdout to fresh, non-inheritable descriptors; returns (incoming, outgoing).

    Afterwards descriptor 0 reads /dev/null and descriptor 1 writes where stderr does.
    """
    incoming, outgoing = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return incoming, outgoing


def reopened_standard_streams() -> tuple[int, ...]:
    """Open what a task closed of descriptors 0 to 2, to nowhere; returns which.

    A file or a pipe opened later would get such a number, and what is printed would go into it.
    """
    closed = []
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number, which is this one: those below are open.
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)
            closed.append(number)
    return tuple(closed)
