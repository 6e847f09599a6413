"""What an input's draws have in common, found by comparing three draws of get_inputs().

What holds in all of them (zeros in the same places, symmetry, rows that sum to one, a range of integers, few values)
is taken as part of the task; the rest is a distribution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch

from workbench.judge.worker.task.structure import Distribution, Kind, Structure

_FEW = 16
"""At most so many different values make a float tensor few-valued: a mask, labels of -1 and 1."""
_SAMPLE = 1 << 16
"""Elements from which a distribution is fitted."""
_QUANTILES = 1025
_MORE_DRAWS = 40
_MORE_ELEMENTS = 1 << 20
"""At most so many further draws and elements are looked at, to tell distinct indices from a lucky few."""
_SURPRISE = 9.0
"""What chance alone would show with a probability of exp(-9) is not chance."""


def analyse(draws: Sequence[torch.Tensor], more: Callable[[int], torch.Tensor] | None = None) -> Structure:
    """The structure that all draws of one input share (same shape and dtype, CPU).

    Args:
        more: a further draw, by its number: taken where integers are distinct, and three draws of them by chance.
    """
    first = draws[0]
    structure = Structure(_kind(draws), tuple(first.shape), first.dtype)
    if structure.kind == "constant":
        structure.constant = first.contiguous().clone()
        return structure
    structure.repeated = _repeated_axes(draws)
    if structure.kind == "bool":
        _boolean(structure, draws)
    elif structure.kind == "integer":
        _integers(structure, draws, more)
    elif structure.kind == "few":
        _few(structure, draws)
    else:
        _floats(structure, draws)
    return structure


def _kind(draws: Sequence[torch.Tensor]) -> Kind:
    first = draws[0]
    same = all(torch.equal(first, d) for d in draws[1:])
    if first.dtype == torch.bool:
        return "constant" if same else "bool"
    if first.is_complex():
        return "float" if not same else "constant"
    if not first.is_floating_point():
        return "constant" if same else "integer"
    if same and (len(draws) > 1) and not _looks_random(first):
        return "constant"
    if not all(bool(d.isfinite().all()) for d in draws):
        # -inf in a mask, say: only values that were seen can be drawn again.
        return "constant" if same else "few"
    if first.numel() > 4 * _FEW and _distinct(draws) is not None:
        return "few"
    return "float"


def _looks_random(tensor: torch.Tensor) -> bool:
    """A float tensor that is the same in all draws, but only because get_inputs() seeds itself."""
    flat = tensor.detach().double().reshape(-1)
    if flat.numel() < 32 or not bool(flat.isfinite().all()):
        return False
    flat = flat[flat != 0]
    if flat.numel() < 32 or torch.unique(flat).numel() < flat.numel() // 2:
        return False
    steps = flat.diff()
    rising = float((steps > 0).double().mean())
    if not 0.2 < rising < 0.8:
        return False
    # Tables (sines, grids) are smooth: neighbours resemble each other, or the steps repeat.
    centred = flat - flat.mean()
    correlation = float((centred[1:] * centred[:-1]).mean() / centred.square().mean().clamp_min(1e-300))
    return abs(correlation) < 0.5 and torch.unique((steps * 1e6).round()).numel() > flat.numel() // 4


def _distinct(draws: Sequence[torch.Tensor]) -> torch.Tensor | None:
    """The values of a few-valued tensor, ascending, or None where there are more than a few."""
    values: torch.Tensor | None = None
    for draw in draws:
        flat = draw.reshape(-1)
        if torch.unique(flat[:4096]).numel() > _FEW:
            return None
        found = torch.unique(flat)
        values = found if values is None else torch.unique(torch.cat([values, found]))
        if values.numel() > _FEW:
            return None
    return values


def _repeated_axes(draws: Sequence[torch.Tensor]) -> tuple[int, ...]:
    def repeats(axis: int) -> bool:
        return all(bool((d == d.narrow(axis, 0, 1)).all()) for d in draws)

    shape = draws[0].shape
    return tuple(axis for axis in range(len(shape)) if shape[axis] > 1 and repeats(axis))


def _common(draws: Sequence[torch.Tensor], value: int | bool) -> torch.Tensor | None:
    """Where every draw has `value`, unless that is nowhere or what chance alone would give."""
    where = draws[0] == value
    for draw in draws[1:]:
        where = where & (draw == value)
    count = int(where.sum())
    if count == 0:
        return None
    if draws[0].is_floating_point():
        return where
    # With a share p of such elements, p ** draws of them agree by chance.
    share = sum(float((d == value).double().mean()) for d in draws) / len(draws)
    expected = where.numel() * share ** len(draws)
    return where if count > 4 * expected + 8 else None


def _boolean(structure: Structure, draws: Sequence[torch.Tensor]) -> None:
    structure.zeros, structure.ones = _common(draws, False), _common(draws, True)
    free = torch.ones(structure.shape, dtype=torch.bool)
    for fixed in (structure.zeros, structure.ones):
        if fixed is not None:
            free &= ~fixed
    drawn = torch.cat([d[free].double() for d in draws])
    share = float(drawn.mean()) if drawn.numel() else 0.5
    structure.weights = torch.tensor([1 - share, share], dtype=torch.float64)
    if draws[0].dim() and draws[0].shape[-1] > 1:
        structure.row_has_true = all(bool(d.any(-1).all()) for d in draws)
        structure.ordered = _order([d.to(torch.int8) for d in draws])


def _order(draws: Sequence[torch.Tensor]) -> Literal["", "ascending", "descending"]:
    if draws[0].dim() == 0 or draws[0].shape[-1] < 3 or bool((draws[0] == draws[0][..., :1]).all()):
        return ""
    rows = draws[0].numel() // draws[0].shape[-1] * len(draws)
    if rows * math.lgamma(draws[0].shape[-1] + 1) < _SURPRISE:
        return ""
    steps = [d.diff(dim=-1) for d in draws]
    if all(bool((s >= 0).all()) for s in steps):
        return "ascending"
    return "descending" if all(bool((s <= 0).all()) for s in steps) else ""


def _integers(
    structure: Structure, draws: Sequence[torch.Tensor], more: Callable[[int], torch.Tensor] | None
) -> None:
    structure.low = min(int(d.min()) for d in draws)
    structure.high = max(int(d.max()) for d in draws)
    structure.zeros = _common(draws, 0)
    structure.ordered = _order(draws)
    for axis in reversed(range(len(structure.shape))):
        if structure.shape[axis] > 1 and all(_distinct_along(d, axis) for d in draws):
            structure.permutation = all(_permutes(d, axis) for d in draws)
            structure.unique = structure.permutation or _is_no_chance(structure, draws, axis, more)
            if structure.unique:
                structure.distinct_axis = axis - len(structure.shape)
                break


def _is_no_chance(
    structure: Structure,
    draws: Sequence[torch.Tensor],
    axis: int,
    more: Callable[[int], torch.Tensor] | None,
) -> bool:
    """Few numbers from a wide range differ by chance, exp(-n^2 / 2 span) a row: then more draws have to as well."""
    length = structure.shape[axis]
    rows = draws[0].numel() // length
    surprise = rows * length**2 / (2 * (structure.high - structure.low + 1))
    needed = math.floor(_SURPRISE / surprise) + 1 - len(draws)
    if needed > 0 and (more is None or needed > _MORE_DRAWS or needed * draws[0].numel() > _MORE_ELEMENTS):
        return False
    for number in range(needed):
        assert more is not None
        drawn = more(number)
        if drawn.shape != draws[0].shape or not _distinct_along(drawn, axis):
            return False
        structure.low, structure.high = (
            min(structure.low, int(drawn.min())),
            max(structure.high, int(drawn.max())),
        )
    return True


def _distinct_along(draw: torch.Tensor, axis: int) -> bool:
    return bool((draw.sort(dim=axis).values.diff(dim=axis) != 0).all())


def _permutes(draw: torch.Tensor, axis: int) -> bool:
    ascending = draw.movedim(axis, -1).sort(dim=-1).values
    return torch.equal(ascending, torch.arange(draw.shape[axis], dtype=draw.dtype).expand(ascending.shape))


def _few(structure: Structure, draws: Sequence[torch.Tensor]) -> None:
    flat = torch.cat([d.reshape(-1)[:_SAMPLE] for d in draws])
    values = torch.unique(torch.cat([torch.unique(d.reshape(-1)) for d in draws]))
    if not bool(flat.isfinite().all()) and values.numel() > _FEW:
        values = values[
            torch.linspace(0, values.numel() - 1, 1024).long().clamp_max(values.numel() - 1)
        ].unique()
    counts = torch.stack([(flat == v).double().mean() for v in values]) if values.numel() <= 64 else None
    structure.values = values
    structure.weights = counts if counts is not None else torch.ones(values.numel(), dtype=torch.float64)
    structure.zeros = _few_zeros(draws, float((flat == 0).double().mean()))
    if structure.shape and structure.shape[-1] > 1 and set(values.tolist()) == {0.0, 1.0}:
        structure.one_hot = all(bool((d.sum(-1) == 1).all()) for d in draws)
    structure.ordered = _order(draws)
    structure.symmetric = _is_symmetric(draws)


def _few_zeros(draws: Sequence[torch.Tensor], share: float) -> torch.Tensor | None:
    where = draws[0] == 0
    for draw in draws[1:]:
        where = where & (draw == 0)
    expected = where.numel() * share ** len(draws)
    return where if int(where.sum()) > 4 * expected + 8 else None


def _floats(structure: Structure, draws: Sequence[torch.Tensor]) -> None:
    if structure.dtype.is_complex:
        parts = torch.cat([torch.view_as_real(d.reshape(-1)[:_SAMPLE]).reshape(-1) for d in draws])
        structure.distribution = fit(parts.double())
        return
    structure.zeros = _common(draws, 0)
    structure.symmetric = _is_symmetric(draws)
    if structure.symmetric and structure.zeros is None:
        structure.definite = all(_is_definite(d) for d in draws)
    structure.sums_to_one = _axis(draws, lambda d, axis: d.double().sum(axis), non_negative=True)
    structure.unit_norm = _axis(draws, lambda d, axis: d.double().norm(dim=axis), non_negative=False)
    structure.ordered = _order(draws)
    sample = _sample(draws, structure.zeros)
    structure.distribution = fit(sample)
    whole = (
        sample.numel() >= 8 and bool((sample == sample.round()).all()) and float(sample.abs().max()) < 2**24
    )
    if whole:
        structure.integral = True
        structure.low, structure.high = int(sample.min()), int(sample.max())


def _sample(draws: Sequence[torch.Tensor], zeros: torch.Tensor | None) -> torch.Tensor:
    """Free elements of all draws, at most `_SAMPLE` of each, float64."""
    parts = []
    for draw in draws:
        flat = draw[~zeros] if zeros is not None else draw.reshape(-1)
        step = max(flat.numel() // _SAMPLE, 1)
        parts.append(flat[::step].double())
    return torch.cat(parts)


def _is_symmetric(draws: Sequence[torch.Tensor]) -> bool:
    shape = draws[0].shape
    if len(shape) < 2 or shape[-1] != shape[-2] or shape[-1] < 3:
        return False
    off = ~torch.eye(shape[-1], dtype=torch.bool)
    if all(bool((d * off == 0).all()) for d in draws):
        return False  # a diagonal matrix: its pattern of zeros says it all
    return all(torch.allclose(d.double(), d.double().mT, rtol=1e-6, atol=1e-7) for d in draws)


def _is_definite(draw: torch.Tensor) -> bool:
    if draw.shape[-1] > 2048:
        return False
    return bool((torch.linalg.cholesky_ex(draw.double()).info == 0).all())


def _axis(
    draws: Sequence[torch.Tensor], measure: Callable[[torch.Tensor, int], torch.Tensor], *, non_negative: bool
) -> int | None:
    """The last axis of more than two elements along which `measure` is one in every draw."""
    if non_negative and not all(bool((d >= 0).all()) for d in draws):
        return None
    tolerance = max(1e-5, 4 * float(torch.finfo(draws[0].dtype).eps) * 4)
    for axis in range(draws[0].dim() - 1, -1, -1):
        if draws[0].shape[axis] < 2:
            continue
        if all(bool(((measure(d, axis) - 1).abs() < tolerance).all()) for d in draws):
            return axis
    return None


def fit(sample: torch.Tensor) -> Distribution:
    """The distribution of a float64 sample: uniform or normal by its moments and range, else by its quantiles."""
    if sample.numel() == 0:
        return Distribution("normal", -1.0, 1.0, 0.0, 1.0)
    low, high = float(sample.min()), float(sample.max())
    mean, std = float(sample.mean()), float(sample.std(correction=0))
    if sample.numel() < 64 or std == 0 or not (high - low) > 0:
        # Too few to tell; a handful of values says most with the range that it covers.
        if low >= 0:
            return Distribution(
                "uniform", low if low < high else low * 0.5, high if high > 0 else 1.0, mean, std
            )
        return Distribution("normal", low, high, mean, std or max(abs(mean), 1.0))
    centred = (sample - mean) / std
    skew, kurtosis = float(centred.pow(3).mean()), float(centred.pow(4).mean())
    slack = 12 / sample.numel() ** 0.5
    if abs(skew) < 0.1 + slack and abs(kurtosis - 1.8) < 0.1 + slack and (high - low) < 3.7 * std:
        step = (high - low) / sample.numel()
        return Distribution("uniform", _rounded(low, step), _rounded(high, step), mean, std)
    if abs(skew) < 0.1 + slack and abs(kurtosis - 3) < 0.2 + 4 * slack and low < 0 < high:
        return Distribution("normal", low, high, mean, std)
    points = torch.linspace(0, 1, _QUANTILES, dtype=torch.float64)
    ascending = sample.sort().values
    quantiles = ascending[(points * (ascending.numel() - 1)).round().long()]
    return Distribution("quantiles", low, high, mean, std, quantiles)


def _rounded(bound: float, step: float) -> float:
    """A whole bound (0, 1, -1) where the sample comes within its own spacing of one: U[0, 1) is meant."""
    whole = round(bound)
    return float(whole) if abs(bound - whole) < 20 * step else bound


def widen_integers(structure: Structure, extents: Sequence[int], draws: int) -> int | None:
    """The range's upper end that a related dimension suggests: 8 targets out of 1,000 classes rarely show the 999th.

    Args:
        extents: lengths of all axes of the task's tensors.
        draws: how many draws the observed range comes from.

    Returns:
        A larger upper end that the draws do not contradict, or None.
    """
    if structure.kind != "integer" or structure.permutation or structure.ordered or structure.low < 0:
        return None
    count = math.prod(structure.shape) * draws
    for extent in sorted(set(extents)):
        if extent > structure.high + 1:
            missed = count * -math.log((structure.high + 1) / extent) if structure.high >= 0 else math.inf
            return extent - 1 if missed < _SURPRISE else None
        if extent == structure.high + 1:
            return None
    return None
