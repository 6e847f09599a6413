"""The signature, side effects, and a reference in double precision that is the same function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from workbench.core.task import SizeSpec
from workbench.judge.worker.task.expected import one_ulp
from workbench.judge.worker.task.loaded import LoadedTask
from workbench.judge.worker.task.reference import Call, Reference

Load = Callable[..., LoadedTask]
Loaded = Callable[[str], LoadedTask]


def judged(task: LoadedTask) -> SizeSpec:
    return task.sizes[0]


def tensor(value: object) -> torch.Tensor:
    assert isinstance(value, torch.Tensor)
    return value


def test_nested_inputs_have_names(loaded: Loaded) -> None:
    size = judged(loaded("kwargs_dict"))
    names = {p.key: p.name for p in size.parameters if p.role == "input"}
    assert names["batch.hidden"] == "batch_hidden" and names["pair.1"] == "pair_1"
    by_path = size.by_path()
    assert by_path["input:batch.mask"].tensor is None and by_path["input:batch.mask"].value is None
    assert by_path["input:batch.scale"].value == 0.5 and by_path["input:residual"].value is True
    assert [o.name for o in size.outputs] == ["out_0", "out_1_hidden"]
    assert any("out.1.scale" in line for line in loaded("kwargs_dict").info.unchecked)


def test_state_and_attributes_have_names(loaded: Loaded) -> None:
    size = judged(loaded("config_object"))
    by_key = {p.key: p for p in size.parameters}
    assert by_key["layers.0.norm.weight"].name == "layers_0_norm_weight"
    assert by_key["layers.0.norm.eps"].value == 1e-6 and by_key["config.norm_eps"].name == "config_norm_eps"
    recurrent = {p.key for p in judged(loaded("lstm")).parameters}
    assert {"lstm.weight_ih_l0", "lstm.bias_hh_l2", "fc.weight"} <= recurrent
    plain = {p.key: p.role for p in judged(loaded("gru")).parameters}
    assert plain["h0"] == "buffer", "a tensor that is a plain attribute can be read by a candidate"
    conv = {p.key: p.value for p in judged(loaded("conv_bn_relu")).parameters if p.role == "attribute"}
    assert conv["conv.stride.0"] == 2 and conv["bn.eps"] == 1e-5 and conv["conv.groups"] == 4
    masks = {p.key: p.role for p in judged(loaded("attention")).parameters}
    assert masks["bias"] == "buffer"


def test_an_input_written_in_place_is_mutable_and_each_call_gets_a_fresh_copy(loaded: Loaded) -> None:
    task = loaded("huge_relu_inplace")
    size = judged(task)
    assert size.by_path()["input:x"].mutable and size.outputs[0].input == "input:x"
    case = task.draw(size, 4)
    before = tensor(case.values["input:x"]).clone()
    first, second = task.expected(size, case), task.expected(size, case)
    assert torch.equal(tensor(case.values["input:x"]), before)
    assert torch.equal(first.mutated["input:x"], before.relu())
    assert torch.equal(first.eager[0], second.eager[0])
    assert first.exact_mutated is not None and first.exact_mutated["input:x"].dtype == torch.float64
    assert first.perturbed_mutated is not None
    moved = first.perturbed_mutated["input:x"] - first.exact_mutated["input:x"]
    assert 0 < float(moved.abs().max()) <= 2.0**-23 * float(before.abs().max())


def test_a_double_that_writes_something_else_in_place_is_no_fp64_reference(load: Load) -> None:
    """Rounded to eight bits in eager only: a candidate that stores what the task says must not be called inaccurate."""
    written = """
class Model(nn.Module):
    def forward(self, cache, row):
        cache[0] = row.bfloat16() if row.dtype == torch.float32 else row
        return row * 2
def get_inputs():
    return [torch.randn(4, 64), torch.randn(64)]
"""
    task = load(written)
    case = task.draw(judged(task), 1)
    expected = task.expected(judged(task), case)
    assert expected.exact is None and expected.exact_mutated is None
    assert any("cache, as written in place, differs" in why for why in task.info.unchecked), (
        task.info.unchecked
    )


def test_what_a_buffer_held_after_a_call_is_kept_before_the_next_call_changes_it(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = load(
        "class Model(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.register_buffer('cache', torch.randn(8, 4))\n"
        "    def forward(self, x):\n        self.cache.mul_(0.5).add_(x)\n        return self.cache.sum(-1)\n"
        "def get_inputs():\n    return [torch.randn(8, 4)]\n"
    )
    size = judged(task)
    case, other = task.draw(size, 1), task.draw(size, 2)

    def after() -> list[torch.Tensor]:
        expected = task.expected(size, case)
        found = [m for m in (expected.mutated, expected.exact_mutated, expected.perturbed_mutated) if m]
        return [m["buffer:cache"] for m in found]

    alone = after()
    plain = Reference._call

    def with_another_thread_behind(
        self: Reference, model: Any, state: Any, *args: Any, **kwargs: Any
    ) -> Call:
        call = plain(self, model, state, *args, **kwargs)
        plain(self, model, state, other.values, *args[1:], **kwargs)
        return call

    monkeypatch.setattr(Reference, "_call", with_another_thread_behind)
    assert len(alone) == 3 and all(map(torch.equal, after(), alone))


def test_a_cache_and_a_counter_are_mutable(loaded: Loaded) -> None:
    task = loaded("kv_cache")
    size = judged(task)
    assert {p.path for p in size.parameters if p.mutable} == {"input:cache", "buffer:steps"}
    expected = [task.expected(size, task.draw(size, 1)) for _ in range(2)]
    assert all(float(e.mutated["buffer:steps"][0]) == 1.0 for e in expected)
    assert size.outputs[1].input == "input:cache" and size.outputs[0].input is None


def test_running_statistics_are_side_effects_and_never_leak_into_the_next_call(loaded: Loaded) -> None:
    task = loaded("conv_bn_relu")
    size = judged(task)
    assert task.info.mode == "train" and not any(p.mutable for p in size.parameters)
    assert any("side effects, not compared" in note and "bn.running_mean" in note for note in task.info.notes)
    for _ in range(2):
        case = task.draw(size, 3)
        task.expected(size, case)
        assert float(tensor(case.values["buffer:bn.running_mean"]).abs().max()) == 0


def test_an_input_that_is_returned_is_named(loaded: Loaded) -> None:
    outputs = judged(loaded("returns_input")).outputs
    assert [o.input for o in outputs] == ["input:x", None]
    assert not any(p.mutable for p in judged(loaded("returns_input")).parameters)


def test_positions_are_told_from_counts(loaded: Loaded) -> None:
    outputs = {o.name: o.index for o in judged(loaded("topk_router")).outputs}
    assert outputs == {"out_weights": False, "out_chosen": True, "out_first": True, "out_count": False}
    assert judged(loaded("argmax")).outputs[0].index


def test_dropout_is_judged_in_eval_mode_and_said(loaded: Loaded) -> None:
    info = loaded("dropout_train").info
    assert info.mode == "eval" and "random in train mode, so it is judged in eval mode" in info.notes


def test_a_task_may_choose_its_mode(load: Load) -> None:
    text = (
        "class Model(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.bn = nn.BatchNorm1d(16)\n    def forward(self, x):\n        return self.bn(x)\n"
        "def get_inputs():\n    return [torch.randn(32, 16)]\n"
    )
    assert load(text).info.mode == "train"
    task = load("mode = 'eval'\n" + text)
    assert task.info.mode == "eval" and not any("side effects" in note for note in task.info.notes)


def test_downcasts_inside_a_module_are_lifted(load: Load) -> None:
    task = load(
        forward="(x.float().to(torch.float32) / 3 + torch.full((16,), 0.1) + torch.arange(16) / 7 "
        "+ torch.zeros(16, dtype=torch.float32)).type(torch.FloatTensor)",
    )
    size = judged(task)
    case = task.draw(size, 6)
    exact = task.expected(size, case).exact
    assert exact is not None and task.info.reference == "fp64, whole, on the CPU"
    wide = tensor(case.values["input:x"]).double()
    by_hand = wide / 3 + 0.1 + torch.arange(16, dtype=torch.float64) / 7
    assert float((exact[0] - by_hand).abs().max()) < 1e-14
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("value", ["max", "min", "median", "nanmedian"])
def test_the_largest_or_middle_one_of_integers_is_a_value_and_no_position(value: str, load: Load) -> None:
    task = load(forward=f"getattr(x, {value!r})()", inputs="torch.randint(0, 1000, (64, 16))")
    assert not judged(task).outputs[0].index
    along = load(forward=f"getattr(x, {value!r})(1).indices", inputs="torch.randn(64, 16)")
    assert judged(along).outputs[0].index


@pytest.mark.parametrize(
    "written",
    [
        "out[self.places] = x * 3",
        "out[self.places, :] = self.table[self.places // 2] * x",
        "out.index_copy_(0, self.places, x * 3)",
        "out[self.places] = GLOBAL[self.places] + self.places[:, None] / 3 + x",
    ],
)
def test_a_module_that_writes_to_positions_has_its_exact_reference(written: str, load: Load) -> None:
    task = load(
        "GLOBAL = torch.linspace(0, 1, 128)[:, None]\n"
        "class Model(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.register_buffer('places', torch.arange(0, 128, 2))\n"
        "        self.table = torch.linspace(0, 1, 64)[:, None]\n"
        f"    def forward(self, x):\n        out = torch.zeros(128, 16)\n        {written}\n        return out\n"
        "def get_inputs():\n    return [torch.randn(64, 16)]\n"
    )
    assert task.info.reference == "fp64, whole, on the CPU", task.info.reference
    exact = task.expected(judged(task), task.draw(judged(task), 6)).exact
    assert exact is not None and exact[0].dtype == torch.float64 and bool((exact[0][1::2] == 0).all())


def test_a_module_that_is_another_function_in_double_has_no_exact_reference(load: Load) -> None:
    task = load(forward="x.contiguous().view(torch.int32).float() * 1e-9", inputs="torch.randn(64, 16)")
    assert task.info.reference.startswith("eager, on the CPU:")
    assert any(line.startswith("precision:") for line in task.info.unchecked)
    expected = task.expected(judged(task), task.draw(judged(task), 1))
    assert expected.exact is None and expected.perturbed is None and len(expected.eager) == 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_one_ulp_is_one_step_of_the_dtype(dtype: torch.dtype) -> None:
    x = torch.cat([torch.randn(999), torch.zeros(1)]).to(dtype)
    moved = one_ulp(x, torch.Generator().manual_seed(1))
    assert float(moved[-1]) == 0 and bool((moved != x)[:-1].all())
    step = ((moved.double() - x.double()).abs() / x.double().abs())[:-1]
    assert float(step.max()) <= torch.finfo(dtype).eps * 1.01


def test_a_perturbed_reference_shows_how_conditioned_a_task_is(load: Load) -> None:
    steady = load(forward="x.sum(-1)", inputs="torch.rand(64, 256)")
    size = judged(steady)
    changes = []
    for name in ("random", "offset"):
        expected = steady.expected(size, steady.draw(size, 9, name))
        assert expected.exact is not None and expected.perturbed is not None
        changes.append(float((expected.exact[0] - expected.perturbed[0]).abs().max()))
    assert 0 < changes[0] < changes[1]


def test_python_state_between_calls_is_restored(load: Load) -> None:
    task = load(
        "class Model(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.calls = 0\n"
        "    def forward(self, x):\n        self.calls += 1\n        return x * self.calls\n"
        "def get_inputs():\n    return [torch.randn(8, 16)]\n"
    )
    assert any("keeps Python state" in note for note in task.info.notes)
    size = judged(task)
    for _ in range(3):
        case = task.draw(size, 1)
        expected = task.expected(size, case)
        assert torch.equal(expected.eager[0], tensor(case.values["input:x"]))
        assert expected.exact is not None and torch.equal(expected.exact[0], expected.eager[0].double())


def test_a_task_that_asks_for_cuda_runs_on_the_cpu_and_says_so(loaded: Loaded) -> None:
    info = loaded("wants_cuda_redirected").info
    assert "the task asks for CUDA; it ran on the CPU" in info.notes


def test_trivial_tasks_are_warned_about(load: Load, loaded: Loaded) -> None:
    assert any("same whatever the inputs" in note for note in load(forward="torch.ones(4)").info.notes)
    ignoring = load(
        "class Model(nn.Module):\n    def forward(self, x, y):\n        return x * 2\n"
        "def get_inputs():\n    return [torch.randn(4, 5), torch.randn(3)]\n"
    )
    assert "trivial: the reference ignores y" in ignoring.info.notes
    assert "trivial: the reference ignores img" in loaded("vit_patches").info.notes, (
        "its attention runs over the batch"
    )
    assert not any(note.startswith("trivial") for note in loaded("attention").info.notes)


def test_bytes_and_operations_are_counted(loaded: Loaded) -> None:
    full = loaded("square_matmul").sizes[-1]
    assert full.flops == 2 * 4096**3 and full.bytes_moved == 3 * 4096**2 * 4
    recurrent = loaded("lstm").sizes[-1]
    gates = 4 * 256 * (128 + 256) + 5 * 4 * 256 * (256 + 256)
    assert recurrent.flops == 2 * 10 * 512 * gates + 2 * 10 * 256 * 10


def test_a_reference_may_be_called_from_two_threads(loaded: Loaded) -> None:
    from concurrent.futures import ThreadPoolExecutor

    task = loaded("conv_bn_relu")
    size = judged(task)
    alone = [task.expected(size, task.draw(size, seed)) for seed in range(6)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda seed: task.expected(size, task.draw(size, seed)), range(6)))
        exact = list(pool.map(lambda e: e.exact, together))
    for one, other, wide in zip(alone, together, exact, strict=True):
        assert torch.equal(one.eager[0], other.eager[0])
        assert wide is not None and one.exact is not None and torch.equal(wide[0], one.exact[0])


def test_autocast_is_part_of_eager_and_not_of_the_exact_reference(load: Load) -> None:
    text = (
        "class Model(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.linear = nn.Linear(64, 64)\n    def forward(self, x):\n        return self.linear(x).float()\n"
        "def get_inputs():\n    return [torch.randn(32, 64)]\n"
    )
    errors = []
    for head in ("", "autocast = 'bf16'\n"):
        task = load(head + text)
        size = judged(task)
        expected = task.expected(size, task.draw(size, 5))
        assert expected.exact is not None and expected.eager[0].dtype == torch.float32
        errors.append(float((expected.eager[0].double() - expected.exact[0]).abs().max()))
    assert errors[0] < 1e-5 < 1e-3 < errors[1]
