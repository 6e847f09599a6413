"""Cases and references drawn ahead: seeds of their own, bounded memory, and the task's own check."""

from __future__ import annotations

import gc
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from workbench.core.errors import TaskError
from workbench.core.task import SizeSpec
from workbench.judge.worker import references
from workbench.judge.worker.references import OtherSizes, Prepared, References, prepare
from workbench.judge.worker.seeds import Seeds
from workbench.judge.worker.task.loaded import LoadedTask
from workbench.judge.worker.task.loader import load_task

NORM = Path(__file__).parent / "candidates" / "norm" / "task.py"

CHECKED = """import torch
class Model(torch.nn.Module):
    def forward(self, x):
        return x + 1
def get_inputs():
    return [torch.randn(32)]
def get_init_inputs():
    return []
def check(expected, actual):
    {check}
"""


@pytest.fixture(scope="module")
def norm() -> LoadedTask:
    return load_task(str(NORM), target="host", revision=1)


def checked(folder: Path, check: str) -> LoadedTask:
    file = folder / "checked.py"
    file.write_text(CHECKED.format(check=check))
    return load_task(str(file), target="host", revision=1)


def test_every_case_has_a_seed_of_its_own_and_another_one_each_time(norm: LoadedTask) -> None:
    with ThreadPoolExecutor(1) as pool:
        names = ["random", "random", "needle"]
        first, second = (References(pool, norm, norm.sizes[0], names) for _ in range(2))
        assert len({*first.seeds, *second.seeds}) == 6
        a, b = first.get(0).case.values["input:x"], first.get(1).case.values["input:x"]
        assert isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) and not torch.equal(a, b)
        assert first.get(2).hard and not first.get(0).hard


def test_the_same_seed_prepares_the_same_case_again(norm: LoadedTask, seed: int) -> None:
    one, two = (prepare(norm, norm.sizes[0], seed, "mixed") for _ in range(2))
    x, y = one.case.values["input:x"], two.case.values["input:x"]
    assert isinstance(x, torch.Tensor) and isinstance(y, torch.Tensor) and torch.equal(x, y)
    assert torch.equal(one.bars[0].target, two.bars[0].target)


def test_other_sizes_are_the_declared_ones_then_new_ones(norm: LoadedTask, seed: int) -> None:
    with ThreadPoolExecutor(1) as pool:
        others = OtherSizes(pool, norm, Seeds([seed]))
        sizes, prepared = others.sizes(), others.prepared()
    assert sizes[0].name == "odd" and all(size.judged for size in sizes)
    assert norm.sizes[0].values not in [size.values for size in sizes]
    assert [cases[0].size for cases in prepared] == sizes
    hard = [[p.case.name for p in cases[1:]] for cases in prepared]
    assert all(cases[0].case.name == "random" for cases in prepared)
    assert hard[0] == [name for name in norm.cases() if name != "random"]
    drawn = [names for names in hard[1:] if names]
    assert drawn and all(names[:2] == ["needle", "huge"] and len(set(names)) == 4 for names in drawn)


def test_thousands_of_verdicts_do_not_keep_their_sizes(norm: LoadedTask, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(12):
        for size in norm.random_sizes(rng):
            prepare(norm, size, rng.getrandbits(60), "random")
    gc.collect()
    modules = [m for m in gc.get_objects() if type(m).__name__ == "Model" and hasattr(m, "eps")]
    assert len(modules) < 30


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ("return torch.allclose(expected, actual)", ""),
        ("assert torch.allclose(expected, actual), 'not close'", "not close"),
    ],
)
def test_the_tasks_own_check_decides(tmp_path: Path, check: str, said: str, seed: int) -> None:
    task = checked(tmp_path, check)
    prepared = prepare(task, task.sizes[0], seed, "random")
    assert prepared.expected is not None
    right = prepared.expected.eager
    assert prepared.refused(right) is None
    assert prepared.refused([right[0] + 1]) == said


def test_a_check_that_raises_is_the_tasks_fault(tmp_path: Path, seed: int) -> None:
    task = checked(tmp_path, "return expected.nonsense")
    prepared = prepare(task, task.sizes[0], seed, "random")
    assert prepared.expected is not None
    with pytest.raises(TaskError, match="AttributeError"):
        prepared.refused(prepared.expected.eager)


def test_a_drawn_size_at_which_the_reference_raises_says_nothing_and_a_declared_one_ends_the_verdict(
    norm: LoadedTask, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    def raises(what: str) -> OtherSizes:
        def refused(task: LoadedTask, size: SizeSpec, *rest: Any) -> Prepared:
            if (size in task.sizes) == (what == "declared"):
                raise TaskError("`Model.forward` raises ValueError.")
            return prepare(task, size, *rest)

        monkeypatch.setattr(references, "prepare", refused)
        with ThreadPoolExecutor(1) as pool:
            return OtherSizes(pool, norm, Seeds([seed]))

    declared, *drawn = raises("drawn").prepared()
    assert not declared[0].failure and drawn
    assert all(len(cases) == 1 and "ValueError" in cases[0].failure for cases in drawn)
    with pytest.raises(TaskError, match="ValueError"):
        raises("declared").prepared()


def test_a_size_that_is_made_shorter_is_drawn_with_gradients_where_they_are_judged(
    norm: LoadedTask, seed: int
) -> None:
    with ThreadPoolExecutor(1) as pool:
        others = OtherSizes(pool, norm, Seeds([seed]), backward=True)
        cases = [case for of_size in others.prepared() for case in of_size]
        shorter = others.shorter(others.sizes()[-1], 0.5)
        assert shorter is not None and shorter[0].values != others.sizes()[-1].values
    for prepared in [*cases, *shorter[1]]:
        assert "gradient:out" in prepared.case.values
        assert [bar.output.name for bar in prepared.bars][1:] == ["gradient of x", "gradient of weight"]


def test_a_size_that_is_made_shorter_and_at_which_the_reference_raises_is_none(
    norm: LoadedTask, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    def refused(*_: Any) -> Prepared:
        raise TaskError("`Model.forward` raises ValueError.")

    with ThreadPoolExecutor(1) as pool:
        others = OtherSizes(pool, norm, Seeds([seed]))
        others.prepared()
        monkeypatch.setattr(references, "prepare", refused)
        assert others.shorter(others.sizes()[-1], 0.5) is None
