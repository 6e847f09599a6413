"""Positions (argmax, topk, sort) are right where they select the right value: ties may be broken in any way.

What is chosen from inside of a module (a router's softmax of a product) is rounded, by each kernel in its own way, so
that values which are nearly equal change places: there the fp64 reference's values decide, with the slack that its
conditioning explains. What goes into the module is compared bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

Tensor = torch.Tensor

REACH = 4.0
"""Two values are tied by the errors of those in their row that are at most so many times as large: the least of many
distances would else be known by its own error alone, which may be zero by luck."""


@dataclass(frozen=True)
class Source:
    """What positions were chosen from, a row for each choice."""

    values: Tensor
    """Shape (rows, values to choose from)."""
    slack: Tensor | None = None
    """Of `values`' shape, float64, finite: by how much two values of a row may differ and be tied, as far as this one
    tells; see `_slack_within`. None: not at all."""
    distinct: bool = False
    """No value of a row is selected twice (topk, sort)."""


@dataclass(frozen=True)
class Choice:
    """What each element of an index output was chosen from."""

    sources: tuple[Source, ...]
    rows: Tensor
    """Of the output's shape, int64: a row's number, counted through all sources; -1: not known."""

    @property
    def known(self) -> Tensor:
        """Of which elements it is known."""
        return self.rows >= 0

    def same(self, actual: Tensor, expected: Tensor, *, distinct: bool = True) -> Tensor:
        """Where `actual` selects what `expected` does; False where it is not known what was chosen from.

        Args:
            distinct: what selects something twice that may be selected once only is never the same.
        """
        same = torch.zeros(expected.shape, dtype=torch.bool)
        start = 0
        for source in self.sources:
            count, extent = source.values.shape
            here = (self.rows >= start) & (self.rows < start + count)
            rows, mine, theirs = self.rows[here] - start, actual[here].long(), expected[here].long()
            agrees = _picks_the_same(rows, mine, theirs, source)
            if distinct and source.distinct:
                agrees &= _unrepeated(rows * extent + mine.clamp(0, extent - 1), rows, count)
            same[here] = agrees
            start += count
        return same


def computed_source(
    eager: Tensor, exact: Tensor, moved: Tensor | None, factor: float, *, distinct: bool = False
) -> Source | None:
    """A source inside of the reference; None where eager and fp64 have nothing in common.

    Args:
        eager: as the module computed it, a row for each choice.
        exact: the same in fp64.
        moved: the same in fp64 on inputs moved by one ulp, where that is known.
        factor: slack over the larger of eager's error and what one ulp of the inputs changes.
        distinct: see `Source`.
    """
    if eager.shape != exact.shape or eager.dim() != 2:
        return None
    if torch.equal(eager.to(exact.dtype), exact):
        return Source(exact, None, distinct)  # not rounded: a candidate may not round it either
    if not (eager.is_floating_point() and exact.is_floating_point()):
        return None
    mine, values = eager.double(), exact.double()
    # A constant like finfo(dtype).min is another number in fp64: no rounding, and the largest of all differences.
    limit = torch.finfo(eager.dtype).max if eager.is_floating_point() else 0.0
    another = mine.isfinite() & (values.abs() > limit)
    values = torch.where(another, mine, values)
    off = (mine - values).abs_()
    if moved is not None and moved.shape == exact.shape:
        off = torch.fmax(off, torch.where(another, 0.0, (moved.double() - values).abs_()))
    # What is finite in fp64 alone is known to nobody who computes as eager does: NaN is equal to nothing.
    values = values.masked_fill(values.isfinite() & ~eager.isfinite(), torch.nan)
    return Source(values, torch.nan_to_num(factor * off, nan=0.0, posinf=0.0), distinct)


def _picks_the_same(rows: Tensor, mine: Tensor, theirs: Tensor, source: Source) -> Tensor:
    """Where both pick the same value of their row of `source`."""
    extent = source.values.shape[1]
    inside = (mine >= 0) & (mine < extent) & (theirs >= 0) & (theirs < extent)
    picked = source.values[rows, torch.where(inside, mine, 0)]
    wanted = source.values[rows, torch.where(inside, theirs, 0)]
    same = picked == wanted
    if source.slack is not None:
        other = (~same & inside).nonzero()[:, 0]  # few, mostly
        one, two = picked[other], wanted[other]
        within = _slack_within(source.values, source.slack, rows[other], torch.fmax(one.abs(), two.abs()))
        same[other] = (one - two).abs() <= within
    return inside & same


def _slack_within(values: Tensor, slack: Tensor, rows: Tensor, size: Tensor) -> Tensor:
    """For each of `rows` the largest slack of its values of magnitude `REACH` times `size` or less.

    The error of a larger one (a mask's -1e9) says nothing of how values of this size are rounded.
    """
    sizes, order = values.abs().nan_to_num(nan=torch.inf).sort(1)
    # Before the first stands nothing.
    most = torch.nn.functional.pad(slack.gather(1, order).cummax(1).values, (1, 0))
    low = torch.zeros_like(rows)
    high = torch.full_like(rows, values.shape[1])
    # By halves, since `searchsorted` would take a copy of its row for each position of a sort.
    for _ in range(values.shape[1].bit_length()):
        middle = (low + high) // 2
        enough = sizes[rows, middle.clamp_max(values.shape[1] - 1)] <= REACH * size
        open_ = low < high
        low = torch.where(open_ & enough, middle + 1, low)
        high = torch.where(open_ & ~enough, middle, high)
    return most[rows, low]


def _unrepeated(places: Tensor, rows: Tensor, count: int) -> Tensor:
    """Elements of rows (of `count`) in which no place is selected twice: topk may break ties freely, but not repeat
    itself."""
    _, which, times = places.unique(return_inverse=True, return_counts=True)
    repeated = torch.zeros(count, dtype=torch.bool)
    repeated[rows[times[which] > 1]] = True
    return ~repeated[rows]


def same_selection(actual: Tensor, expected: Tensor, candidates: Sequence[Tensor]) -> Tensor | None:
    """Where `actual` selects, along some axis of one of `candidates`, what `expected` does; None where none fits.

    For positions of which it is not known what they were chosen from. Those that fit no single axis (pooling's) count
    in a plane: the last axes, flattened. Where `expected` repeats no position along the axis (topk), nor may `actual`.
    """
    same = torch.zeros(expected.shape, dtype=torch.bool)
    known = False
    for values in candidates:
        fits = False
        shape = values.shape
        dims = len(shape)
        for axis in range(dims):
            if dims == expected.dim():
                mine, theirs = actual, expected
            elif dims == expected.dim() + 1:
                mine, theirs = actual.unsqueeze(axis), expected.unsqueeze(axis)
            else:
                continue
            if any(mine.shape[i] != shape[i] for i in range(dims) if i != axis):
                continue
            agrees = _along(mine, theirs, values, axis)
            if agrees is None:
                continue
            fits = known = True
            if dims == expected.dim():
                agrees &= _unrepeated_along(mine, axis) | ~_unrepeated_along(theirs, axis)
            same |= agrees.reshape(expected.shape)
        if fits or dims != expected.dim():
            continue
        for lead in range(1, dims - 1):
            if shape[:lead] == expected.shape[:lead]:
                agrees = _along(actual.flatten(lead), expected.flatten(lead), values.flatten(lead), lead)
                if agrees is not None:
                    known = True
                    same |= agrees.reshape(expected.shape)
    return same if known else None


def _along(mine: Tensor, theirs: Tensor, values: Tensor, axis: int) -> Tensor | None:
    """Where both pick the same value along `axis` of `values`; None where `theirs` are no positions on it."""
    extent = values.shape[axis]
    if extent == 0 or bool(((theirs < 0) | (theirs >= extent)).any()):
        return None
    inside = (mine >= 0) & (mine < extent)
    picked = values.gather(axis, torch.where(inside, mine, 0).long())
    return inside & (picked == values.gather(axis, theirs.long()))


def _unrepeated_along(index: Tensor, axis: int) -> Tensor:
    """Slices along `axis` that select nothing twice."""
    ordered = index.sort(axis).values
    repeats = (ordered.narrow(axis, 1, max(index.shape[axis] - 1, 0)) ==
               ordered.narrow(axis, 0, max(index.shape[axis] - 1, 0))).any(axis, keepdim=True)  # fmt: skip
    return ~repeats.expand_as(index)
