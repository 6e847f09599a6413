"""Each hard case does to inputs what its name says, and what does not apply is skipped by name."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch

from workbench.judge.worker.task.cases import CASES, STATE_CASES
from workbench.judge.worker.task.loaded import Case, LoadedTask

Load = Callable[..., LoadedTask]


def x_of(case: Case) -> torch.Tensor:
    x = case.values["input:x"]
    assert isinstance(x, torch.Tensor)
    return x


def drawn(task: LoadedTask, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """x of the plain case and of case `name`, from the same draw."""
    size = task.sizes[0]
    return x_of(task.draw(size, 41)), x_of(task.draw(size, 41, name))


def test_each_transform_does_what_it_says(load: Load) -> None:
    task = load(forward="x * 2", inputs="torch.randn(64, 256)")
    assert task.cases() == tuple(c for c in CASES if c not in STATE_CASES)
    assert set(STATE_CASES) <= set(task.skipped_cases)

    plain, needle = drawn(task, "needle")
    changed = needle != plain
    assert 0 < int(changed.sum()) <= 66 and bool(changed[0, 0]) and bool(changed[-1, -1])
    assert float(needle[changed].abs().min()) > 5 * float(plain.std())

    plain, offset = drawn(task, "offset")
    assert abs(float((offset - plain).mean()) - 1000 * float(plain.std())) < 50

    for name, low, high in (("tiny", 2e-7, 2e-5), ("huge", 1e3, 1e5)):
        plain, scaled = drawn(task, name)
        ratio = float(scaled.std() / plain.std())
        assert low < ratio < high, name

    plain, mixed = drawn(task, "mixed")
    ratios = (mixed / plain)[plain != 0].abs()
    assert float(ratios.max() / ratios.min()) > 1e4

    _, zeros = drawn(task, "zeros_signed")
    where = zeros == 0
    assert 0.2 < float(where.double().mean()) < 0.4
    assert bool(torch.signbit(zeros[where]).any()) and not bool(torch.signbit(zeros[where]).all())

    _, rows = drawn(task, "constant_rows")
    constant = (rows == rows[:, :1]).all(-1)
    assert 0.2 < float(constant.double().mean()) < 0.8


def test_a_vector_along_each_axis_is_zero_and_integers_reach_both_ends(load: Load) -> None:
    task = load(forward="x * 2", inputs="torch.randn(6, 24, 50)")
    _, zeros = drawn(task, "zero_rows")
    assert all(bool((zeros == 0).all(axis).any()) for axis in range(3))
    task = load(forward="x * 2", inputs="torch.randint(0, 50257, (64,))")
    x = x_of(task.draw(task.sizes[0], 41))
    low, high = int(x.min()), int(x.max())
    again = x_of(task.draw(task.sizes[0], 42))
    assert (low, high) == (int(again.min()), int(again.max())), "the range's ends are in every draw"


def test_a_column_is_not_all_zero_and_repeated_integers_reach_both_ends(load: Load) -> None:
    task = load(forward="x * 2", inputs="torch.randn(64, 1)")
    _, zeros = drawn(task, "zero_rows")
    assert 0 < int((zeros == 0).sum()) < 64
    task = load(forward="x * 2", inputs="torch.randint(0, 50257, (8,)).expand(16, 8).contiguous()")
    draws = [x_of(task.draw(task.sizes[0], seed)) for seed in range(20)]
    assert len({(int(x.min()), int(x.max())) for x in draws}) == 1
    assert all(bool((x == x[:1]).all()) for x in draws)


def test_coherent_rounding_lies_just_above_the_grid(load: Load) -> None:
    task = load(forward="x * 2", inputs="torch.rand(64, 256)")
    for name, bits in (("coherent_fp16", 10), ("coherent_bf16", 7)):
        _, x = drawn(task, name)
        mantissa, _ = torch.frexp(x.double())
        above = mantissa * 2 ** (bits + 1) % 1
        assert bool(((above - 0.4).abs() < 0.01).all()), name
        error = (x.half() if bits == 10 else x.bfloat16()).float() - x
        assert float((error < 0).double().mean()) > 0.95, "rounding errors have one sign, so they add up"


def test_a_kernel_that_ignores_a_weight_of_ones_is_seen(load: Load) -> None:
    task = load(
        "class Model(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.bn = nn.BatchNorm1d(16)\n        self.tied = self.bn.weight\n"
        "    def forward(self, x):\n        return self.bn(x) + self.tied\n"
        "mode = 'eval'\ndef get_inputs():\n    return [torch.randn(32, 16)]\n"
    )
    size = task.sizes[0]
    values = task.draw(size, 3, "parameters").values
    weight, tied, variance, mean = (
        values[p]
        for p in ("parameter:bn.weight", "parameter:tied", "buffer:bn.running_var", "buffer:bn.running_mean")
    )
    assert (
        isinstance(weight, torch.Tensor)
        and isinstance(variance, torch.Tensor)
        and isinstance(mean, torch.Tensor)
    )
    assert float(weight.std()) > 0.05 and float(variance.min()) > 0 and float(mean.std()) > 0.05
    assert tied is weight, "a tied parameter has one value"
    plain = task.draw(size, 3).values["parameter:bn.weight"]
    assert isinstance(plain, torch.Tensor) and bool((plain == 1).all())
    expected = task.expected(size, task.draw(size, 3, "parameters"))
    assert expected.exact is not None and torch.allclose(
        expected.eager[0].double(), expected.exact[0], atol=1e-4
    )


def test_a_weight_of_ones_is_also_drawn_with_both_signs_and_wide(load: Load) -> None:
    task = load(
        "class Model(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.bn = nn.BatchNorm1d(256)\n    def forward(self, x):\n        return self.bn(x)\n"
        "mode = 'eval'\ndef get_inputs():\n    return [torch.randn(32, 256)]\n"
    )
    values = task.draw(task.sizes[0], 3, "parameters_signed").values
    weight, variance = values["parameter:bn.weight"], values["buffer:bn.running_var"]
    assert isinstance(weight, torch.Tensor) and isinstance(variance, torch.Tensor)
    assert 0.3 < float((weight < 0).double().mean()) < 0.7 and float(weight.max()) > 3
    assert float(variance.min()) > 0


def test_a_case_that_the_reference_refuses_is_skipped_by_name(load: Load) -> None:
    task = load(
        "class Model(nn.Module):\n    def forward(self, p, t):\n"
        "        return nn.functional.binary_cross_entropy(p, t)\n"
        "def get_inputs():\n    return [torch.rand(64, 8), torch.randint(0, 2, (64, 8)).float()]\n"
    )
    assert "huge" not in task.cases() and "offset" not in task.cases()
    assert "raises" in task.skipped_cases["huge"]
    assert any("hard cases that do not apply" in note for note in task.info.notes)
    assert any(line.startswith("hard case huge: ") for line in task.info.unchecked)
    assert "constant_rows" in task.cases()


def test_integers_only_leave_random_draws(load: Load) -> None:
    task = load(forward="x + 1", inputs="torch.randint(0, 9, (64,))")
    assert task.cases() == ("random",)


def test_a_get_inputs_that_seeds_itself_is_still_redrawn(load: Load) -> None:
    task = load(
        "class Model(nn.Module):\n    def forward(self, x):\n        return x * 2\n"
        "def get_inputs():\n    torch.manual_seed(0)\n    return [torch.randn(16, 4)]\n"
    )
    size = task.sizes[0]
    assert not torch.equal(x_of(task.draw(size, 1)), x_of(task.draw(size, 2)))


def test_inputs_that_are_related_in_an_unknown_way_are_drawn_by_the_task_itself(load: Load) -> None:
    task = load(
        "class Model(nn.Module):\n    def forward(self, x, offsets):\n"
        "        assert int(offsets[-1]) == x.shape[0] and bool((offsets.diff() > 0).all())\n"
        "        return x.cumsum(0)[offsets - 1]\n"
        "def get_inputs():\n    cuts = torch.randperm(63)[:7].sort().values + 1\n"
        "    return [torch.randn(64, 8), torch.cat([cuts, torch.tensor([64])])]\n"
    )
    size = task.sizes[0]
    for seed in range(4):
        case = task.draw(size, seed)
        assert int(case.values["input:offsets"][-1]) == 64  # type: ignore[index]  # a tensor
        task.expected(size, case)
    assert not torch.equal(x_of(task.draw(size, 1)), x_of(task.draw(size, 2)))


def test_a_task_may_say_how_its_inputs_are_drawn(load: Load) -> None:
    task = load(
        "class Model(nn.Module):\n    def forward(self, x, n):\n        return x * n\n"
        "def get_inputs():\n    return [torch.rand(64, 64), torch.randint(0, 3, (64,))]\n"
        "def input_distributions():\n    return {'x': ('normal', 5, 2), 'n': ('integers', 10, 12)}\n"
    )
    values = task.draw(task.sizes[0], 8).values
    x, n = values["input:x"], values["input:n"]
    assert isinstance(x, torch.Tensor) and isinstance(n, torch.Tensor)
    assert abs(float(x.mean()) - 5) < 0.3 and abs(float(x.std()) - 2) < 0.3
    assert set(n.tolist()) == {10, 11, 12}


def test_two_inputs_that_are_always_equal_stay_equal(load: Load) -> None:
    task = load(
        "class Model(nn.Module):\n    def forward(self, q, k):\n        return q @ k.T\n"
        "def get_inputs():\n    x = torch.randn(16, 8)\n    return [x, x.clone()]\n"
    )
    for name in task.cases():
        values = task.draw(task.sizes[0], 2, name).values
        assert torch.equal(torch.as_tensor(values["input:q"]), torch.as_tensor(values["input:k"])), name


def test_what_holds_for_the_inputs_of_one_size_holds_for_all(load: Load) -> None:
    sizes = "n = 64\nsizes = {'small': {'n': 64}, 'odd': {'n': 33}, 'long': {'n': 90}}\n"
    model = "class Model(nn.Module):\n    def forward(self, x):\n        return x.log()\n"
    inputs = "def get_inputs():\n    return [torch.rand(n, 64) + 1]\n"
    declared = load(
        sizes + model + inputs + "def input_distributions():\n    return {'x': ('uniform', 5, 6)}\n"
    )
    undeclared = declared.random_sizes(random.Random(5))
    for size in [*declared.sizes, *undeclared]:
        x = x_of(declared.draw(size, 3))
        assert float(x.min()) >= 5 and float(x.max()) <= 6, size

    picky = "class Model(nn.Module):\n    def forward(self, x):\n        assert x[0, 0] == 7\n        return x + 1\n"
    own = "def get_inputs():\n    x = torch.randn(n, 64)\n    x[0, 0] = 7 + (x.mean() > 9)\n    return [x]\n"
    replayed = load(sizes + picky + own)
    for size in replayed.sizes:
        case = replayed.draw(size, 3)
        assert float(x_of(case)[0, 0]) == 7
        replayed.expected(size, case)
