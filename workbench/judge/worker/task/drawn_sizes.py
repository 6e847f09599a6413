"""Other values of a task's free dimensions: where a kernel is special, and small enough for the host."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from workbench.judge.worker.task.limits import HOST_WORK, STRETCHED_WORK, WHOLE_WORK

MOST_STRETCHED = 4
"""So many dimensions are made as long as can be, one in each size; with more of them, others in each verdict."""
TAIL_SIZES = 2
"""Sizes beside multiples of vectors, warps and blocks, whatever the number of dimensions."""
_TRIES = 12
"""For each size: the reference may refuse some."""
_SHORTEST = 7
"""No free dimension is made shorter than this for the sake of another one."""
_WIDTHS = (4, 16, 32, 64, 128, 256, 512, 1024)
_TAILS = (1, 2, 3, -1, 4, 12)
_WIDE = 4
"""How much longer than the others, beside its shortest, a dimension stays whose tail comes after many whole blocks."""
_WARP = 32

Range = tuple[int, int]
Work = Callable[[Mapping[str, int]], int | None]
"""Operations and elements of one call at some values; None where the reference does not run there."""
Serves = Callable[[Mapping[str, int]], bool]
"""Whether the values make a size that can be judged and that the task does not declare."""


def drawn_values(
    rng: random.Random, free: Mapping[str, Range], work: Work, serves: Serves
) -> Iterator[dict[str, int]]:
    """Different values of the free dimensions that serve: first the stretched sizes, then the sizes with tails.

    Stretched: one dimension as long as can be (an index cut to 8 bits shows there), for `MOST_STRETCHED` of them.
    With tails: `TAIL_SIZES`, in which each dimension once lies many blocks out, a few elements beside a whole one; the
    others anywhere. A reference that refuses such lengths is asked for tails in some of the dimensions, then for none.

    Args:
        free: each dimension's least and greatest value.
        work, serves: of values.
    """
    found: list[dict[str, int]] = []
    names = list(free)
    stretched = names if len(names) <= MOST_STRETCHED else rng.sample(names, MOST_STRETCHED)
    wanted: list[Callable[[int], dict[str, int] | None]] = [
        partial(_stretched, rng, free, name, work) for name in stretched
    ]
    for number in range(TAIL_SIZES if names else 0):
        wanted.append(partial(_beside, rng, free, names[number::TAIL_SIZES], work))
    for draw in wanted:
        for attempt in range(_TRIES):
            values = draw(attempt)
            if values is not None and values not in found and serves(values):
                found.append(values)
                yield values
                break


def _stretched(
    rng: random.Random, free: Mapping[str, Range], long: str, work: Work, attempt: int
) -> dict[str, int] | None:
    """As long as declared at first (a single dimension is that at the declared size itself), then a little shorter."""
    short = _short(rng, free, attempt)
    if attempt < 2:
        return _whole(free, long, short, work) if len(free) > 1 else None
    low, high = free[long]
    value = _log_uniform(rng, max(high // 2, low), high)
    limit = HOST_WORK if len(free) > 1 else STRETCHED_WORK
    values = _shortened(free, short | {long: value}, limit, work, scale=rng.uniform(0.97, 1))
    if attempt >= 2 * _TRIES // 3:
        values[long] = _round(values[long], free[long])
    return values


def _whole(free: Mapping[str, Range], long: str, short: dict[str, int], work: Work) -> dict[str, int] | None:
    """One dimension exactly as long as the largest declared size, the others so short that the host can.

    So a kernel that is special at that very length, or at a grid of that many blocks, does not get through.
    """
    for _ in range(_TRIES):
        values = short | {long: free[long][1]}
        needed = work(values)
        if needed is not None and needed <= WHOLE_WORK:
            return values
        wider = max((n for n in short if n != long), key=lambda n: short[n])
        if short[wider] <= _SHORTEST:
            return None
        short[wider] = max(short[wider] * 2 // 3, _SHORTEST)
    return None


def _beside(
    rng: random.Random, free: Mapping[str, Range], wide: Sequence[str], work: Work, attempt: int
) -> dict[str, int]:
    """A few elements beside whole vectors, warps and blocks, `wide` many of them long.

    Some references take whole ones alone in some of the dimensions: the attempts go through who has a tail.
    """
    tailed = (list(free), list(free), wide, [n for n in free if n not in wide] or wide, [])[
        attempt * 5 // _TRIES
    ]
    values = {}
    for name, (low, high) in free.items():
        values[name] = _log_uniform(rng, max(high // 2, low) if name in wide else low, high)
    values = _shortened(free, values, HOST_WORK, work, wide=wide)
    for name, value in values.items():
        tail = _with_tail(rng, value, free[name], whole_warps=name in wide)
        values[name] = tail if name in tailed else _round(value, free[name])
    return values


def _shortened(
    free: Mapping[str, Range],
    values: dict[str, int],
    limit: int,
    work: Work,
    *,
    wide: Sequence[str] = (),
    scale: float = 1.0,
) -> dict[str, int]:
    """The same with the longest dimensions made shorter until a call is within `limit`; `wide` ones stay longer."""
    for _ in range(24 * len(values)):
        needed = work(values)
        if needed is None or needed <= limit:
            break
        largest = max(values, key=lambda n: values[n] / free[n][0] / (_WIDE if n in wide else 1))
        # Right at once where work grows with the cube of one dimension, or the square of one of several; else near.
        # Halved at most: where much too much is asked of several, each gives some.
        factor = max((limit / needed) ** (1 / 3 if len(values) == 1 else 1 / 2), 0.5) * scale
        values[largest] = max(int(values[largest] * factor), free[largest][0])
    return values


def _short(rng: random.Random, free: Mapping[str, Range], attempt: int) -> dict[str, int]:
    """Near the least values, which a reference may refuse for an odd length; then twice them: a declared size's."""
    if attempt == 1:
        return {n: min(2 * low, high) for n, (low, high) in free.items()}
    return {n: min(low + rng.randint(0, 1), high) for n, (low, high) in free.items()}


def _with_tail(rng: random.Random, value: int, within: Range, *, whole_warps: bool) -> int:
    """Near `value`: a few elements beside a multiple of a power of two between a vector's width and a block's.

    `whole_warps`: beside a warp's or a block's, where that is possible.
    """
    low, high = within
    least = _WARP if whole_warps else _WIDTHS[0]
    widths = [w for w in _WIDTHS if least <= w <= max(value, _WIDTHS[0])]
    rng.shuffle(widths)
    for width in [*widths, *(w for w in reversed(_WIDTHS) if w <= value), _WIDTHS[0]]:
        tail = rng.choice(_TAILS)
        count = min(max(round((value - tail) / width), -((tail - low) // width)), (high - tail) // width)
        found = count * width + tail
        if count >= 1 and low <= found <= min(high, value * 3 // 2):  # much longer is more than the host can
            return found
    return value


def _round(value: int, within: Range) -> int:
    """Near `value`: a multiple of a power of two, as large as keeps it within a quarter."""
    width = max((w for w in _WIDTHS if 4 * w <= value), default=1)
    return min(max(value // width * width, within[0]), within[1])


def _log_uniform(rng: random.Random, low: int, high: int) -> int:
    return min(max(round(low * (high / low) ** rng.random()), low), high)
