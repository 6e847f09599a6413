"""Buffers that judge and runner share: each between canaries and guard pages, inputs read-only for the runner.

Two anonymous files (memfds) hold all bytes: one for what the runner may only read, sealed so that nobody can map it
writable any more, one for what it may write. The judge maps both whole; the runner gets each buffer at an address of
its own, with unmapped pages before and behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from workbench.core.errors import JudgeError

PAGE = 4096
ALIGNMENT = 16
_F_ADD_SEALS, _SEAL, _SHRINK, _GROW, _FUTURE_WRITE = 1033, 1, 2, 4, 16

Placement = Literal["end", "start"]
Side = Literal["before", "after"]


class BufferSpec(msgspec.Struct, frozen=True):
    """One buffer to be made."""

    name: str
    """As messages call it: the parameter's path, "output 0", "scratch t3"."""
    nbytes: int
    writable: bool
    role: Literal["input", "output", "scratch"] = "scratch"


class Region(msgspec.Struct, frozen=True):
    """Where a buffer lies."""

    writable: bool
    file_offset: int
    """Of its first page in its file, bytes."""
    span: int
    """Whole pages, bytes."""
    start: int
    """Of its first byte in `span`."""
    nbytes: int


class Damage(msgspec.Struct, frozen=True):
    """A canary that changed."""

    buffer: int
    name: str
    offset: int
    """Of the first changed byte, relative to the buffer's first one: negative before it, at least nbytes behind it."""
    side: Side


class Arena:
    """The judge's side of all buffers of a call. A context manager."""

    def __init__(self, specs: Sequence[BufferSpec], *, placement: Placement = "end", seed: int) -> None:
        """Make the buffers, filled with zeros, and their canaries, drawn from `seed`.

        Args:
            placement: "end": a buffer ends where its last page does (up to 15 bytes before, to start at a multiple of
                16), so that the first byte behind is unmapped; "start": it starts where its first page does.

        Raises:
            JudgeError: there is not that much memory.
        """
        self.specs = tuple(specs)
        self.placement = placement
        self._rng = np.random.default_rng(seed)
        sizes = {False: 0, True: 0}
        regions: list[Region] = []
        for spec in self.specs:
            padded = -(-spec.nbytes // ALIGNMENT) * ALIGNMENT
            span = max(-(-padded // PAGE), 1) * PAGE
            start = span - padded if placement == "end" else 0
            regions.append(Region(spec.writable, sizes[spec.writable], span, start, spec.nbytes))
            sizes[spec.writable] += span
        self.regions = tuple(regions)
        self._files: dict[bool, int] = {}
        self._maps: dict[bool, mmap.mmap] = {}
        self._bytes: dict[bool, np.ndarray] = {}
        try:
            for writable in (False, True):
                fd = os.memfd_create(
                    "workbench-rw" if writable else "workbench-ro", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
                )
                self._files[writable] = fd
                size = max(sizes[writable], PAGE)
                os.ftruncate(fd, size)
                self._maps[writable] = mmap.mmap(fd, size)
                self._bytes[writable] = np.frombuffer(self._maps[writable], np.uint8)
                seals = _SHRINK | _GROW | _SEAL | (0 if writable else _FUTURE_WRITE)
                if not writable:
                    os.fchmod(fd, 0o444)
                try:
                    fcntl.fcntl(fd, _F_ADD_SEALS, seals)
                except (
                    OSError
                ):  # before Linux 5.1: the runner gets a read-only descriptor (below) and may open no file
                    fcntl.fcntl(fd, _F_ADD_SEALS, seals & ~_FUTURE_WRITE)
            self._read_only = os.open(f"/proc/self/fd/{self._files[False]}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            self.close()
            raise JudgeError(
                f"The buffers ({sum(sizes.values()) / 2**20:.0f} MiB) cannot be made: {error.strerror}.",
                do="Use a smaller size.",
            ) from error
        self._canaries: list[tuple[np.ndarray, np.ndarray]] = []
        self.reset_canaries()

    @property
    def descriptors(self) -> tuple[int, int]:
        """Files for the runner: the read-only one and the writable one."""
        return self._read_only, self._files[True]

    @property
    def nbytes(self) -> int:
        """All pages together."""
        return sum(r.span for r in self.regions)

    def array(self, i: int) -> np.ndarray:
        """Buffer `i` as uint8, shape (nbytes,), shared with the runner and writable here, whatever the runner may."""
        region = self.regions[i]
        low = region.file_offset + region.start
        return self._bytes[region.writable][low : low + region.nbytes]

    def _margins(self, region: Region) -> tuple[np.ndarray, np.ndarray]:
        whole = self._bytes[region.writable][region.file_offset : region.file_offset + region.span]
        return whole[: region.start], whole[region.start + region.nbytes :]

    def reset_canaries(self) -> None:
        """Draw and write new canaries on both sides of every buffer."""
        self._canaries = []
        for region in self.regions:
            drawn = []
            for margin in self._margins(region):
                margin[:] = self._rng.integers(0, 256, margin.size, dtype=np.uint8)
                drawn.append(margin.copy())
            self._canaries.append((drawn[0], drawn[1]))

    def damaged(self) -> list[Damage]:
        """Canaries that are not as they were written, by buffer; where several bytes changed, the nearest one."""
        found: list[Damage] = []
        for i, region in enumerate(self.regions):
            before, after = self._margins(region)
            sides: tuple[tuple[np.ndarray, np.ndarray, Side], ...] = (
                (before, self._canaries[i][0], "before"),
                (after, self._canaries[i][1], "after"),
            )
            for margin, canary, side in sides:
                changed = np.flatnonzero(margin != canary)
                if changed.size:
                    offset = (
                        int(changed[-1]) - region.start
                        if side == "before"
                        else int(changed[0]) + region.nbytes
                    )
                    found.append(Damage(i, self.specs[i].name, offset, side))
        return found

    def close(self) -> None:
        """Give the memory back; arrays that are still in use keep theirs."""
        for fd in [*self._files.values(), *([self._read_only] if hasattr(self, "_read_only") else [])]:
            with contextlib.suppress(OSError):
                os.close(fd)
        self._files = {}
        self.__dict__.pop("_read_only", None)
        self._bytes = {}
        for mapping in self._maps.values():
            with contextlib.suppress(BufferError):
                mapping.close()
        self._maps = {}

    def __enter__(self) -> Arena:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
