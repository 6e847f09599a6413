"""What three draws have in common is found, and every generated case keeps it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from workbench.core.errors import TaskError
from workbench.judge.worker.task.analysis import analyse, fit, widen_integers
from workbench.judge.worker.task.cases import TRANSFORMS, draw_inputs
from workbench.judge.worker.task.generator import draw
from workbench.judge.worker.task.loaded import LoadedTask
from workbench.judge.worker.task.structure import Structure

Load = Callable[..., LoadedTask]


def generator(seed: int = 9) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draws(make: Callable[[], torch.Tensor], count: int = 3) -> list[torch.Tensor]:
    torch.manual_seed(5)
    return [make() for _ in range(count)]


def every_case(structure: Structure) -> list[tuple[str, torch.Tensor]]:
    return [
        (case, draw_inputs([structure], case, generator(n))[0])
        for n, case in enumerate(["random", *TRANSFORMS])
    ]


def test_uniform_and_normal_draws_are_told_apart_and_refitted() -> None:
    uniform = analyse(draws(lambda: torch.rand(64, 64)))
    assert uniform.distribution is not None and uniform.distribution.kind == "uniform"
    assert (uniform.distribution.low, uniform.distribution.high) == (0.0, 1.0)
    normal = analyse(draws(lambda: torch.randn(64, 64) * 3 + 1))
    assert normal.distribution is not None and normal.distribution.kind == "normal"
    drawn = draw(normal, generator())
    assert abs(float(drawn.mean()) - 1) < 0.3 and abs(float(drawn.std()) - 3) < 0.3


def test_another_distribution_keeps_its_range_and_its_median() -> None:
    structure = analyse(draws(lambda: torch.rand(128, 64).pow(4) + 0.5))
    assert structure.distribution is not None and structure.distribution.kind == "quantiles"
    drawn = draw(structure, generator())
    assert float(drawn.min()) >= 0.5 and float(drawn.max()) <= 1.5
    assert abs(float(drawn.median()) - (0.5**4 + 0.5)) < 0.03


def test_a_lower_triangle_stays_lower_in_every_case() -> None:
    structure = analyse(draws(lambda: torch.tril(torch.randn(24, 24))))
    assert "lower triangular" in structure.words()
    for case, tensor in every_case(structure):
        assert torch.equal(tensor, tensor.tril()), case
        assert int((tensor != 0).sum()) > 100, case


def test_a_diagonal_stays_diagonal_in_every_case() -> None:
    structure = analyse(draws(lambda: torch.diag(torch.rand(32))))
    assert "diagonal" in structure.words() and not structure.symmetric
    for case, tensor in every_case(structure):
        assert torch.equal(tensor, torch.diag(tensor.diagonal())), case


def test_a_symmetric_matrix_stays_symmetric_in_every_case() -> None:
    def make() -> torch.Tensor:
        a = torch.randn(24, 24)
        return (a + a.T) / 2

    structure = analyse(draws(make))
    assert structure.symmetric and not structure.definite
    for case, tensor in every_case(structure):
        assert torch.equal(tensor, tensor.T), case


def test_a_positive_definite_matrix_can_still_be_factored() -> None:
    def make() -> torch.Tensor:
        a = torch.randn(16, 16, dtype=torch.float64)
        return a @ a.T + 0.1 * torch.eye(16, dtype=torch.float64)

    structure = analyse(draws(make))
    assert structure.definite
    for case, tensor in every_case(structure):
        assert int(torch.linalg.cholesky_ex(tensor).info) == 0, case


def test_probabilities_still_sum_to_one() -> None:
    structure = analyse(draws(lambda: torch.rand(16, 32).softmax(-1)))
    assert structure.sums_to_one == 1
    for case, tensor in every_case(structure):
        assert torch.allclose(tensor.sum(-1), torch.ones(16)) and bool((tensor >= 0).all()), case


def test_unit_vectors_keep_their_length() -> None:
    structure = analyse(draws(lambda: nn_normalize(torch.randn(16, 32))))
    assert structure.unit_norm == 1
    assert torch.allclose(draw(structure, generator()).norm(dim=1), torch.ones(16))


def nn_normalize(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(x, dim=1)


def test_labels_of_two_values_are_only_redrawn() -> None:
    structure = analyse(draws(lambda: torch.randint(0, 2, (512,)).float() * 2 - 1))
    assert structure.kind == "few" and not structure.transformable
    for case, tensor in every_case(structure):
        assert set(tensor.tolist()) == {-1.0, 1.0}, case


def test_one_hot_rows_stay_one_hot() -> None:
    structure = analyse(draws(lambda: torch.nn.functional.one_hot(torch.randint(0, 9, (64,)), 9).float()))
    tensor = draw(structure, generator())
    assert bool((tensor.sum(-1) == 1).all()) and set(tensor.unique().tolist()) == {0.0, 1.0}


def test_whole_numbers_in_a_float_tensor_stay_whole() -> None:
    structure = analyse(draws(lambda: torch.randint(0, 200, (64, 8)).float()))
    assert structure.integral
    tensor = draw(structure, generator())
    assert tensor.dtype == torch.float32 and torch.equal(tensor, tensor.round()) and float(tensor.max()) < 200


def test_indices_stay_in_their_range() -> None:
    structure = analyse(draws(lambda: torch.randint(3, 50, (1000,))))
    tensor = draw(structure, generator())
    assert tensor.dtype == torch.int64 and int(tensor.min()) >= 3 and int(tensor.max()) < 50


def test_few_indices_reach_up_to_the_dimension_that_bounds_them() -> None:
    structure = analyse(draws(lambda: torch.randint(0, 1000, (8,))))
    assert widen_integers(structure, [8, 16, 1000, 4096], 3) == 999
    structure.high = 20
    assert widen_integers(structure, [8, 16, 1000], 3) is None, (
        "24 draws of 1,000 would have shown a larger one"
    )


def test_permutations_stay_permutations() -> None:
    structure = analyse(draws(lambda: torch.stack([torch.randperm(32) for _ in range(4)])))
    assert structure.permutation
    tensor = draw(structure, generator())
    assert torch.equal(tensor.sort(-1).values, torch.arange(32).expand(4, 32))


def test_permutations_along_another_axis_stay_permutations() -> None:
    structure = analyse(draws(lambda: torch.rand(64, 4).argsort(0)))
    assert structure.permutation and structure.distinct_axis == -2
    tensor = draw(structure, generator())
    assert torch.equal(tensor.sort(0).values, torch.arange(64)[:, None].expand(64, 4))


SCATTER = (
    "class Model(nn.Module):\n    def forward(self, x, idx):\n"
    "        out = torch.zeros(SPAN, 16)\n        out[idx] = x * 2\n        return out\n"
    "def get_inputs():\n    return [torch.randn(64, 16), INDICES]\n"
)


def test_few_places_of_many_that_never_meet_in_further_draws_are_drawn_distinct(load: Load) -> None:
    task = load(SCATTER.replace("SPAN", "1000").replace("INDICES", "torch.randperm(1000)[:64]"))
    for seed in range(20):
        places = torch.as_tensor(task.draw(task.sizes[0], seed).values["input:idx"])
        assert len(places.unique()) == 64
    assert any("unique" in note for note in task.info.notes), task.info.notes

    meeting = load(SCATTER.replace("SPAN", "1000").replace("INDICES", "torch.randint(0, 1000, (64,))"))
    drawn = [torch.as_tensor(meeting.draw(meeting.sizes[0], s).values["input:idx"]) for s in range(20)]
    assert any(len(places.unique()) < 64 for places in drawn)


def test_what_a_task_declares_unique_is_drawn_so_however_wide_the_range(load: Load) -> None:
    for span in (70, 1 << 24):
        task = load(
            "SPAN = 1 << 24\n"
            + SCATTER.replace("torch.zeros(SPAN, 16)", "x.new_zeros(64, 16)")
            .replace("out[idx]", "out[idx % 64]")
            .replace("INDICES", "torch.randint(0, 64, (64,))")
            + f"def input_distributions():\n    return {{'idx': ('unique', 0, {span - 1})}}\n"
        )
        for seed in range(5):
            places = torch.as_tensor(task.draw(task.sizes[0], seed).values["input:idx"])
            assert len(places.unique()) == 64 and int(places.max()) < span
    with pytest.raises(TaskError, match="too few for 64 different integers"):
        load(
            SCATTER.replace("SPAN", "1000").replace("INDICES", "torch.randperm(1000)[:64]")
            + "def input_distributions():\n    return {'idx': ('unique', 0, 50)}\n"
        )


def test_sorted_rows_stay_sorted() -> None:
    ascending = analyse(draws(lambda: torch.randn(4, 64).sort(-1).values))
    descending = analyse(draws(lambda: torch.randint(0, 9999, (64,)).sort(descending=True).values))
    assert ascending.ordered == "ascending" and descending.ordered == "descending"
    for case, tensor in every_case(ascending):
        assert bool((tensor.diff(dim=-1) >= 0).all()), case
    assert bool((draw(descending, generator()).diff() <= 0).all())


def test_three_lengths_are_not_taken_for_a_unique_or_sorted_list_by_chance() -> None:
    structure = analyse([torch.tensor([1, 5, 9]), torch.tensor([9, 2, 4]), torch.tensor([3, 8, 11])])
    assert not structure.unique and not structure.ordered and not structure.permutation


def test_a_causal_mask_is_constant_and_a_padding_mask_keeps_its_shape() -> None:
    causal = analyse(draws(lambda: torch.ones(16, 16, dtype=torch.bool).tril()))
    assert causal.kind == "constant"

    def padding() -> torch.Tensor:
        return torch.arange(16)[None, :] < torch.randint(1, 17, (8, 1))

    structure = analyse(draws(padding))
    for seed in range(5):
        mask = draw(structure, generator(seed))
        assert bool((mask.int().diff(dim=-1) <= 0).all()), f"seed {seed}"
        assert bool(mask[:, 0].all()), f"seed {seed}: no row is all padding"


def test_a_table_is_constant_but_a_self_seeded_draw_is_not() -> None:
    table = torch.sin(torch.arange(512.0) / 10)
    assert analyse([table] * 3).kind == "constant"
    assert analyse([torch.linspace(0, 1, 100)] * 3).kind == "constant"
    assert analyse([torch.ones(64, 64)] * 3).kind == "constant"
    torch.manual_seed(0)
    assert analyse([torch.rand(64, 64)] * 3).kind == "float"


def test_infinities_of_a_mask_stay_where_they_may_be() -> None:
    def make() -> torch.Tensor:
        return torch.zeros(64, 8).masked_fill(torch.rand(64, 8) < 0.3, float("-inf"))

    structure = analyse(draws(make))
    assert structure.kind == "few"
    assert set(draw(structure, generator()).unique().tolist()) == {float("-inf"), 0.0}


def test_an_expanded_tensor_stays_the_same_along_its_axis() -> None:
    structure = analyse(draws(lambda: torch.randn(1, 16).expand(8, 16)))
    assert structure.repeated == (0,)
    for case, tensor in every_case(structure):
        assert bool((tensor == tensor[:1]).all()), case


def test_positive_inputs_stay_positive_in_every_case() -> None:
    structure = analyse(draws(lambda: torch.rand(32, 32) + 0.1))
    for case, tensor in every_case(structure):
        assert float(tensor.min()) > 0, case


def test_complex_and_half_draws_keep_their_dtype() -> None:
    for make in (lambda: torch.randn(8, 8, dtype=torch.complex64), lambda: torch.randn(8, 8).half()):
        structure = analyse(draws(make))
        for case, tensor in every_case(structure):
            assert tensor.dtype == structure.dtype, case
            assert bool(
                torch.view_as_real(tensor).isfinite().all()
                if tensor.is_complex()
                else tensor.isfinite().all()
            )


def test_a_scalar_tensor_and_a_handful_of_values_can_be_drawn() -> None:
    for make in (lambda: torch.rand(()), lambda: torch.randn(3), lambda: torch.randint(0, 5, ())):
        structure = analyse(draws(make))
        assert draw(structure, generator()).shape == structure.shape


def test_a_fit_of_nothing_and_of_one_value_does_not_fail() -> None:
    assert fit(torch.empty(0, dtype=torch.float64)).std == 1.0
    assert fit(torch.full((10,), 3.0, dtype=torch.float64)).mean == 3.0
