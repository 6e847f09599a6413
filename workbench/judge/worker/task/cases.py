"""The hard cases: transforms of drawn inputs that keep their structure (docs/judge.md).

Each catches a kernel that is right on the draws of get_inputs() only: one that samples instead of summing, drops
the maximum before the exponential, or computes in half precision where errors average out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from workbench.judge.worker.task.generator import draw_all, project
from workbench.judge.worker.task.structure import Structure

Transform = Callable[[torch.Tensor, Structure, torch.Generator], torch.Tensor]


def _needle(tensor: torch.Tensor, structure: Structure, generator: torch.Generator) -> torch.Tensor:
    """A few elements made large: at random places, and at the first and the last."""
    flat = tensor.reshape(-1).clone()
    count = min(max(flat.numel() // 4096, 4), 64)
    places = torch.randint(0, flat.numel(), (count,), generator=generator)
    places = torch.cat([places, torch.tensor([0, flat.numel() - 1])])
    size = 50 * max(_spread(structure), float(tensor.abs().max()) / 4)
    factors = torch.rand(places.shape, generator=generator) + 0.5
    signs = torch.randint(0, 2, places.shape, generator=generator) * 2 - 1
    if not _may_be_negative(structure):
        signs = signs.abs()
    flat[places] = (factors * signs * _fitting(size, tensor)).to(tensor.dtype)
    return flat.reshape(tensor.shape)


def _offset(tensor: torch.Tensor, structure: Structure, generator: torch.Generator) -> torch.Tensor:
    """1,000 standard deviations added."""
    return (tensor.double() + _fitting(1000 * _spread(structure), tensor)).to(tensor.dtype)


def _offset_negative(tensor: torch.Tensor, structure: Structure, generator: torch.Generator) -> torch.Tensor:
    """1,000 standard deviations taken away: a maximum that begins at zero is wrong there."""
    if not _may_be_negative(structure):
        return tensor
    return (tensor.double() - _fitting(1000 * _spread(structure), tensor)).to(tensor.dtype)


def _tiny(tensor: torch.Tensor, structure: Structure, generator: torch.Generator) -> torch.Tensor:
    """2^-20 of its size (2^-8 in half precision, whose normal numbers end at 2^-14)."""
    return tensor * (2.0**-8 if tensor.dtype == torch.float16 else 2.0**-20)


def _small(tensor: torch.Tensor, structure: Structure, generator: torch.Generator) -> torch.Tensor:
    """2^-7 of its size (2^-4 in half precision): below what a kernel might skip, above what an eps of 1e-6 hides."""
    return tensor * (2.0**-4 if tensor.dtype == torch.float16 else 2.0**-7)


def _huge(tensor: torch.Tensor, structure: Structure, generator: torch.Generator) -> torch.Tensor:
    """2^14 of its size (2^5 in half precision, whose numbers end at 65,504)."""
    return tensor * (2.0**5 if tensor.dtype == torch.float16 else 2.0**14)


def _mixed(tensor: torch.Tensor, structure: Structure, generator: torch.Generator) -> torch.Tensor:
    """Each element scaled by its own power of two, 2^-8 to 2^8 (2^-4 to 2^4 in half precision)."""
    reach = 4 if tensor.dtype == torch.float16 else 8
    powers = torch.randint(-reach, reach + 1, tensor.shape, generator=generator)
    return tensor * torch.exp2(powers.double()).to(tensor.dtype)


def _zeros_signed(tensor: torch.Tensor, structure: Structure, generator: torch.Generator) -> torch.Tensor:
    """Three tenths of the elements are +0 or -0."""
    if not _may_be_zero(structure):
        return tensor
    chosen = torch.rand(tensor.shape, generator=generator) < 0.3
    negative = torch.rand(tensor.shape, generator=generator) < 0.5
    zeros = torch.where(negative, -0.0, 0.0).to(tensor.dtype)
    return torch.where(chosen, zeros, tensor)


def _constant_rows(tensor: torch.Tensor, structure: Structure, generator: torch.Generator) -> torch.Tensor:
    """Half of the rows (last axis) hold one value each."""
    if tensor.dim() == 0:
        return tensor
    constant = torch.rand((*tensor.shape[:-1], 1), generator=generator) < 0.5
    return torch.where(constant, tensor[..., :1], tensor)


def _scaled_rows(tensor: torch.Tensor, structure: Structure, generator: torch.Generator) -> torch.Tensor:
    """Each row (last axis) scaled by its own power of two, 2^-40 to 2^30 (2^-8 to 2^4 in half precision), so that what
    is special about one order of magnitude, between the other cases' too, shows in some row."""
    low, high = (-8, 4) if tensor.dtype == torch.float16 else (-40, 30)
    rows = tensor.shape[:-1] if tensor.dim() else ()
    powers = torch.randint(low, high + 1, (*rows, 1) if tensor.dim() else (), generator=generator)
    return (tensor.double() * torch.exp2(powers.double())).to(tensor.dtype)


_SPECIAL = (1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 0.25, 4.0, -4.0, 3.0, -3.0, 0.1, 10.0, 8.0, 16.0, 100.0)


def _special(tensor: torch.Tensor, structure: Structure, generator: torch.Generator) -> torch.Tensor:
    """Half of the elements are numbers that code likes to compare with (one, powers of two, small integers); a few are
    below the smallest normal number, or the largest of half precision."""
    values = torch.tensor(_SPECIAL, dtype=torch.float64)
    chosen = values[torch.randint(0, len(_SPECIAL), tensor.shape, generator=generator)]
    where = torch.rand(tensor.shape, generator=generator)
    # Few enough that a reference which cannot take them (a division) loses no more elements than it may.
    subnormal = torch.where(where < 0.502, 0.25 * torch.finfo(tensor.dtype).tiny, 65504.0)
    chosen = torch.where(where < 0.5, chosen, subnormal)
    if not _may_be_negative(structure):
        chosen = chosen.abs()
    largest = 0.504 if tensor.dim() and tensor.dtype != torch.float16 else 0.502
    return torch.where(where < largest, chosen.to(tensor.dtype), tensor)


def _zero_rows(tensor: torch.Tensor, structure: Structure, generator: torch.Generator) -> torch.Tensor:
    """An eighth of the rows (last axis), the first or the last among them, are zero, and one vector along each other
    axis, since what is normalised or reduced may lie there."""
    if tensor.dim() < 2 or not _may_be_zero(structure):
        return tensor
    chosen = torch.rand((*tensor.shape[:-1], 1), generator=generator) < 0.125
    flat = chosen.view(-1)
    flat[0 if int(torch.randint(0, 2, (), generator=generator)) else -1] = True
    for axis in range(tensor.dim() - 1):
        shape = list(tensor.shape)
        shape[axis] = 1
        vector = torch.zeros(shape, dtype=torch.bool)
        if vector.numel() < 2:  # it would be everything
            continue
        vector.view(-1)[int(torch.randint(0, vector.numel(), (), generator=generator))] = True
        chosen = chosen | vector
    return torch.where(chosen, torch.zeros((), dtype=tensor.dtype), tensor)


def _coherent(bits: int) -> Transform:
    """Every element 0.4 ulp above the grid of a format of `bits` stored mantissa bits, so that rounding errors of
    arithmetic in that format add up instead of averaging out."""

    def transform(tensor: torch.Tensor, structure: Structure, generator: torch.Generator) -> torch.Tensor:
        if torch.finfo(tensor.dtype).bits < 32:
            return tensor
        mantissa, exponent = torch.frexp(tensor.double())
        grid = torch.floor(mantissa.abs() * 2.0 ** (bits + 1)) + 0.4
        return (torch.ldexp(grid * 2.0 ** -(bits + 1), exponent) * mantissa.sign()).to(tensor.dtype)

    return transform


def _non_finite(tensor: torch.Tensor, structure: Structure, generator: torch.Generator) -> torch.Tensor:
    """A few elements at random places are NaN, a few infinite with either sign."""
    flat = tensor.reshape(-1).clone()
    count = min(max(flat.numel() // 2048, 1), 8)
    for value in (torch.nan, torch.inf, -torch.inf):
        flat[torch.randint(0, flat.numel(), (count,), generator=generator)] = value
    return flat.reshape(tensor.shape)


NON_FINITE = "non_finite"
"""Only ever warns, so it is none of `CASES`."""
TRANSFORMS: dict[str, Transform] = {
    "needle": _needle,
    "offset": _offset,
    "offset_negative": _offset_negative,
    "tiny": _tiny,
    "small": _small,
    "huge": _huge,
    "mixed": _mixed,
    "zeros_signed": _zeros_signed,
    "constant_rows": _constant_rows,
    "zero_rows": _zero_rows,
    "scaled_rows": _scaled_rows,
    "special": _special,
    "coherent_fp16": _coherent(10),
    "coherent_bf16": _coherent(7),
}
STATE_CASES = ("parameters", "parameters_signed")
"""Redraw what the module holds: as it is distributed, and with both signs and more spread, so that a kernel that takes
a weight's absolute value, or caps it, fails too."""
CASES: tuple[str, ...] = ("random", *STATE_CASES, *TRANSFORMS)


def draw_inputs(structures: Sequence[Structure], case: str, generator: torch.Generator) -> list[torch.Tensor]:
    """New inputs, transformed as `case` says where their structure allows it; the rest is only redrawn."""
    drawn = draw_all(structures, generator)
    transform = _non_finite if case == NON_FINITE else TRANSFORMS.get(case)
    if transform is None:
        return drawn
    for place, structure in enumerate(structures):
        if structure.transformable and structure.dtype.is_floating_point:
            drawn[place] = project(structure, transform(drawn[place], structure, generator), generator)
        elif structure.equals is not None:
            drawn[place] = drawn[structure.equals].clone()
    return drawn


def redraw_state(path: str, tensor: torch.Tensor, generator: torch.Generator, case: str) -> torch.Tensor:
    """A parameter or buffer (`Parameter.path`) with other values; variances stay positive.

    In "parameters": the same mean and at least a tenth of a spread, positive where all were. In "parameters_signed"
    parameters, not buffers, have mean zero and both signs, and vectors (scales, biases) twice the spread.
    Integers, masks and tables with infinities stay: the module would not be the same function.
    """
    role, _, name = path.partition(":")
    if not tensor.is_floating_point() or tensor.numel() == 0 or not bool(tensor.isfinite().all()):
        return tensor
    wide = tensor.double()
    if "running_var" in name or name.endswith(("_var", ".var", "variance")):
        return (torch.rand(tensor.shape, generator=generator) * 1.5 + 0.5).to(tensor.dtype)
    values = torch.unique(tensor.reshape(-1)[:4096])
    if 1 < values.numel() <= 4 and tensor.numel() > 16:
        return tensor  # a mask
    mean, std = float(wide.mean()), float(wide.std(correction=0))
    spread = std if std > 1e-3 * abs(mean) and std > 0 else 0.3 * (abs(mean) or 1.0)
    drawn = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
    if case == "parameters_signed" and role == "parameter":
        drawn = drawn * max(std, abs(mean), 1e-3) * (2.0 if tensor.dim() < 2 else 1.0)
    else:
        drawn = drawn * spread + mean
    if bool((wide > 0).all()) and not (case == "parameters_signed" and role == "parameter"):
        drawn = drawn.abs().clamp_min(0.05 * abs(mean))
    zeros = wide == 0
    if 0 < int(zeros.sum()) < zeros.numel():
        drawn = drawn.masked_fill(zeros, 0.0)
    return drawn.to(tensor.dtype)


def _spread(structure: Structure) -> float:
    d = structure.distribution
    return (d.std or abs(d.mean) or 1.0) if d is not None else 1.0


def _fitting(size: float, tensor: torch.Tensor) -> float:
    """At most a quarter of what the dtype can hold in a sum of squares of a few, so fp16 stays finite."""
    return min(size, 2.0**11) if tensor.dtype == torch.float16 else size


def _may_be_negative(structure: Structure) -> bool:
    return structure.distribution is None or structure.distribution.low < 0


def _may_be_zero(structure: Structure) -> bool:
    d = structure.distribution
    return d is None or d.low <= 0 or d.low < 1e-3 * max(d.std, 1e-30)
