"""Hashes of our own parts that a build depends on, so that a cache never outlives them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).parent
_PROFILE = _PACKAGE.parents[1] / "profile"
_HOST = _PACKAGE.parent / "host"


@cache
def cuda_parts() -> str:
    """Changes when our headers, the way we call NVRTC or the way we read cubins does."""
    own = [p for p in _PACKAGE.rglob("*") if p.parent.name == "include" or p.suffix == ".py"]
    return _digest([*own, _PROFILE / "cubin.py", _PROFILE / "ptx.py", _PROFILE / "types.py"])


@cache
def host_parts() -> str:
    """Changes when the host target's headers or the way it compiles does."""
    return _digest(p for p in _HOST.rglob("*") if "__pycache__" not in p.parts)


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in paths if p.is_file()):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
