"""How accurate an output is, in norms, against what its dtype and the task's conditioning allow.

allowed = k x max(eager's error, the change of the fp64 reference when every float input moves by one random ulp,
eps of the dtype x the output's scale), on the largest and the rms error (docs/judge.md, "precision").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from workbench.judge.worker.compare import Bar, Sides, _real, moved_to, no_sides

K: dict[torch.dtype, float] = {
    torch.float64: 64.0,
    torch.float32: 32.0,
    torch.float16: 4.0,
    torch.bfloat16: 4.0,
    torch.float8_e4m3fn: 2.0,
    torch.float8_e5m2: 2.0,
}
"""By the output's dtype. float32: a plain loop over K = 4096 products errs by about 10 times the one-ulp change, a
row of equal numbers summed by each thread alone by about 20; rounding the inputs to fp16 or tf32 by over 1,000. Half
types round their results once, at 0.5 eps, and 16-bit accumulation errs by tens of eps."""

_EPS = {"tf32": 2.0**-10, "bf16": 2.0**-7}


@dataclass(frozen=True)
class Accuracy:
    """One output of one case: error over the unscaled bar. Passes while `ratio` is at most `k`."""

    output: str
    case: str
    ratio: float
    norm: str
    """"max" or "rms": the worse of the two."""
    error: float
    bar: float
    k: float

    @property
    def ok(self) -> bool:
        return self.ratio <= self.k


def accuracy(
    bar: Bar,
    actual: torch.Tensor,
    case: str,
    *,
    precision: str = "fp32",
    perturbed: Callable[[], torch.Tensor | None],
    sides: Sides = no_sides,
) -> Accuracy | None:
    """How far `actual` is from the fp64 reference; None for integers and where there is no such reference.

    Args:
        precision: the task's: "tf32" and "bf16" lower what float32 must reach.
        perturbed: asked for only when eager's error and eps do not explain the candidate's.
        sides: asked for only when that does not either (see `compare.Sides`).
    """
    if bar.allowed is None or not bar.exact or bar.target.numel() == 0:
        return None
    counted = bar.counted
    if not bool((finite := bar.target.isfinite()).all()):  # of an infinity that is meant there is no error
        counted = finite if counted is None else counted & finite
    everything = _accuracy(bar, counted, actual, case, precision, perturbed, sides)
    if bar.filled is None:
        return everything
    # Beside a constant that is filled in, nothing is left of the errors of the rest.
    rest = ~bar.filled if counted is None else counted & ~bar.filled
    return max(
        everything, _accuracy(bar, rest, actual, case, precision, perturbed, sides), key=lambda a: a.ratio
    )


def _accuracy(
    bar: Bar,
    kept: torch.Tensor | None,
    actual: torch.Tensor,
    case: str,
    precision: str,
    perturbed: Callable[[], torch.Tensor | None],
    sides: Sides,
) -> Accuracy:
    """`accuracy` on the elements `kept`; None: on all."""
    dtype = _real(bar.eager).dtype
    k = K.get(dtype, 32.0)
    tiny = torch.finfo(dtype).tiny

    def norms(values: torch.Tensor) -> tuple[float, float]:
        off = (_real(values).double() - bar.target).abs_()
        off = torch.where(off < tiny, 0.0, off)
        return _norms(off, kept)

    scale = _norms(bar.target.abs(), kept)
    eps = max(torch.finfo(dtype).eps, _EPS.get(precision, 0.0) if dtype == torch.float32 else 0.0)
    error = norms(actual)
    eager = norms(bar.eager)
    floor = tuple(max(e, eps * s, tiny) for e, s in zip(eager, scale, strict=True))
    if any(e > k * f for e, f in zip(error, floor, strict=True)):
        moved = perturbed()
        if moved is not None:
            floor = tuple(max(f, m) for f, m in zip(floor, norms(moved_to(bar, moved)), strict=True))
        if any(e > k * f for e, f in zip(error, floor, strict=True)) and (between := sides()) is not None:
            low, high = (_real(side).double() for side in between)
            nearest = torch.minimum(torch.maximum(_real(actual).double(), low), high)
            error = norms(_real(actual).double() - nearest + bar.target)
    ratios = [e / f for e, f in zip(error, floor, strict=True)]
    worse = ratios.index(max(ratios))
    return Accuracy(
        bar.output.name, case, ratios[worse], ("max", "rms")[worse], error[worse], floor[worse], k
    )


def _norms(values: torch.Tensor, kept: torch.Tensor | None) -> tuple[float, float]:
    values = values if kept is None else values[kept]
    if values.numel() == 0:
        return 0.0, 0.0
    values = torch.nan_to_num(values, nan=torch.inf)
    return float(values.max()), float(values.square().mean().sqrt())
