"""What `workbench dialect` prints is true: its words exist, its skeletons evaluate and compile."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.core.plan import Launch, Plan, limits_for
from workbench.core.task import Output, Parameter, SizeSpec, TaskInfo
from workbench.core.tensors import ITEMSIZE, TensorSpec, contiguous
from workbench.dialect.check import check_outputs
from workbench.dialect.planner import Planner
from workbench.dialect.reference import DIALECT, EXAMPLE, reference
from workbench.dialect.skeleton import skeleton
from workbench.dialect.source import CandidateSource, split


def evaluated(planner: Planner, text: str, sizes: list[SizeSpec]) -> list[Plan]:
    source = split(text.encode())
    assert isinstance(source, CandidateSource), source
    answers = planner.evaluate(source, sizes)
    assert isinstance(answers, list), (answers, text)
    plans = [plan for plan in answers if isinstance(plan, Plan)]
    assert len(plans) == len(sizes), (answers, text)
    for plan, size in zip(plans, sizes, strict=True):
        assert check_outputs(plan, size) == (), text
    return plans


def test_the_example_skeleton_evaluates(planner: Planner) -> None:
    (plan,) = evaluated(planner, skeleton([EXAMPLE]), [EXAMPLE])
    (launch,) = plan.steps
    assert isinstance(launch, Launch)
    assert len(launch.args) == 5


def test_the_text_holds_what_a_writer_needs() -> None:
    text = reference(None, limits_for("sm_86"), "sm_86")
    for word in (
        "/*@plan",
        "launch(",
        "tune(",
        "require(",
        "101,376",
        "SKELETON",
        "layer_norm",
        "EXAMPLE SIGNATURE",
    ):
        assert word in text
    assert max(map(len, DIALECT.split("\n"))) <= 130


def test_a_task_is_printed_at_each_of_its_sizes() -> None:
    x = contiguous((4, 8), "float32")
    sizes = tuple(
        SizeSpec(
            name,
            {"rows": 4},
            (Parameter("x", "x", "input", x), Parameter("cache", "cache", "buffer", x, mutable=True)),
            (Output("out", x), Output("same", x, input="buffer:cache")),
            judged=judged,
        )
        for name, judged in (("small", True), ("full", False))
    )
    info = TaskInfo(
        name="demo",
        path="demo.py",
        fingerprint="f",
        environment="e",
        source="",
        sources=(),
        sizes=sizes,
        derived_small=False,
        free_dims=("rows",),
        own_kernels_only=True,
        notes=("a note",),
    )
    text = reference(info, limits_for("sm_90a"))
    assert "size full (not run on this target): forward(x: float32[4, 8]" in text
    assert "written in place: cache" in text
    assert "same is buffer:cache" in text
    assert "must work at any value of: rows" in text
    assert "note: a note" in text
    assert "LIBRARY STEPS" not in text
    assert "const float* __restrict__ x" in text
    assert " float* __restrict__ cache" in text


def test_every_function_that_the_text_names_is_in_a_plan() -> None:
    from workbench.core.plan import LaunchLimits
    from workbench.dialect.builder import PlanBuilder
    from workbench.dialect.language import Words

    names = set(Words(PlanBuilder(EXAMPLE, LaunchLimits()), {}).namespace())
    section = DIALECT.partition("THE PLAN")[2].partition("Returned tensors")[0]
    called = set(re.findall(r"\b([a-z_0-9]+)\(", section)) - {"forward", "backward", "rmsnorm"}
    assert called <= names, called - names
    assert len(called) >= 18


_EXTENTS = st.integers(1, 3).map(lambda i: (1, 5, 64)[i - 1])
_DTYPES = st.sampled_from([d for d in ITEMSIZE if not d.startswith("complex")])
_NAMES = st.sampled_from(
    [
        "x",
        "y",
        "int",
        "lambda",
        "class",
        "kernel",
        "count",
        "i",
        "BLOCK",
        "max",
        "params",
        "launch",
        "template",
        "é",
        "w_0",
    ]
)


@st.composite
def _signatures(draw: st.DrawFn) -> list[SizeSpec]:
    """A signature of any inputs, at two sizes that differ in one extent."""
    names = draw(st.lists(_NAMES, min_size=1, max_size=6, unique=True))
    roles = [draw(st.sampled_from(["input", "parameter", "buffer"])) for _ in names]
    shapes = [draw(st.lists(st.sampled_from(["N", 1, 5, 64]), max_size=3)) for _ in names]
    dtypes = [draw(_DTYPES) for _ in names]
    scalars = draw(st.lists(st.sampled_from([1, 2.5, True, None, "s", 1 << 40]), max_size=3))
    outputs = draw(st.lists(st.tuples(st.sampled_from(shapes), _DTYPES), max_size=3))

    def at(n: int, name: str) -> SizeSpec:
        def spec(shape: list, dtype: str) -> TensorSpec:
            return contiguous(tuple(n if e == "N" else e for e in shape), dtype)

        return SizeSpec(
            name,
            {"N": n},
            (
                *(
                    Parameter(a, a, r, spec(s, d), mutable=r == "buffer")  # type: ignore[arg-type]  # a role, as literals above
                    for a, r, s, d in zip(names, roles, shapes, dtypes, strict=True)
                ),
                *(Parameter(f"s{i}", f"m.s{i}", "attribute", None, v) for i, v in enumerate(scalars)),
            ),
            tuple(Output(f"out_{i}", spec(s, d)) for i, (s, d) in enumerate(outputs)),
        )

    return [at(37, "small"), at(41, "full")]


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(sizes=_signatures())
def test_a_skeleton_evaluates_at_every_size_of_any_signature(planner: Planner, sizes: list[SizeSpec]) -> None:
    evaluated(planner, skeleton(sizes), sizes)


@pytest.mark.parametrize(
    ("extents", "expression"),
    [
        (((16, 14), (64, 62)), "x.shape[1] - 2"),  # a convolution without padding
        (((16, 8), (64, 32)), "x.shape[1] // 2"),  # a pooling
        (((15, 8), (63, 32)), "(x.shape[1] + 1) // 2"),  # one with stride and padding
        (((4, 9), (7, 15)), "2 * x.shape[1] + 1"),  # a transposed convolution
        (((4, 9), (7, 11)), "{4: 9, 7: 11}[x.shape[1]]"),  # anything else
        (((4, 9), (7, 15), (8, 18)), "{4: 9, 7: 15, 8: 18}[x.shape[1]]"),
        (((4, 7), (9, 7)), "7"),
    ],
)
def test_an_outputs_extent_is_written_by_the_inputs_so_that_it_holds_at_every_size(
    planner: Planner, extents: tuple[tuple[int, int], ...], expression: str
) -> None:
    sizes = [
        SizeSpec(
            f"s{n}",
            {},
            (Parameter("x", "x", "input", contiguous((3, given), "float32")),),
            (Output("out", contiguous((wanted, 5), "float32")),),
        )
        for n, (given, wanted) in enumerate(extents)
    ]
    text = skeleton(sizes)
    assert f"y = empty(({expression}, 5), 'float32')" in text
    evaluated(planner, text, sizes)


@pytest.mark.skipif(not shutil.which("g++"), reason="no g++ here")
def test_a_skeleton_is_c_plus_plus(tmp_path: Path) -> None:
    size = SizeSpec(
        "s",
        {},
        (
            Parameter("int", "int", "input", contiguous((4, 8), "float32")),
            Parameter("template", "template", "parameter", contiguous((8,), "int64")),
            Parameter("flag", "flag", "attribute", None, True),
            Parameter("big", "big", "attribute", None, 1 << 40),
        ),
        (Output("a", contiguous((4, 8), "bool")), Output("b", contiguous((8,), "float64"))),
    )
    source = split(skeleton([size]).encode())
    assert isinstance(source, CandidateSource)
    file = tmp_path / "skeleton.cpp"
    file.write_text(
        "#define __global__\nstruct { long long x; } blockIdx, blockDim, threadIdx;\n" + source.device
    )
    done = subprocess.run(
        ["g++", "-std=c++17", "-fsyntax-only", "-Wall", file], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
