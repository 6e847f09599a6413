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


@dataclass(frozen=True)
class Source:
    """What positions were chosen from."""

    values: Tensor
    slack: Tensor | None = None
    """Of `values`' shape, float64: by how much two values may differ and be tied, where it is largest in a row; None:
    not at all."""

    def flattened(self, lead: int) -> Source:
        """With all axes from `lead` on as one."""
        return Source(self.values.flatten(lead), None if self.slack is None else self.slack.flatten(lead))


def computed_source(eager: Tensor, exact: Tensor, moved: Tensor | None, factor: float) -> Source | None:
    """A source inside of the reference; None where eager and fp64 have nothing in common.

    Args:
        eager: as the module computed it.
        exact: the same in fp64.
        moved: the same in fp64 on inputs moved by one ulp, where that is known.
        factor: slack over the larger of eager's error and what one ulp of the inputs changes.
    """
    if eager.shape != exact.shape or eager.dim() == 0:
        return None
    if torch.equal(eager.to(exact.dtype), exact):
        return Source(exact)  # not rounded: a candidate may not round it either
    if not (eager.is_floating_point() and exact.is_floating_point()):
        return None
    values = exact.double()
    off = (eager.double() - values).abs_()
    if moved is not None and moved.shape == exact.shape:
        off = torch.maximum(off, (moved.double() - values).abs_())
    # What is finite in fp64 alone is known to nobody who computes as eager does: NaN is equal to nothing.
    values = values.masked_fill(values.isfinite() & ~eager.isfinite(), torch.nan)
    return Source(values, factor * torch.nan_to_num(off, nan=0.0, posinf=0.0))


def same_selection(
    actual: Tensor, expected: Tensor, sources: Sequence[Source], *, distinct: bool = True
) -> Tensor | None:
    """Where `actual` selects, along some axis of one of `sources`, what `expected` does; None where none fits.

    Positions that fit no single axis (pooling's) count in a plane: the last axes of a source, flattened.

    Args:
        distinct: what selects something twice is never the same (where a source has as many axes).
    """
    same = torch.zeros(expected.shape, dtype=torch.bool)
    known = False
    for source in sources:
        fits = False
        shape = source.values.shape
        dims = len(shape)
        for axis in range(dims):
            if dims == expected.dim():
                mine, theirs = actual, expected
            elif dims == expected.dim() + 1:
                mine, theirs = actual.unsqueeze(axis), expected.unsqueeze(axis)
            else:
                continue
            rest = [i for i in range(dims) if i != axis]
            if any(mine.shape[i] != shape[i] for i in rest):
                continue
            agrees = _picks_the_same(mine, theirs, source, axis)
            if agrees is None:
                continue
            fits = known = True
            if distinct and dims == expected.dim():
                agrees &= _unrepeated(mine, axis)
            same |= agrees.reshape(expected.shape)
        if fits or dims != expected.dim():
            continue
        for lead in range(1, dims - 1):
            if shape[:lead] == expected.shape[:lead]:
                agrees = _picks_the_same(
                    actual.flatten(lead), expected.flatten(lead), source.flattened(lead), lead
                )
                if agrees is not None:
                    known = True
                    same |= agrees.reshape(expected.shape)
    return same if known else None


def _picks_the_same(mine: Tensor, theirs: Tensor, source: Source, axis: int) -> Tensor | None:
    """Where both pick the same value along `axis` of `source`; None where `theirs` are no positions on it."""
    extent = source.values.shape[axis]
    if extent == 0 or bool(((theirs < 0) | (theirs >= extent)).any()):
        return None
    inside = (mine >= 0) & (mine < extent)
    picked = source.values.gather(axis, torch.where(inside, mine, 0).long())
    wanted = source.values.gather(axis, theirs.long())
    same = picked == wanted
    if source.slack is not None:
        same |= (picked - wanted).abs() <= source.slack.amax(axis, keepdim=True)
    return inside & same


def _unrepeated(index: Tensor, axis: int) -> Tensor:
    """Slices along `axis` that select nothing twice: topk may break ties freely, but not repeat itself."""
    ordered = index.sort(axis).values
    repeats = (ordered.narrow(axis, 1, max(index.shape[axis] - 1, 0)) ==
               ordered.narrow(axis, 0, max(index.shape[axis] - 1, 0))).any(axis, keepdim=True)  # fmt: skip
    return ~repeats.expand_as(index)
