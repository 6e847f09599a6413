"""What the host target may try and allocate; the numbers that one would tune."""

from __future__ import annotations

HOST_WORK = 400_000
"""The work (`estimate.Work.total`) that a derived small size aims below: a few hundred milliseconds of host
simulation."""
HOST_WORK_LIMIT = 8 * HOST_WORK
"""A declared size above this work is not judged on the host (the one called "small" always is)."""
WHOLE_WORK = 5 * HOST_WORK
"""The same for a size that has one dimension at its whole declared length."""
STRETCHED_WORK = 6 * HOST_WORK
"""The same for the long size of a task that has one free dimension: 130 rows and columns of a matrix product, so that
tiles of 128 are not all that a kernel ever computes."""
HOST_THREADS = 1 << 19
"""CUDA threads that a plan may launch at a size the judge chose itself: about half a second on two cores."""
HOST_ELEMENTS_LIMIT = 1 << 24
"""Elements that one tensor may have while a size is tried on the host (64 MiB of float32)."""
HOST_ELEMENTS_LAST = 1 << 28
"""The same, where nothing smaller runs (a network whose widths are written into it)."""
HEAVY_WORK = 100 * HOST_WORK
"""Above this work a task is still loaded, but its hard cases are not tried out beforehand."""
MAX_OPERATIONS = 10_000
"""A reference that calls more operations than this (a loop in Python over a long sequence) is not tried at a size
whose shapes alone are wanted: 10,000 take about a second."""


class TooLarge(Exception):
    """A size that this target must not allocate, or not run."""
