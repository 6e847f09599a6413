"""Which sizes a task has, how a small one is derived, and what may differ between them."""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Mapping

import pytest

from workbench.core.errors import TaskError
from workbench.judge.worker.task.drawn_sizes import MOST_STRETCHED, TAIL_SIZES, drawn_values
from workbench.judge.worker.task.limits import HOST_WORK, WHOLE_WORK
from workbench.judge.worker.task.literals import literals, override
from workbench.judge.worker.task.loaded import LoadedTask
from workbench.judge.worker.task.shrinking import shrunk

Load = Callable[..., LoadedTask]
Loaded = Callable[[str], LoadedTask]


def execute(source: str, **values: int) -> dict[str, object]:
    namespace: dict[str, object] = {}
    exec(compile(override(source, "task.py", values), "task.py", "exec"), namespace)
    return namespace


def test_overridden_globals_carry_what_is_derived_from_them() -> None:
    source = "N = 2048 * 2\nM = N // 4\nif True:\n    N = N + 0\nshape = (N, 64)\n"
    assert execute(source, N=16)["shape"] == (16, 64)
    assert execute(source, N=16)["M"] == 4
    assert execute(source, M=7)["M"] == 7


def test_integers_inside_tuples_calls_classes_and_functions_have_labels() -> None:
    source = (
        "shape = (16, (1 << 8), 'a')\nconfig = dict(hidden=768, eps=1e-5)\na, b = 4, 5 * 2\n"
        "class Config:\n    layers: int = 12\n"
        "class Model:\n    def __init__(self, width=32, *, deep=3): pass\n"
        "def get_inputs():\n    return [rand(1024, n=int(1e3))]\n"
    )
    found = {literal.label: literal.value for literal in literals(ast.parse(source))}
    assert found == {
        "shape[0]": 16,
        "shape[1]": 256,
        "config.hidden": 768,
        "a": 4,
        "b": 10,
        "Config.layers": 12,
        "Model.__init__(width)": 32,
        "Model.__init__(deep)": 3,
        "get_inputs[0]": 1024,
        "get_inputs[1]": 1000,
    }
    changed = execute(source, **{"shape[1]": 8, "config.hidden": 4, "Config.layers": 2})
    assert changed["shape"] == (16, 8, "a")
    assert changed["config"] == {"hidden": 4, "eps": 1e-5}
    assert changed["Config"].layers == 2  # type: ignore[attr-defined]  # the class is made above


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(TaskError, match=r"overrides 'Q'.*top-level names are: N"):
        override("N = 1\n", "task.py", {"Q": 1})


@pytest.mark.parametrize(
    ("value", "target", "expected"),
    [
        (4096, 8, 8),
        (768, 8, 12),
        (12, 8, 12),
        (1000, 16, 20),
        (393216, 64, 96),
        (1021, 16, 17),
        (7, 8, 7),
        (50, 4, 5),
    ],
)
def test_shrinking_keeps_divisors(value: int, target: int, expected: int) -> None:
    assert shrunk(value, target) == expected


def test_heads_and_widths_are_shrunk_together(loaded: Loaded) -> None:
    values = loaded("attention").sizes[0].values
    assert values["n_embd"] % values["n_head"] == 0 and values["seq_len"] <= values["max_seqlen"]


def test_a_whole_task_that_is_small_is_judged_as_it_is(load: Load) -> None:
    info = load(forward="x * 2", inputs="torch.randn(64, 128)").info
    assert [s.name for s in info.sizes] == ["full"] and not info.derived_small
    assert not info.unchecked


def test_integers_written_into_get_inputs_are_shrunk_too(load: Load) -> None:
    info = load(forward="x.sum(1)", inputs="torch.rand(65536, 65536)").info
    small, full = info.sizes
    assert (
        info.derived_small
        and small.parameters[0].tensor is not None
        and full.parameters[0].tensor is not None
    )
    assert small.parameters[0].tensor.numel <= HOST_WORK
    assert full.parameters[0].tensor.shape == (65536, 65536) and not full.judged
    assert full.bytes_moved == 65536 * 65536 * 4 + 65536 * 4


def test_declared_sizes_come_in_order_and_what_differs_is_free(loaded: Loaded) -> None:
    info = loaded("globals_by_size").info
    assert [(s.name, s.judged) for s in info.sizes] == [("small", True), ("medium", True), ("full", False)]
    assert info.sizes[2].values == {"SEQ": 4096, "DIM": 512}
    assert set(info.free_dims) == {"SEQ", "DIM"}
    assert not info.derived_small
    assert any(u.startswith("size full (SEQ=4096, DIM=512): too large for the host") for u in info.unchecked)


def test_sizes_may_be_arguments_of_get_inputs(loaded: Loaded) -> None:
    task = loaded("inputs_by_size")
    shapes = {s.name: s.parameters[0].tensor.shape for s in task.sizes if s.parameters[0].tensor is not None}
    assert shapes == {"small": (24, 96), "decode": (1, 8192), "full": (65536, 8192)}
    assert task.info.own_kernels_only and task.tolerance == {"rtol": 1e-3, "atol": 1e-3}
    assert task.options.weights == {"full": 3.0, "decode": 1.0}


def test_the_module_as_it_stands_is_the_full_size_where_only_small_is_declared(load: Load) -> None:
    info = load(
        "N = 1 << 20\nsizes = {'small': {'N': 64}}\n"
        "class Model(nn.Module):\n    def forward(self, x):\n        return x + 1\n"
        "def get_inputs():\n    return [torch.randn(N, 16)]\n"
    ).info
    assert [(s.name, s.values["N"], s.judged) for s in info.sizes] == [
        ("small", 64, True),
        ("full", 1 << 20, False),
    ]
    assert info.free_dims == ("N",)


def test_a_signature_is_found_at_any_other_size(loaded: Loaded) -> None:
    task = loaded("globals_by_size")
    spec = task.size_at({"SEQ": 19})
    assert spec is not None and spec.judged and spec.outputs[0].tensor.shape == (2, 19, 64)
    assert task.size_at({"SEQ": 19}) is spec
    assert task.size_at({"DIM": 65}) is None, "8 heads do not divide 65"
    huge = task.size_at({"SEQ": 1 << 17})
    assert huge is not None and not huge.judged
    expected = task.expected(spec, task.draw(spec, 1))
    assert expected.eager[0].shape == (2, 19, 64)
    with pytest.raises(TaskError, match="too large for the host"):
        task.draw(huge, 1)


def test_random_sizes_run_and_are_not_the_declared_ones(loaded: Loaded, seed: int) -> None:
    for name in ("globals_by_size", "inputs_by_size"):
        task = loaded(name)
        sizes = task.random_sizes(random.Random(seed))
        assert 2 <= len(sizes) <= 2 + TAIL_SIZES, name
        known = [s.values for s in task.sizes]
        for size in sizes:
            assert size.judged and size.values not in known
            task.expected(size, task.draw(size, 2))
        again = task.random_sizes(random.Random(seed))
        assert [s.values for s in again] == [s.values for s in sizes]
    assert loaded("softmax").random_sizes(random.Random(1)) == []


def product_of(names: list[str], small: int, full: int) -> str:
    """A task that multiplies by two, with these free dimensions."""
    sizes = {"small": dict.fromkeys(names, small), "full": dict.fromkeys(names, full)}
    return (
        f"{', '.join(names)}, = {(full,) * len(names)}\nsizes = {sizes}\n"
        "class Model(nn.Module):\n    def forward(self, x):\n        return x * 2\n"
        f"def get_inputs():\n    return [torch.randn({', '.join(names)})]\n"
    )


def beside_whole_warps(value: int) -> bool:
    return any((value - tail) % 32 == 0 and value > tail for tail in (1, 2, 3, -1, 4, 12))


@pytest.mark.parametrize(
    ("names", "small", "full", "far"),
    [
        (["a"], 64, 1 << 22, 1 << 16),
        (["a", "b"], 16, 4096, 500),
        (["a", "b", "c"], 16, 512, 60),
        (["a", "b", "c", "d"], 8, 128, 30),
    ],
)
def test_each_free_dimension_is_drawn_as_long_as_declared_and_far_out_with_a_tail(
    names: list[str], small: int, full: int, far: int, load: Load, seed: int
) -> None:
    task = load(product_of(names, small, full))
    assert sorted(task.info.free_dims) == names
    for number in range(5):
        sizes = [s.values for s in task.random_sizes(random.Random(seed + number))]
        assert len(sizes) == len(names) + TAIL_SIZES, sizes
        stretched, tails = sizes[: len(names)], sizes[len(names) :]
        for name in names:
            longest = max(s[name] for s in stretched)
            assert longest == full if len(names) > 1 else longest > far, (name, stretched)
            assert any(s[name] > far and beside_whole_warps(s[name]) for s in tails), (name, tails)


def test_a_matrix_product_has_a_tail_in_each_extent_far_beyond_what_is_declared_to_run(seed: int) -> None:
    free = {"m": (8, 2048), "k": (14, 4096), "n": (11, 1024)}

    def work(v: Mapping[str, int]) -> int:
        return 2 * v["m"] * v["k"] * v["n"]

    for number in range(200):
        drawn = list(drawn_values(random.Random(seed + number), free, work, lambda v: work(v) <= WHOLE_WORK))
        assert len(drawn) == 5
        for name in free:
            assert any(v[name] > 32 and beside_whole_warps(v[name]) for v in drawn[3:]), (name, drawn)


def test_of_many_free_dimensions_some_are_stretched_and_others_the_next_time(seed: int) -> None:
    free = {name: (2, 64) for name in "abcdef"}
    stretched: set[str] = set()
    for number in range(40):
        drawn = list(drawn_values(random.Random(seed + number), free, lambda v: 1, lambda v: True))
        assert len(drawn) == MOST_STRETCHED + TAIL_SIZES
        stretched |= {name for name in free for v in drawn[:MOST_STRETCHED] if v[name] == 64}
    assert stretched == set(free)


def test_a_dimension_that_takes_whole_blocks_alone_leaves_the_other_its_tail(load: Load, seed: int) -> None:
    source = product_of(["a", "b"], 64, 1024)
    task = load(source.replace("return x", "assert x.shape[1] % 8 == 0\n        return x"))
    for number in range(5):
        sizes = [s.values for s in task.random_sizes(random.Random(seed + number))]
        assert len(sizes) == 4 and all(s["b"] % 8 == 0 for s in sizes)
        assert any(s["b"] == 1024 for s in sizes) and any(s["a"] == 1024 for s in sizes)
        assert any(s["a"] > 250 and beside_whole_warps(s["a"]) for s in sizes[2:]), sizes


def test_a_size_without_meta_kernels_is_named_as_unchecked(load: Load) -> None:
    info = load(forward="x * int(x.abs().max().item() + 1)", inputs="torch.rand(1 << 12, 1 << 12)").info
    assert [s.name for s in info.sizes] == ["small"] and info.derived_small
    assert any(line.startswith("size full: its shapes are not known here") for line in info.unchecked)


def test_every_load_finds_the_same_small_size(loaded: Loaded, load: Load) -> None:
    from pathlib import Path

    path = Path(loaded("conv_bn_relu").info.path)
    again = load(path.read_text())
    assert again.sizes[0].values == loaded("conv_bn_relu").sizes[0].values
