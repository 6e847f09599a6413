"""Other values of a task's free dimensions: where a kernel is special, and small enough for the host."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping

from workbench.judge.worker.task.limits import HOST_WORK, STRETCHED_WORK, WHOLE_WORK

_TRIES = 12
"""For each size that is asked for."""
_SHORTEST = 7
"""No free dimension is made shorter than this for the sake of another one."""
_WIDTHS = (4, 16, 32, 64, 128, 256, 512, 1024)
_TAILS = (1, 2, 3, -1, 4, 12)
_TAIL = 32
"""What is left over a multiple of this is kept when a drawn size is shortened."""

Range = tuple[int, int]
Work = Callable[[Mapping[str, int]], int | None]
"""Operations and elements of one call at some values; None where the reference does not run there."""
Serves = Callable[[Mapping[str, int]], bool]
"""Whether the values make a size that can be judged and that the task does not declare."""


def drawn_values(
    rng: random.Random, free: Mapping[str, Range], count: int, work: Work, serves: Serves
) -> Iterator[dict[str, int]]:
    """Values of the free dimensions to try, the most telling first; more than `count`, since some may not serve.

    First each dimension once as long as can be (an index cut to 8 bits shows there), then mostly a few elements beside
    a multiple of a warp or a block, where tails of vectors, warps and blocks begin.

    Args:
        free: each dimension's least and greatest value.
        work, serves: of values; the longest shape of a dimension comes only where it serves, else one a little shorter.
    """
    for number in range(_TRIES * count if free else 0):
        if number < len(free):
            yield _stretched(rng, free, list(free)[number], work, serves)
        else:
            draw = _with_tail if number % 3 < 2 else _log_uniform  # some references refuse odd sizes
            yield _shortened(
                rng, free, {n: draw(rng, *free[n]) for n in free}, HOST_WORK, work, keep_tail=True
            )


def _stretched(
    rng: random.Random, free: Mapping[str, Range], long: str, work: Work, serves: Serves
) -> dict[str, int]:
    if len(free) > 1 and (whole := _whole(rng, free, long, work)) is not None and serves(whole):
        return whole
    low, high = free[long]
    values = _short(rng, free) | {long: _log_uniform(rng, max(high // 2, low), high)}
    limit = HOST_WORK if len(free) > 1 else STRETCHED_WORK
    return _shortened(rng, free, values, limit, work, keep_tail=False)


def _whole(rng: random.Random, free: Mapping[str, Range], long: str, work: Work) -> dict[str, int] | None:
    """One dimension exactly as long as the largest declared size, the others so short that the host can.

    So a kernel that is special at that very length, or at a grid of that many blocks, does not get through.
    """
    short = _short(rng, free)
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


def _shortened(
    rng: random.Random,
    free: Mapping[str, Range],
    values: dict[str, int],
    limit: int,
    work: Work,
    *,
    keep_tail: bool,
) -> dict[str, int]:
    """The same with the longest dimensions made shorter until a call is within `limit`."""
    for _ in range(24):
        needed = work(values)
        if needed is None or needed <= limit:
            break
        largest = max(values, key=lambda n: values[n] / free[n][0])
        tail = values[largest] % _TAIL
        # The cube root: right at once where work grows with the cube, and near the limit elsewhere.
        scale = 0.5 if keep_tail else (limit / needed) ** (1 / 3) * rng.uniform(0.97, 1)
        values[largest] = max(int(values[largest] * scale), free[largest][0])
        if keep_tail and values[largest] > 2 * _TAIL:
            values[largest] += tail - values[largest] % _TAIL
    return values


def _short(rng: random.Random, free: Mapping[str, Range]) -> dict[str, int]:
    return {n: min(low + rng.randint(0, 1), high) for n, (low, high) in free.items()}


def _with_tail(rng: random.Random, low: int, high: int) -> int:
    """A few elements beside a multiple of a power of two between a vector's width and a block's."""
    value = _log_uniform(rng, low, high)
    width = rng.choice([w for w in _WIDTHS if w <= max(value, _WIDTHS[0])])
    return min(max(round(value / width) * width + rng.choice(_TAILS), low), high)


def _log_uniform(rng: random.Random, low: int, high: int) -> int:
    return min(max(round(low * (high / low) ** rng.random()), low), high)
