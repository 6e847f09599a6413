"""What counts as right, and as accurate, on tensors alone."""

from __future__ import annotations

import pytest
import torch

from workbench.core.task import Output
from workbench.core.tensors import contiguous
from workbench.judge.worker.accuracy import accuracy
from workbench.judge.worker.compare import Bar, bars, mismatch, without_fills


def bar_of(
    eager: torch.Tensor, exact: torch.Tensor | None = None, *, index: bool = False, **tolerance: float
) -> Bar:
    dtype = str(eager.dtype).removeprefix("torch.")
    output = Output("out", contiguous(tuple(eager.shape), dtype), index=index)
    exact_list = [exact] if exact is not None else None
    return bars([output], [eager], exact_list, tolerance)[0]


@pytest.fixture
def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_result_within_rounding_is_right(generator: torch.Generator) -> None:
    exact = torch.randn(9, 33, generator=generator, dtype=torch.float64)
    assert mismatch(bar_of(exact.float(), exact), (exact * (1 + 1e-6)).float()) is None


def test_the_worst_element_is_named(generator: torch.Generator) -> None:
    exact = torch.randn(4, 5, generator=generator, dtype=torch.float64)
    got = exact.float()
    got[1, 2] += 0.1
    got[3, 4] += 7
    worst = mismatch(bar_of(exact.float(), exact), got)
    assert worst is not None
    assert (worst.index, worst.wrong, worst.counted) == ((3, 4), 2, 20)
    assert "out[3, 4]" in worst.sentence()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_one_element_that_is_no_number_is_wrong(bad: float) -> None:
    exact = torch.ones(8, dtype=torch.float64)
    got = exact.float()
    got[5] = bad
    worst = mismatch(bar_of(exact.float(), exact), got)
    assert worst is not None and worst.index == (5,)
    assert isinstance(worst.evidence()["got"], str)  # JSON has neither


def test_elements_that_eager_gets_wrong_do_not_count() -> None:
    exact = torch.ones(1000, dtype=torch.float64)
    eager = exact.float()
    eager[7] = float("inf")
    bar = bar_of(eager, exact)
    assert bar.excluded == 1 and bar.usable
    got = exact.float()
    got[7] = 123
    assert mismatch(bar, got) is None


def test_a_case_with_more_than_one_percent_excluded_is_not_usable() -> None:
    exact = torch.ones(1000, dtype=torch.float64)
    eager = exact.float()
    eager[:11] = float("nan")
    assert not bar_of(eager, exact).usable


def test_a_wrong_scale_is_said_to_be_one(generator: torch.Generator) -> None:
    exact = torch.randn(64, generator=generator, dtype=torch.float64) + 3
    worst = mismatch(bar_of(exact.float(), exact), (exact * 2).float())
    assert worst is not None and worst.constant_ratio == pytest.approx(2, rel=1e-2)


def test_a_small_row_is_not_hidden_by_a_large_one() -> None:
    exact = torch.tensor([[1e6, 2e6], [1.0, 2.0]], dtype=torch.float64)
    got = exact.float()
    got[1, 0] = 1.5
    assert mismatch(bar_of(exact.float(), exact), got) is not None


def test_what_one_ulp_of_the_inputs_changes_is_not_held_against_a_candidate() -> None:
    exact = torch.zeros(4, 64, dtype=torch.float64)
    eager = torch.zeros(4, 64)
    moved = torch.full_like(exact, 1e-4)
    got = torch.full((4, 64), 2e-4)
    bar = bar_of(eager, exact)
    assert mismatch(bar, got) is not None
    assert mismatch(bar, got, perturbed=lambda: moved) is None


def test_the_tasks_own_tolerance_replaces_the_judges() -> None:
    exact = torch.ones(10, dtype=torch.float64)
    got = torch.full((10,), 1.05)
    assert mismatch(bar_of(exact.float(), exact), got) is not None
    assert mismatch(bar_of(exact.float(), exact, rtol=0.1), got) is None
    assert mismatch(bar_of(exact.float(), exact, atol=0.01), got) is not None


def test_integers_must_be_equal() -> None:
    eager = torch.arange(6)
    got = eager.clone()
    got[4] = 5
    worst = mismatch(bar_of(eager, eager), got)
    assert worst is not None and (worst.index, worst.expected, worst.got) == ((4,), 4, 5)


def test_positions_of_equal_values_are_equally_right() -> None:
    values = torch.tensor([[1.0, 3.0, 3.0, 0.0], [5.0, 1.0, 2.0, 3.0]])
    bar = bar_of(torch.tensor([1, 0]), torch.tensor([1, 0]), index=True)
    assert mismatch(bar, torch.tensor([2, 0]), selected_from=[values]) is None
    wrong = mismatch(bar, torch.tensor([2, 3]), selected_from=[values])
    assert wrong is not None and wrong.index == (1,)
    assert mismatch(bar, torch.tensor([2, 99]), selected_from=[values]) is not None


def test_a_selection_that_repeats_itself_is_wrong() -> None:
    values = torch.tensor([[3.0, 3.0, 1.0]])
    bar = bar_of(torch.tensor([[0, 1]]), torch.tensor([[0, 1]]), index=True)
    assert mismatch(bar, torch.tensor([[1, 0]]), selected_from=[values]) is None
    assert mismatch(bar, torch.tensor([[1, 1]]), selected_from=[values]) is not None


def test_a_selection_may_repeat_itself_where_the_reference_does() -> None:
    values = torch.tensor([[0.0, 0.0, 1.0]])  # the largest so far
    bar = bar_of(torch.tensor([[0, 1, 2]]), index=True)
    assert mismatch(bar, torch.tensor([[0, 0, 2]]), selected_from=[values]) is not None
    values = torch.tensor([[1.0, 1.0, 0.0]])
    bar = bar_of(torch.tensor([[0, 1, 1]]), index=True)
    assert mismatch(bar, torch.tensor([[0, 0, 0]]), selected_from=[values]) is None
    assert mismatch(bar, torch.tensor([[0, 0, 2]]), selected_from=[values]) is not None


def test_positions_in_a_plane_may_break_ties_too() -> None:
    values = torch.tensor(
        [[[[5.0, 1.0, 2.0, 2.0], [5.0, 0.0, 1.0, 2.0]]]]
    )  # pooled 2 x 2: 5 stands at 0 and 4
    bar = bar_of(torch.tensor([[[[0, 7]]]]), torch.tensor([[[[0, 7]]]]), index=True)
    assert mismatch(bar, torch.tensor([[[[4, 3]]]]), selected_from=[values]) is None
    wrong = mismatch(bar, torch.tensor([[[[4, 1]]]]), selected_from=[values])
    assert wrong is not None and wrong.index == (0, 0, 0, 1)


def test_positions_on_an_axis_are_not_taken_for_positions_in_a_plane() -> None:
    values = torch.tensor([[[3.0, 3.0, 3.0], [1.0, 2.0, 3.0]]])
    bar = bar_of(torch.tensor([[[0, 1], [2, 1]]]), torch.tensor([[[0, 1], [2, 1]]]), index=True)
    assert mismatch(bar, torch.tensor([[[1, 2], [2, 1]]]), selected_from=[values]) is None
    assert mismatch(bar, torch.tensor([[[1, 1], [2, 1]]]), selected_from=[values]) is not None
    assert mismatch(bar, torch.tensor([[[0, 1], [0, 1]]]), selected_from=[values]) is not None


def test_complex_numbers_compare_by_both_parts() -> None:
    exact = torch.randn(8, dtype=torch.complex128)
    got = exact.to(torch.complex64)
    bar = bar_of(got.clone(), exact)
    assert mismatch(bar, got) is None
    assert mismatch(bar, got.conj().resolve_conj()) is not None


def test_single_precision_is_told_from_half(generator: torch.Generator) -> None:
    exact = torch.randn(64, 256, generator=generator, dtype=torch.float64)
    bar = bar_of(exact.float(), exact)
    fine = accuracy(bar, (exact * (1 + 3e-7)).float(), "random", perturbed=lambda: None)
    coarse = accuracy(bar, exact.half().float(), "random", perturbed=lambda: None)
    assert fine is not None and fine.ok
    assert coarse is not None and not coarse.ok


def test_a_task_in_tf32_may_be_as_coarse_as_tf32(generator: torch.Generator) -> None:
    exact = torch.randn(64, 256, generator=generator, dtype=torch.float64)
    bar = bar_of(exact.float(), exact)
    found = accuracy(bar, exact.half().float(), "random", precision="tf32", perturbed=lambda: None)
    assert found is not None and found.ok


def test_differences_below_the_smallest_normal_number_do_not_count() -> None:
    exact = torch.full((16,), 1e-39, dtype=torch.float64)
    found = accuracy(bar_of(torch.zeros(16), exact), torch.full((16,), 3e-39), "tiny", perturbed=lambda: None)
    assert found is not None and found.ok


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_an_ulp_that_leads_out_of_the_finite_allows_nothing(generator: torch.Generator, bad: float) -> None:
    exact = torch.randn(16, 32, generator=generator, dtype=torch.float64)
    bar = bar_of(exact.float(), exact)
    moved = exact.clone()
    moved[3, 4] = bad
    coarse = accuracy(bar, exact.half().float(), "random", perturbed=lambda: moved)
    assert coarse is not None and not coarse.ok
    # What moves and stays finite counts all the same.
    moved[5] += 1e-2
    fine = accuracy(bar, exact.half().float(), "random", perturbed=lambda: moved)
    assert fine is not None and fine.ok


def test_where_an_ulp_leads_to_nan_eagers_own_error_still_counts() -> None:
    exact = torch.zeros(1, 64, dtype=torch.float64)
    eager = torch.zeros(1, 64)
    eager[0, 3] = 1e-12
    exact[0, 0] = 1e-12
    moved = torch.full_like(exact, float("nan"))
    bar = bar_of(eager, exact, atol=1e-11)
    got = torch.full((1, 64), 2.2e-11)
    assert mismatch(bar, got, perturbed=lambda: moved) is None


def scores(fill: str, dtype: torch.dtype, generator: torch.Generator, *, moved: float = 0.0) -> torch.Tensor:
    """Scaled scores, the last eighth of each row masked; `moved`: relative, of what they were computed from."""
    found = (
        torch.randn(24, 64, generator=generator, dtype=torch.float64).float().to(dtype) * (1 + moved) * 0.125
    )
    mask = torch.arange(64) >= 56
    if fill == "finfo":
        return found.masked_fill(mask, torch.finfo(dtype).min)
    return found.masked_fill(mask, float(fill)) if fill != "added" else found + mask.to(dtype) * -1e9


@pytest.mark.parametrize("fill", ["-100", "-1e4", "-1e9", "-1e30", "added", "finfo"])
def test_what_a_mask_fills_in_excuses_nothing_beside_it(fill: str, seed: int) -> None:
    def drawn(dtype: torch.dtype, moved: float = 0.0) -> torch.Tensor:
        return scores(fill, dtype, torch.Generator().manual_seed(seed), moved=moved)

    def perturbed() -> torch.Tensor:
        return drawn(torch.float64, 1e-7)

    eager, exact = drawn(torch.float32), drawn(torch.float64)
    bar = without_fills(bar_of(eager, exact), perturbed, {})
    assert bar.usable and bar.filled is not None and bar.filled[:, 56:].all() and not bar.filled[:, :56].any()
    assert mismatch(bar, eager, perturbed=perturbed) is None
    constant = torch.where(bar.filled, eager, 7.0)
    assert mismatch(bar, constant, perturbed=perturbed) is not None
    one = eager.clone()
    one[5, 7] += 1e-2
    assert mismatch(bar, one, perturbed=perturbed) is not None
    unmasked = torch.where(bar.filled, 0.0, eager)
    assert mismatch(bar, unmasked, perturbed=perturbed) is not None
    near = torch.where(bar.filled, eager, (exact * (1 + 2e-7)).float())
    fine = accuracy(bar, near, "random", perturbed=perturbed)
    assert fine is not None and fine.ok
    coarse = torch.where(bar.filled, eager, eager.half().float())
    found = accuracy(bar, coarse, "random", perturbed=perturbed)
    assert found is not None and not found.ok


def test_results_that_follow_large_inputs_are_no_fill(seed: int) -> None:
    # Sums over a window that slides past one large element: what subtracts it again is as inexact as that is.
    x = (
        torch.rand(1, 256, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        .float()
        .double()
    )
    x[0, 100] = 65504.0
    exact = x.unfold(-1, 64, 1).sum(-1)
    moved = (x * (1 + 1e-7)).unfold(-1, 64, 1).sum(-1)
    bar = bar_of(exact.float(), exact)
    assert without_fills(bar, lambda: moved, {}) is bar


@pytest.mark.parametrize("kind", ["copied", "constant rows", "one-hot", "saturated", "few", "two", "leaky"])
def test_large_elements_that_are_not_filled_in_set_the_scale_as_ever(
    kind: str, generator: torch.Generator
) -> None:
    x = torch.randn(16, 64, generator=generator, dtype=torch.float64).float().double()
    exact = {
        "copied": x,
        "constant rows": x[:, :1].expand(16, 64) * 1e3,
        "one-hot": torch.nn.functional.one_hot(torch.arange(16), 64).double(),
        "saturated": torch.sigmoid(16384 * x),
        "few": torch.cat([x[:1, :8], torch.full((1, 56), -1e9, dtype=torch.float64)], 1),
        "two": torch.cat(
            [torch.full((16, 1), 1e6).double().masked_fill(torch.arange(16)[:, None] > 1, 0), x], 1
        ),
        "leaky": torch.nn.functional.leaky_relu(x),
    }[kind].contiguous()
    bar = bar_of(exact.float(), exact)
    assert without_fills(bar, lambda: exact, {}) is bar
