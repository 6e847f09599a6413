"""The signature that most plans here are written against, and short ways to write and read them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workbench.core.plan import NotCovered, Plan, PlanFailure
from workbench.core.task import Output, Parameter, SizeSpec
from workbench.core.tensors import contiguous
from workbench.dialect.source import CandidateSource, join, split

Evaluate = Callable[..., Any]
"""The fixture `evaluate`."""

DEVICE = 'extern "C" __global__ void k(const float* x, float* y, int n) {}\n'


def size_of(rows: int, cols: int, name: str = "small") -> SizeSpec:
    """A normalisation with a linear layer behind it: inputs, parameters, scalars, an optional one that is None."""
    return SizeSpec(
        name=name,
        values={"rows": rows, "cols": cols},
        parameters=(
            Parameter("x", "x", "input", contiguous((rows, cols), "float32")),
            Parameter("mask", "mask", "input", None, None),
            Parameter("layers_0_weight", "layers.0.weight", "parameter", contiguous((cols,), "float32")),
            Parameter("norm_a_eps", "norm.a.eps", "attribute", None, 1e-5),
            Parameter("norm_b_eps", "norm.b.eps", "attribute", None, 1e-6),
            Parameter("groups", "groups", "attribute", None, 4),
            Parameter("causal", "causal", "attribute", None, True),
        ),
        outputs=(Output("out", contiguous((rows, cols), "float32")),),
    )


SIZE = size_of(64, 512)


def source_of(plan: str, device: str = DEVICE) -> CandidateSource:
    source = split(join(device, plan).encode())
    assert isinstance(source, CandidateSource), source
    return source


def forward(*body: str, parameters: str = "x") -> str:
    """A plan with this body; its `def` is line 2 of the file, its first body line 3."""
    return f"def forward({parameters}):\n" + "".join(f"    {line}\n" for line in body)


def plan_of(answer: Plan | NotCovered | PlanFailure) -> Plan:
    assert isinstance(answer, Plan), answer
    return answer


def error_of(answer: Any, line: int | None = None) -> str:
    """The one error of a failure, after checking its line."""
    assert isinstance(answer, PlanFailure), answer
    assert len(answer.diagnostics) == 1
    if line is not None:
        assert answer.diagnostics[0].line == line, answer
    return answer.diagnostics[0].message
