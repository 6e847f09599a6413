"""What an instrumented run counted of each place in the code, for the estimate (judge/worker/estimate.py).

The runner's figures are hostile like all it says. They never help or fail a candidate; a candidate that forged them could
at most change its own rank on a target that shows no speed. They are bounded here, so that sums stay finite.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import numpy as np

from workbench.runner.host.sites import Site

MAX_SITES, MAX_STEPS, MAX_TOUCHED, BUCKETS = 4096, 256, 1024, 16
_MOST = 1 << 52
_u4, _u8 = np.uint32, np.uint64
_SITE = np.dtype(
    [
        ("step", _u4), ("place", _u4), ("kind", _u4), ("how", _u4), ("width", _u4), ("parts", _u4),
        ("requests", _u8), ("whole_requests", _u8), ("split_requests", _u8), ("lanes", _u8), ("bytes", _u8),
        ("sectors", _u8), ("split_sectors", _u8), ("wavefronts", _u8), ("split_wavefronts", _u8), ("ideal", _u8),
        ("divergent", _u8), ("reuse", _u4, (BUCKETS,)),
    ]
)  # fmt: skip
_STEP = np.dtype(
    [
        ("step", _u4), ("sampled", _u4), ("blocks", _u8), ("warps", _u8), ("raw", _u8), ("logged", _u8),
        ("exchanges", _u8), ("barriers", _u8), ("updates", _u8), ("hottest", _u8),
    ]
)  # fmt: skip
_TOUCHED = np.dtype([("step", _u4), ("buffer", _u4), ("read", _u8), ("written", _u8)])
COUNTS = np.dtype(
    [
        ("sites", _u4), ("steps", _u4), ("touched", _u4), ("incomplete", _u4),
        ("step", _STEP, (MAX_STEPS,)), ("touch", _TOUCHED, (MAX_TOUCHED,)), ("site", _SITE, (MAX_SITES,)),
    ]
)  # fmt: skip
"""runtime/abi.h: wb_counts."""
_INCOMPLETE = (
    (1, "the code has too many places"),
    (2, "the plan has too many steps"),
    (4, "the plan has too many buffers"),
)
Kind = Literal["code", "global", "shared"]
_KINDS: tuple[Kind, ...] = ("code", "global", "shared")


class SiteCount(msgspec.Struct, frozen=True, kw_only=True):
    """One place in the code in one step, over the step's sampled blocks. A request is what a warp does at once."""

    step: int
    """Of the runner's steps."""
    line: int
    """In the candidate's own file; 0 where unknown."""
    kind: Kind
    write: bool
    atomic: bool
    dynamic: bool = False
    """Of shared memory: the plan's, not the kernel's."""
    width: int
    """Bytes a lane asks for at most; of a vector that the host's compiler took apart, all of it."""
    parts: int
    """In how many pieces the host's compiler made the access."""
    requests: float
    """Of code: how often a warp ran the block."""
    whole_requests: float
    """Requests where a vector is one access; `split_requests`: where it is as many as it has pieces."""
    split_requests: float
    lanes: float
    """That took part, added up over requests."""
    bytes: float
    """That the lanes asked for."""
    sectors: float
    """Of 32 bytes, added up over requests, vectors whole; global memory."""
    split_sectors: float
    wavefronts: float
    """Cycles that shared memory's banks need. Of atomics: lanes at the same address (global) or bank (shared)."""
    split_wavefronts: float
    ideal: float
    """Wavefronts without bank conflicts."""
    divergent: float
    """Of code: how often the lanes that ran the block went on to different places."""
    reuse: tuple[float, ...]
    """Of global loads, sectors: first those that the block had not touched yet; then those last touched 0, 1, 2 to 3,
    4 to 7, ... lines of 128 bytes ago, counted in what the warp itself touched."""
    weights: Site
    """Of code: what one execution computes."""


class StepCount(msgspec.Struct, frozen=True, kw_only=True):
    """One launch."""

    step: int
    blocks: int
    sampled: int
    """Blocks that were looked at closely."""
    warps: int
    """Of the sampled blocks."""
    scale: float
    """Figures of sites times this are those of the whole launch."""
    exchanges: float
    """Warp intrinsics, of all blocks."""
    barriers: float
    """Barriers times warps, of all blocks."""
    updates: float
    """Atomic updates of buffers, one a thread, of all blocks."""
    hottest: float
    """Most of them at one address."""


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """What an instrumented call counted."""

    steps: tuple[StepCount, ...]
    sites: tuple[SiteCount, ...]
    touched: tuple[tuple[int, int, int, int], ...]
    """Step, buffer, and how many sectors of 32 bytes all blocks together read and wrote, each once."""
    incomplete: tuple[str, ...] = ()


def decode_counts(raw: bytes, places: Mapping[int, Site]) -> Counts:
    """The counts page in Python's terms.

    Args:
        raw: `COUNTS.itemsize` bytes that the runner wrote.
        places: from `sites.read_sites`.
    """
    page: Any = np.frombuffer(raw, COUNTS)[0]
    steps = [_step(row) for row in page["step"][: min(int(page["steps"]), MAX_STEPS)]]
    known = {s.step for s in steps}
    sites = [
        _site(row, places)
        for row in page["site"][: min(int(page["sites"]), MAX_SITES)]
        if int(row["kind"]) < len(_KINDS) and int(row["step"]) in known
    ]
    touched = [
        (int(row["step"]), int(row["buffer"]), _whole(row["read"]), _whole(row["written"]))
        for row in page["touch"][: min(int(page["touched"]), MAX_TOUCHED)]
    ]
    flags = int(page["incomplete"])
    return Counts(
        steps=tuple(steps),
        sites=tuple(sites),
        touched=tuple(touched),
        incomplete=tuple(text for bit, text in _INCOMPLETE if flags & bit),
    )


def _whole(value: Any) -> int:
    return min(int(value), _MOST)


def _step(row: Any) -> StepCount:
    blocks, sampled = max(_whole(row["blocks"]), 1), max(int(row["sampled"]), 1)
    raw, logged = max(_whole(row["raw"]), 1), max(_whole(row["logged"]), 1)
    return StepCount(
        step=int(row["step"]),
        blocks=blocks,
        sampled=sampled,
        warps=max(_whole(row["warps"]), 1),
        scale=max(blocks / sampled, 1.0) * max(raw / logged, 1.0),
        exchanges=float(_whole(row["exchanges"])),
        barriers=float(_whole(row["barriers"])),
        updates=float(_whole(row["updates"])),
        hottest=float(_whole(row["hottest"])),
    )


def _site(row: Any, places: Mapping[int, Site]) -> SiteCount:
    known = places.get(int(row["place"]))
    figures = {
        name: float(_whole(row[name]))
        for name in (
            "requests", "whole_requests", "split_requests", "lanes", "bytes", "sectors", "split_sectors",
            "wavefronts", "split_wavefronts", "ideal", "divergent",
        )
    }  # fmt: skip
    how = int(row["how"])
    return SiteCount(
        step=int(row["step"]),
        line=known.line if known else 0,
        kind=_KINDS[int(row["kind"])],
        write=bool(how & 1),
        atomic=bool(how & 2),
        dynamic=bool(how & 4),
        width=min(int(row["width"]), 16),
        parts=max(1, min(int(row["parts"]), 16)),
        reuse=tuple(float(v) for v in row["reuse"]),
        weights=known or Site(),
        **figures,
    )
