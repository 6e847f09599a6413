"""Positions in what a module computes inside: any choice among near-ties is right, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from workbench.core.task import Output
from workbench.core.tensors import contiguous
from workbench.judge.worker.compare import Bar, bars, index_bar, mismatch
from workbench.judge.worker.references import Prepared, prepare
from workbench.judge.worker.task.loaded import LoadedTask
from workbench.judge.worker.task.loader import load_task
from workbench.judge.worker.ties import Choice, Source, computed_source

EXPERTS = 64
ROUTER = Path(__file__).parent / "task" / "kernelbench" / "topk_router.py"
# 1 and 2 are nearly equal in fp64, 0 and 3 are not.
EXACT = torch.tensor([[0.1, 0.4, 0.4 + 1e-8, 0.2]], dtype=torch.float64)
EAGER = EXACT.float() + torch.tensor([[0.0, 3e-8, 0.0, 0.0]])


def bar_of(eager: torch.Tensor, exact: torch.Tensor) -> Bar:
    output = Output("out", contiguous(tuple(eager.shape), "int64"), index=True)
    return bars([output], [eager], [exact], {})[0]


def source(eager: torch.Tensor = EAGER, exact: torch.Tensor = EXACT, *, distinct: bool = False) -> Source:
    found = computed_source(eager, exact, None, 16.0, distinct=distinct)
    assert found is not None
    return found


def choice(of: Source, positions: torch.Tensor) -> Choice:
    """Of positions along the last axis, or without it."""
    return Choice(
        (of,), torch.arange(len(of.values)).view(-1, *[1] * (positions.dim() - 1)).expand_as(positions)
    )


def nothing() -> None:
    """No perturbed reference."""


def test_a_choice_among_near_ties_is_right_and_counts() -> None:
    chosen, exact = torch.tensor([1]), torch.tensor([2])
    bar = index_bar(bar_of(chosen, exact), exact, nothing, choice(source(), exact))
    assert bar.excluded == 0 and bar.usable
    assert mismatch(bar, torch.tensor([1])) is None and mismatch(bar, torch.tensor([2])) is None
    for wrong in (0, 3, 4, -1):
        assert mismatch(bar, torch.tensor([wrong])) is not None, wrong


def test_a_mask_beside_what_the_reference_chose_from_excuses_nothing() -> None:
    best, mask = torch.tensor([2]), torch.zeros(1, 4)
    bar = index_bar(bar_of(best, best), best, nothing, choice(source(), best))
    assert mismatch(bar, torch.tensor([0]), selected_from=[mask]) is not None
    assert mismatch(bar, torch.tensor([1]), selected_from=[mask]) is None


def test_near_ties_may_change_places_but_not_stand_twice() -> None:
    both = torch.tensor([[1, 2]])
    bar = index_bar(bar_of(both, both), both, nothing, choice(source(distinct=True), both))
    assert mismatch(bar, torch.tensor([[2, 1]])) is None
    assert mismatch(bar, torch.tensor([[2, 2]])) is not None
    assert mismatch(bar, torch.tensor([[1, 3]])) is not None


def test_what_is_not_rounded_has_no_near_ties() -> None:
    same = computed_source(EXACT, EXACT, None, 16.0)
    assert same is not None and same.slack is None
    best = torch.tensor([2])
    bar = index_bar(bar_of(best, best), best, nothing, choice(same, best))
    assert mismatch(bar, torch.tensor([1])) is not None


def test_a_choice_of_what_overflowed_in_eager_alone_does_not_count() -> None:
    exact = torch.tensor([[1e300, 2e300, 1.0], [1.0, 2.0, 3.0]], dtype=torch.float64)
    found = computed_source(exact.float(), exact, None, 16.0)
    assert found is not None
    chosen = torch.tensor([1, 2])
    bar = index_bar(bar_of(chosen, chosen), chosen, nothing, choice(found, chosen))
    assert bar.excluded == 1
    assert mismatch(bar, torch.tensor([0, 2])) is None
    assert mismatch(bar, torch.tensor([0, 1])) is not None


def test_without_a_source_a_position_that_one_ulp_changes_does_not_count() -> None:
    chosen, moved = torch.tensor([1, 5]), torch.tensor([2, 5])
    bar = index_bar(bar_of(chosen, chosen), chosen, lambda: moved, None)
    assert bar.excluded == 1
    assert mismatch(bar, torch.tensor([3, 5])) is None
    assert mismatch(bar, torch.tensor([1, 4])) is not None


@pytest.fixture(scope="module")
def router() -> LoadedTask:
    return load_task(str(ROUTER), target="host", revision=1)


def router_bars(prepared: Prepared) -> dict[str, Bar]:
    return {bar.output.name.removeprefix("out_"): bar for bar in prepared.bars}


def test_the_reference_tells_what_it_chose_from_also_behind_a_view(router: LoadedTask, seed: int) -> None:
    prepared = prepare(router, router.sizes[0], seed, "random")
    found = router_bars(prepared)
    assert prepared.expected is not None and prepared.expected.exact is not None
    names = [output.name.removeprefix("out_") for output in router.sizes[0].outputs]
    weights = prepared.expected.exact[names.index("weights")]
    for name in ("chosen", "first"):
        one = found[name].choice
        assert one is not None and bool(one.known.all())
        (gate,) = one.sources
        assert gate.slack is not None and gate.values.dtype == torch.float64
        at = found[name].target
        at = at if name == "chosen" else at[:, None]
        assert torch.allclose(gate.values.gather(1, at), weights[:, : at.shape[1]], rtol=1e-4)
    assert found["count"].choice is None and found["weights"].choice is None


def test_equal_values_inside_are_ties_of_every_position(router: LoadedTask, seed: int) -> None:
    prepared = prepare(router, router.sizes[0], seed, "zero_rows")
    x = prepared.case.values["input:x"]
    assert isinstance(x, torch.Tensor)
    empty = (x == 0).all(1)
    assert bool(empty.any())
    bar = router_bars(prepared)["first"]
    assert bar.excluded == 0
    other = torch.where(empty, (bar.target + 1) % EXPERTS, bar.target)
    assert mismatch(bar, other) is None
    assert mismatch(bar, (bar.target + 1) % EXPERTS) is not None


LOGITS = torch.tensor([[0.5, -1.25, 2.0, 2.0 + 4e-7, -0.75, 0.25, 1.5, -2.0]], dtype=torch.float64)


def masked(fill: str, dtype: torch.dtype) -> torch.Tensor:
    """Logits of which the last two are not allowed."""
    logits, mask = LOGITS.to(dtype), torch.arange(8) >= 6
    if fill == "-inf":
        return logits.masked_fill(mask, -torch.inf)
    if fill == "finfo":
        return logits.masked_fill(mask, torch.finfo(dtype).min)
    if fill == "half of finfo":
        return logits.masked_fill(mask, torch.finfo(dtype).min / 2)
    return logits + mask.to(dtype) * float(fill)


@pytest.mark.parametrize("fill", ["finfo", "half of finfo", "-1e4", "-1e9", "-1e30", "-inf"])
def test_what_a_mask_adds_ties_nothing(fill: str) -> None:
    eager, exact = masked(fill, torch.float32), masked(fill, torch.float64)
    of = computed_source(eager, exact, masked(fill, torch.float64), 16.0)
    assert of is not None and of.slack is not None and bool(of.slack.isfinite().all())
    best = torch.tensor([3])
    bar = index_bar(bar_of(best, best), best, nothing, choice(of, best))
    assert bar.excluded == 0 and mismatch(bar, torch.tensor([2])) is None
    for wrong in (0, 1, 4, 5, 6, 7):
        assert mismatch(bar, torch.tensor([wrong])) is not None, wrong
    least = index_bar(bar_of(best - 2, best - 2), best - 2, nothing, choice(of, best))  # -1.25
    assert mismatch(least, torch.tensor([4])) is not None


def test_the_errors_of_a_whole_row_tie_its_values_of_one_size(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    exact = torch.rand(512, 40, generator=generator, dtype=torch.float64) + 1
    exact[:, 1] = exact[:, 0] + 3e-7
    eager = exact.float()
    eager[:, :2] = exact[:, :2].to(torch.float32)
    of = computed_source(eager, exact, None, 16.0)
    assert of is not None
    first = torch.zeros(512, dtype=torch.int64)
    assert bool(choice(of, first).same(first + 1, first).all())
    far = (exact - exact[:, :1]).abs().argmax(1)
    assert not bool(choice(of, first).same(far, first).any())
