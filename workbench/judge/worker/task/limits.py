"""What the host target may try and allocate; the numbers that one would tune."""

from __future__ import annotations

HOST_WORK = 400_000
"""The work (`estimate.Work.total`) that a derived small size aims below: a few hundred milliseconds of host
simulation."""
HOST_WORK_LIMIT = 8 * HOST_WORK
"""A declared size above this work is not judged on the host (the one called "small" always is)."""
HOST_ELEMENTS_LIMIT = 1 << 24
"""Elements that one tensor may have while a size is tried on the host (64 MiB of float32)."""
MAX_OPERATIONS = 10_000
"""A reference that calls more operations than this (a loop in Python over a long sequence) is not tried at a size
whose shapes alone are wanted: 10,000 take about a second."""


class TooLarge(Exception):
    """A size that this target must not allocate, or not run."""
