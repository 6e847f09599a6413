"""Which gradients a task has, what the reference says they are, and how incoming ones are drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from workbench.core.errors import TaskError
from workbench.judge.worker.compare import bars, mismatch
from workbench.judge.worker.references import prepare
from workbench.judge.worker.task.gradients import GRADIENT_CASES
from workbench.judge.worker.task.loaded import LoadedTask
from workbench.judge.worker.task.loader import load_task

Write = Callable[..., Path]

MODULE = """import torch
from torch import nn
{head}
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.randn(6))
        self.b = nn.Parameter(torch.randn(6))
        {init}
    def forward(self, {parameters}):
        {forward}
def get_inputs():
    return [{inputs}]
def get_init_inputs():
    return []
"""


def load(
    folder: Path,
    forward: str,
    *,
    parameters: str = "x",
    inputs: str = "torch.randn(4, 6)",
    init: str = "pass",
    head: str = "",
) -> LoadedTask:
    file = folder / "task.py"
    file.write_text(
        MODULE.format(forward=forward, parameters=parameters, inputs=inputs, init=init, head=head)
    )
    return load_task(str(file), target="host", revision=1)


def wanted(task: LoadedTask) -> tuple[tuple[str, ...], tuple[int, ...]]:
    return task.sizes[0].gradients, task.sizes[0].incoming


def test_inputs_and_parameters_that_autograd_reaches_have_a_gradient(tmp_path: Path) -> None:
    task = load(
        tmp_path,
        "return (x * self.a).argmax(-1), x * self.a, y + 1, i",
        parameters="x, y, i",
        inputs="torch.randn(4, 6), torch.randn(3), torch.arange(3)",
    )
    assert wanted(task) == (("input:x", "input:y", "parameter:a"), (1, 2))
    assert not task.info.backward


def test_inputs_that_are_marked_are_the_only_ones(tmp_path: Path) -> None:
    task = load(
        tmp_path,
        "return x * y * self.a",
        parameters="x, y",
        inputs="torch.randn(4, 6), torch.randn(4, 6, requires_grad=True)",
    )
    assert wanted(task) == (("input:y", "parameter:a"), (0,))


def test_frozen_parameters_have_none_and_tied_ones_one(tmp_path: Path) -> None:
    task = load(
        tmp_path,
        "return x * self.a + self.b + self.c",
        init="self.b.requires_grad_(False); self.c = self.a",
    )
    assert wanted(task)[0] == ("input:x", "parameter:a")
    size = task.sizes[0]
    case = task.draw(size, 3, backward=True)
    expected = task.expected(size, case, backward=True)
    x, g = case.values["input:x"], case.values["gradient:out"]
    assert isinstance(x, torch.Tensor) and isinstance(g, torch.Tensor)
    assert torch.allclose(expected.eager[2], (g * (x + 1)).sum(0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("forward", "parameters", "inputs"),
    [
        ("return x.argmax(-1)", "x", "torch.randn(4, 6)"),
        ("return (x * self.a).detach()", "x", "torch.randn(4, 6)"),
        ("return x + 1", "x", "torch.arange(24).reshape(4, 6)"),
    ],
)
def test_some_tasks_have_no_gradient(tmp_path: Path, forward: str, parameters: str, inputs: str) -> None:
    task = load(tmp_path, forward, parameters=parameters, inputs=inputs)
    assert wanted(task) == ((), ()) and task.gradient_cases() == ()
    with pytest.raises(TaskError, match="sets `backward`, but has no gradient"):
        load(tmp_path, forward, parameters=parameters, inputs=inputs, head="backward = True")


def test_what_is_written_in_place_has_no_gradient(tmp_path: Path) -> None:
    task = load(
        tmp_path,
        "state.add_(1.0); return x * self.a * state",
        parameters="x, state",
        inputs="torch.randn(4, 6), torch.zeros(4, 6)",
    )
    assert wanted(task) == (("input:x", "parameter:a"), (0,))


def test_a_task_asks_for_backward_and_a_function_of_that_name_is_its_own(tmp_path: Path) -> None:
    assert load(tmp_path, "return x * self.a", head="backward = True").info.backward
    assert not load(tmp_path, "return x * self.a", head="def backward(x): return x").info.backward


def test_the_fp64_gradient_is_lifted_where_the_module_goes_down(tmp_path: Path) -> None:
    task = load(tmp_path, "return (x.float() * self.a.float()).float().exp()")
    size = task.sizes[0]
    expected = task.expected(size, task.draw(size, 5, backward=True), backward=True)
    assert expected.exact is not None and [t.dtype for t in expected.exact] == [torch.float64] * 3
    task = load(tmp_path, "return torch.sin(x * self.a)")
    size = task.sizes[0]
    case = task.draw(size, 5, backward=True)
    exact = task.expected(size, case, backward=True).exact
    x, a, g = (case.values[p].double() for p in ("input:x", "parameter:a", "gradient:out"))  # type: ignore[union-attr]  # tensors
    assert exact is not None
    assert torch.allclose(exact[1], g * torch.cos(x * a) * a, rtol=1e-13)
    assert torch.allclose(exact[2], (g * torch.cos(x * a) * x).sum(0), rtol=1e-12)


def test_a_call_with_gradients_leaves_the_module_as_it_was(tmp_path: Path) -> None:
    task = load(tmp_path, "return x * self.a")
    size = task.sizes[0]
    case = task.draw(size, 1, backward=True)
    first = task.expected(size, case, backward=True)
    plain = task.expected(size, task.draw(size, 1))
    assert torch.equal(first.eager[0], plain.eager[0]) and len(plain.eager) == 1
    assert not any(p.requires_grad for p in task._judged.reference.instance.model.parameters())


def test_incoming_gradients_come_apart_from_the_inputs(tmp_path: Path, seed: int) -> None:
    task = load(tmp_path, "return x * self.a")
    size = task.sizes[0]
    one, two = (task.draw(size, seed, "needle", backward=True) for _ in range(2))
    without = task.draw(size, seed, "needle")
    for path, value in without.values.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, one.values[path])  # type: ignore[arg-type]  # tensors
    assert set(one.values) - set(without.values) == {"gradient:out"}
    g = [case.values["gradient:out"] for case in (one, two)]
    assert all(isinstance(t, torch.Tensor) and t.shape == (4, 6) for t in g) and torch.equal(g[0], g[1])  # type: ignore[arg-type]  # tensors


@pytest.mark.parametrize("case", GRADIENT_CASES)
@pytest.mark.parametrize("dtype", ["float16", "float32", "complex64"])
def test_every_case_of_incoming_gradients_has_the_outputs_dtype(
    tmp_path: Path, case: str, dtype: str
) -> None:
    task = load(tmp_path, "return x * 2", inputs=f"torch.randn(4, 6, dtype=torch.{dtype})")
    size = task.sizes[0]
    g = task.draw(size, 7, case, backward=True).values["gradient:out"]
    assert isinstance(g, torch.Tensor) and g.dtype == getattr(torch, dtype) and g.is_contiguous()
    plain = task.draw(size, 7, backward=True).values["gradient:out"]
    assert isinstance(plain, torch.Tensor) and not torch.equal(g, plain)
    assert bool(torch.view_as_real(g).isfinite().all() if g.is_complex() else g.isfinite().all())


def test_at_a_kink_both_sides_are_right_and_nothing_beyond(tmp_path: Path) -> None:
    task = load(tmp_path, "return torch.relu(x)")
    prepared = prepare(task, task.sizes[0], 11, "zeros_signed", True)
    x, g = (prepared.case.values[p] for p in ("input:x", "gradient:out"))
    assert isinstance(x, torch.Tensor) and isinstance(g, torch.Tensor) and bool((x == 0).any())

    def worst(gradient: torch.Tensor) -> object:
        return mismatch(
            prepared.bars[1],
            gradient,
            perturbed=lambda: prepared.perturbed(1),
            sides=lambda: prepared.sides(1),
        )

    assert worst(torch.where(x > 0, g, 0.0)) is None
    assert worst(torch.where(x >= 0, g, 0.0)) is None
    assert worst(torch.where(x > 0, g, torch.where(x == 0, g / 2, 0.0))) is None
    assert worst(torch.where(x > 0, g, torch.where(x == 0, 3 * g, 0.0))) is not None
    assert worst(torch.where(x > 0, g, torch.where(x == 0, -g, 0.0))) is not None
    assert worst(torch.where(x >= 0, g, g)) is not None


def test_an_output_has_no_sides(tmp_path: Path) -> None:
    task = load(tmp_path, "return torch.relu(x)")
    prepared = prepare(task, task.sizes[0], 11, "zeros_signed", True)
    assert prepared.sides(0) is None
    assert prepare(task, task.sizes[0], 11, "zeros_signed").sides(0) is None


def test_a_gradient_that_cannot_be_trusted_leaves_the_outputs_checked(tmp_path: Path) -> None:
    # The root's gradient at 0 is infinite: nearly a third of it cannot be compared, all of the output can.
    task = load(tmp_path, "return x.abs().sqrt()", inputs="torch.rand(64, 64)")
    prepared = prepare(task, task.sizes[0], 2, "zeros_signed", True)
    assert prepared.unusable is None and prepared.counted() == [0]
    assert "gradient of x" in prepared.left_out[1]


def test_a_tasks_own_rtol_is_a_gradients_too_and_its_atol_is_not(tmp_path: Path) -> None:
    task = load(tmp_path, "return x * 2", head="tolerance = (0.2, 5.0)")
    prepared = prepare(task, task.sizes[0], 2, "random", True)
    assert [bar.tolerance for bar in prepared.bars] == [0.2, 0.2]
    output, gradient = prepared.bars
    assert output.allowed is not None and float(output.allowed.min()) >= 5.0
    assert gradient.allowed is not None and float(gradient.allowed.max()) < 5.0
    assert bars([output.output], [torch.ones(3)], None, {}, at_least=0.0)[0].tolerance == 1e-3
