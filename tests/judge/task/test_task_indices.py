"""What positions were chosen from is followed through all that only rearranges them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from workbench.judge.worker.task.indices import Chosen, Positions

Tensor = torch.Tensor

# Positions, and by another way the values that stand there.
WAYS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "of all": (lambda x: x.argmax(), lambda x: x.max()),
    "of all, all axes kept": (lambda x: x.argmax(keepdim=True), lambda x: x.amax((0, 1, 2), keepdim=True)),
    "last axis": (lambda x: x.argmin(-1), lambda x: x.amin(-1)),
    "first axis": (lambda x: x.argmax(0), lambda x: x.amax(0)),
    "middle axis, kept": (lambda x: x.argmax(1, keepdim=True), lambda x: x.amax(1, keepdim=True)),
    "topk": (lambda x: x.topk(2, 1).indices, lambda x: x.topk(2, 1).values),
    "sort": (lambda x: x.argsort(-1), lambda x: x.sort(-1).values),
    "other leading axes": (
        lambda x: x.flatten(0, 1).topk(2).indices.view(3, 4, 2),
        lambda x: x.topk(2).values,
    ),
    "other trailing axes": (lambda x: x.argmax(0).view(2, 2, 5), lambda x: x.amax(0).view(2, 2, 5)),
    "flat": (lambda x: x.topk(2, 0).indices.flatten(), lambda x: x.topk(2, 0).values.flatten()),
    "transposed": (lambda x: x.topk(2).indices.transpose(0, 2), lambda x: x.topk(2).values.transpose(0, 2)),
    "reversed": (lambda x: x.topk(2).indices.flip(-1), lambda x: x.topk(2).values.flip(-1)),
    "a part": (lambda x: x.argmax(-1)[:, -1], lambda x: x.amax(-1)[:, -1]),
    "one of several": (lambda x: x.topk(2).indices.unbind(-1)[1], lambda x: x.topk(2).values[..., 1]),
    "joined": (
        lambda x: torch.cat([x.argmax(1), x.argmin(1)], 1),
        lambda x: torch.cat([x.amax(1), x.amin(1)], 1),
    ),
    "other integers": (lambda x: x.argmax(1).int().t(), lambda x: x.amax(1).t()),
    "pooled along a row": (
        lambda x: F.max_pool1d(x, 2, stride=1, return_indices=True)[1],
        lambda x: F.max_pool1d(x, 2, stride=1),
    ),
    "pooled in a plane": (
        lambda x: F.max_pool2d(x, 2, return_indices=True)[1],
        lambda x: F.max_pool2d(x, 2),
    ),
    "so far": (lambda x: x.cummax(1).indices, lambda x: x.cummax(1).values),
}


def traced(positions: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Chosen | None]:
    tracker = Positions(keep=True)
    with tracker:
        found = positions(x)
    return found, tracker.chosen_from(found)


@pytest.mark.parametrize("way", WAYS)
def test_each_position_is_known_with_the_row_that_it_was_chosen_from(way: str, seed: int) -> None:
    positions, values = WAYS[way]
    x = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(seed))
    found, chosen = traced(positions, x)
    assert chosen is not None and chosen.rows.shape == found.shape
    rows = [row for table in chosen.tables for row in table.values]
    picked = [rows[r][p] for r, p in zip(chosen.rows.flatten(), found.flatten(), strict=True)]
    assert torch.equal(torch.stack(picked).view(found.shape), values(x))


def test_what_is_no_position_has_no_row() -> None:
    x = torch.arange(12.0).view(3, 4)
    _, chosen = traced(lambda x: torch.cat([x.argmax(1), torch.zeros(2, dtype=torch.int64)]), x)
    assert chosen is not None and chosen.rows.tolist() == [0, 1, 2, -1, -1]
    assert traced(lambda x: x.long().sum(1), x)[1] is None
    assert traced(lambda x: x.argmax(1) + 1, x)[1] is None


ONCE: dict[str, tuple[Callable[[Tensor], Tensor], bool]] = {
    "topk": (lambda x: x.topk(2).indices, True),
    "sort": (lambda x: x.sort().indices, True),
    "argsort": (lambda x: x.argsort(), True),
    "argmax": (lambda x: x.argmax(1), False),
    "cummax": (lambda x: x.cummax(1).indices, False),
}


@pytest.mark.parametrize("name", ONCE)
def test_only_what_ranks_a_row_selects_each_value_once(name: str) -> None:
    positions, once = ONCE[name]
    _, chosen = traced(positions, torch.zeros(3, 4))
    assert chosen is not None and chosen.tables[0].distinct is once
