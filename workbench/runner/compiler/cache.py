"""Finished builds on disk, so that the same text is compiled once.

One file a build, named by a hash of everything that can change it. A file that cannot be read is a miss; the oldest
go when the folder is over its size.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from workbench.core.build import BuildFailure, CudaBuild, HostBuild

MAX_BYTES = 1 << 30
FORMAT = 1
"""Raised whenever what is stored, or how it is found, changes."""
_PRUNE_EVERY = 64
_DIGEST = 32


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What one file holds; one of the three."""

    cuda: CudaBuild | None = None
    host: HostBuild | None = None
    failure: BuildFailure | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Stored).decode


class BuildCache:
    """A folder of builds; every failure to read or write it is only a miss."""

    def __init__(self, folder: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self.folder = folder
        self._max_bytes = max_bytes
        self._stored = 0

    @staticmethod
    def key(*parts: Any) -> str:
        """A name for a build that depends on `parts` (JSON values and msgspec structs)."""
        return hashlib.sha256(msgspec.json.encode([FORMAT, *parts], order="deterministic")).hexdigest()

    def load(self, key: str) -> Stored | None:
        """What is stored under `key`; None where nothing is, or nothing that can be read."""
        path = self._path(key)
        try:
            data = path.read_bytes()
            if hashlib.sha256(data[_DIGEST:]).digest() != data[:_DIGEST]:
                raise ValueError("damaged")
            stored = _decode(data[_DIGEST:])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, msgspec.MsgspecError):
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return stored

    def store(self, key: str, stored: Stored) -> None:
        """Write a build, whole or not at all."""
        path = self._path(key)
        body = _encode(stored)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".part-")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(hashlib.sha256(body).digest() + body)
                os.replace(temporary, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise
        except OSError:
            return
        if self._stored % _PRUNE_EVERY == 0:
            self.prune()
        self._stored += 1

    def prune(self) -> None:
        """Remove the builds used longest ago until the folder is within its size."""
        entries: list[tuple[float, int, Path]] = []
        for path in self.folder.glob("[0-9a-f][0-9a-f]/*"):
            with contextlib.suppress(OSError):
                status = path.stat()
                entries.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total <= self._max_bytes:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                total -= size

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / key
