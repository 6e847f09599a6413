"""Draws new inputs with a task's structure: same seed, same case, on any machine with the same torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from workbench.judge.worker.task.structure import Distribution, Structure


def draw_all(structures: Sequence[Structure], generator: torch.Generator) -> list[torch.Tensor]:
    """One tensor for each structure, contiguous, on the CPU."""
    drawn: list[torch.Tensor] = []
    for structure in structures:
        if structure.equals is not None:
            drawn.append(drawn[structure.equals].clone())
        else:
            drawn.append(draw(structure, generator))
    return drawn


def draw(structure: Structure, generator: torch.Generator) -> torch.Tensor:
    """One new tensor of this structure."""
    if structure.constant is not None:
        return structure.constant.clone()
    if structure.kind == "bool":
        return project(structure, _bools(structure, generator), generator)
    if structure.kind == "integer" or structure.integral:
        return _integers(structure, generator)
    if structure.kind == "few":
        return _few(structure, generator)
    return project(structure, _floats(structure, generator), generator)


def project(structure: Structure, tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Give a tensor its structure back, after it was drawn or transformed."""
    for axis in structure.repeated:
        tensor = tensor.narrow(axis, 0, 1).expand(structure.shape)
    tensor = tensor.contiguous()
    if structure.ordered:
        descending = structure.ordered == "descending"
        keys = tensor.to(torch.int8) if tensor.dtype == torch.bool else tensor
        tensor = keys.sort(dim=-1, descending=descending).values.to(tensor.dtype)
    if structure.definite:
        n = structure.shape[-1]
        wide = tensor.double()
        scale = max(structure.distribution.std if structure.distribution else 1.0, 1e-30)
        wide = (wide @ wide.mT) / (n * scale)
        tensor = (wide + scale * torch.eye(n, dtype=torch.float64)).to(structure.dtype)
    if structure.symmetric:
        tensor = tensor.tril() + tensor.tril(-1).mT
    if structure.zeros is not None:
        tensor = tensor.masked_fill(structure.zeros, 0)
    if structure.ones is not None:
        tensor = tensor.masked_fill(structure.ones, True)
    if structure.sums_to_one is not None:
        total = tensor.double().sum(structure.sums_to_one, keepdim=True).clamp_min(1e-30)
        tensor = (tensor.double() / total).to(structure.dtype)
    if structure.unit_norm is not None:
        length = tensor.double().norm(dim=structure.unit_norm, keepdim=True).clamp_min(1e-30)
        tensor = (tensor.double() / length).to(structure.dtype)
    if structure.row_has_true:
        tensor = _with_one_true(structure, tensor, generator)
    return tensor.contiguous()


def _floats(structure: Structure, generator: torch.Generator) -> torch.Tensor:
    distribution = structure.distribution
    assert distribution is not None
    if structure.dtype.is_complex:
        parts = sample(distribution, (*structure.shape, 2), generator)
        return torch.view_as_complex(parts).to(structure.dtype)
    return sample(distribution, structure.shape, generator).to(structure.dtype)


def sample(distribution: Distribution, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Independent elements, float32 (float64 where quantiles are interpolated)."""
    d = distribution
    if d.kind == "uniform":
        return torch.rand(shape, generator=generator) * (d.high - d.low) + d.low
    if d.kind == "normal":
        return torch.randn(shape, generator=generator) * d.std + d.mean
    assert d.quantiles is not None
    steps = d.quantiles.numel() - 1
    place = torch.rand(shape, generator=generator, dtype=torch.float64) * steps
    left = place.floor().long().clamp_max(steps - 1)
    low, high = d.quantiles[left], d.quantiles[left + 1]
    return low + (high - low) * (place - left)


def _bools(structure: Structure, generator: torch.Generator) -> torch.Tensor:
    share = float(structure.weights[1]) if structure.weights is not None else 0.5
    if structure.ordered and structure.shape:
        # Padding masks: lengths are spread evenly; independent bits would make all rows alike.
        length = torch.rand(structure.shape[:-1], generator=generator).unsqueeze(-1)
        return torch.rand(structure.shape, generator=generator) < length
    return torch.rand(structure.shape, generator=generator) < share


def _with_one_true(structure: Structure, tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    empty = ~tensor.any(-1, keepdim=True)
    if not bool(empty.any()):
        return tensor
    free = torch.ones(structure.shape, dtype=torch.float32)
    if structure.zeros is not None:
        free = free.masked_fill(structure.zeros, -1)
    if structure.ordered:
        place = torch.zeros((*structure.shape[:-1], 1), dtype=torch.long)
        place += structure.shape[-1] - 1 if structure.ordered == "ascending" else 0
    else:
        place = (torch.rand(structure.shape, generator=generator) * free).argmax(-1, keepdim=True)
    return tensor | (empty & torch.zeros_like(tensor).scatter_(-1, place, True))


def _integers(structure: Structure, generator: torch.Generator) -> torch.Tensor:
    shape, span = structure.shape, structure.high - structure.low + 1
    axis = structure.distinct_axis
    if structure.permutation:
        tensor = torch.rand(shape, generator=generator, dtype=torch.float64).argsort(axis)
    elif structure.unique and span >= shape[axis]:
        tensor = _distinct(structure, generator).movedim(-1, axis)
    else:
        tensor = torch.randint(structure.low, structure.high + 1, shape, generator=generator)
        if tensor.numel() >= 4:  # the ends of the range, which a draw seldom holds: a first and a last token
            kept = tensor  # of what is repeated the first slice is
            for axis in structure.repeated:
                kept = kept.narrow(axis, 0, 1)
            if structure.zeros is None:
                first = int(torch.randint(0, kept.numel(), (), generator=generator))
                other = int(torch.randint(1, max(kept.numel(), 2), (), generator=generator))
                flat = torch.tensor([first, (first + other) % kept.numel()])
                ends = torch.stack(torch.unravel_index(flat, kept.shape), -1)
            else:
                free = (~structure.zeros.expand(shape)[tuple(slice(0, n) for n in kept.shape)]).nonzero()
                ends = free[torch.randperm(len(free), generator=generator)[:2]]
            for place, value in zip(ends, (structure.low, structure.high), strict=False):
                kept[tuple(place)] = value
    for axis in structure.repeated:
        tensor = tensor.narrow(axis, 0, 1).expand(shape)
    if structure.ordered:
        tensor = tensor.sort(dim=-1, descending=structure.ordered == "descending").values
    if structure.zeros is not None:
        tensor = tensor.masked_fill(structure.zeros, 0)
    return tensor.to(structure.dtype).contiguous()


def _distinct(structure: Structure, generator: torch.Generator) -> torch.Tensor:
    """Integers of the range of which none comes twice along the last axis, where `distinct_axis` is moved."""
    span, axis = structure.high - structure.low + 1, structure.distinct_axis
    length = structure.shape[axis]
    rows = torch.empty(structure.shape).movedim(axis, -1).shape[:-1]
    if span <= max(1 << 16, 4 * length):
        order = torch.rand((*rows, span), generator=generator, dtype=torch.float64).argsort(-1)
        return order[..., :length] + structure.low
    tensor = torch.randint(structure.low, structure.high + 1, (*rows, length), generator=generator)
    while True:  # at most a quarter of the range is taken, so that few are drawn again
        ascending, places = tensor.sort(dim=-1)
        again = torch.zeros_like(ascending, dtype=torch.bool)
        again[..., 1:] = ascending.diff(dim=-1) == 0
        if not bool(again.any()):
            return tensor
        ascending[again] = torch.randint(
            structure.low, structure.high + 1, (int(again.sum()),), generator=generator
        )
        tensor = torch.empty_like(tensor).scatter_(-1, places, ascending)


def _few(structure: Structure, generator: torch.Generator) -> torch.Tensor:
    assert structure.values is not None and structure.weights is not None
    shape = structure.shape
    if structure.one_hot:
        place = torch.randint(0, shape[-1], (*shape[:-1], 1), generator=generator)
        return torch.zeros(shape, dtype=structure.dtype).scatter_(-1, place, 1)
    edges = structure.weights.cumsum(0)
    place = torch.rand(shape, generator=generator, dtype=torch.float64) * edges[-1]
    return project(
        structure, structure.values[torch.searchsorted(edges, place).clamp_max(len(edges) - 1)], generator
    )
