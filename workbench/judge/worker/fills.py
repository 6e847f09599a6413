"""Constants that a module fills in (a mask's -1e9) say nothing of how large, or how exact, what is computed beside
them should be: a tolerance from the whole row would let anything pass there.

A fill is told from large results by four things together: it is the largest of its tensor by far, nearly one number,
an ulp of the inputs changes it by much less than an ulp, and enough else is left to take a scale from. A result of
large inputs (a sum over a window with 65,504 in it) moves with them, and what is computed by way of it is as inexact.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

Tensor = torch.Tensor

FAR = 16.0
"""So many times as large as the largest of the rest is a fill."""
_ALIKE = 1e-3
"""A mask that is added (x - 1e4) is not quite one number."""
_LEAST_SHARE = 0.05
_LEAST = 16
"""So much must be left, above the dtype's smallest normal number, and so many elements filled in: of fewer the scale
would be a matter of luck, and whether they move (two ulps may cancel in a product of large inputs)."""
_STILL = 2.0**-6
"""Of an ulp: what the inputs' ulps may change."""


def fills(eager: Tensor, exact: Tensor, perturbed: Callable[[], Tensor | None]) -> Tensor | None:
    """Which elements are a constant that stands in for results, bool of `exact`'s shape; None: not one.

    Args:
        eager: real, as the module computed it.
        exact: float64, of the same shape.
        perturbed: `exact` on inputs moved by one ulp; asked for only where the values look like it.
    """
    limits = torch.finfo(eager.dtype)
    size = exact.abs()
    left = size.isfinite()
    while True:
        rest = size[left]
        if rest.numel() < _LEAST:
            break
        top = float(rest.max())
        below = rest[rest < top * (1 - _ALIKE)]
        substantial = int((below >= limits.tiny).sum()) >= max(_LEAST, _LEAST_SHARE * size.numel())
        if not substantial or top < FAR * float(below.max()) or rest.numel() - below.numel() < 2:
            break
        left &= size < top * (1 - _ALIKE)
    found = size.isfinite() & ~left
    if int(found.sum()) < _LEAST:
        return None
    moved = perturbed()
    if moved is None or moved.shape != exact.shape:
        return None
    still = ((moved.double() - exact).abs() <= _STILL * limits.eps * size)[found]
    still |= (moved.abs() > limits.max)[found]  # fp64's own finfo().min, for which `exact` holds eager's
    return found if bool(still.all()) else None
