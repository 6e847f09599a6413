"""The sweep: every setting that the plan takes, once, written into the file; a seeded sample where there are many."""

from __future__ import annotations

import math

import pytest

from workbench.core.errors import UsageError
from workbench.core.plan import Knob, LaunchLimits, Plan
from workbench.core.task import Output, Parameter, SizeSpec, TaskInfo
from workbench.core.tensors import contiguous
from workbench.dialect.planner import Planner
from workbench.dialect.source import CandidateSource, split
from workbench.evolve.sweep import Sweep

SPEC = contiguous((64, 512), "float32")
SIZE = SizeSpec("small", {}, (Parameter("x", "x", "input", SPEC),), (Output("out", SPEC),))
TASK = TaskInfo(
    name="t",
    path="t.py",
    fingerprint="f",
    environment="e",
    source="",
    sources=(),
    sizes=(SIZE,),
    derived_small=False,
)


def candidate(knobs: str, require: str = "True") -> bytes:
    return f"""// a comment that stays
/*@plan
{knobs}
require({require}, "fits")

def forward(x):
    y = empty_like(x)
    launch("k", grid=64, block=128, args=[x, y])
    return y
@*/
extern "C" __global__ void k(const float* x, float* y) {{}}
""".encode()


def knobs_of(source: bytes) -> tuple[Knob, ...]:
    """As a verdict would name them: from the plan itself."""
    parts = split(source)
    assert isinstance(parts, CandidateSource)
    with Planner() as planner:
        plans = planner.evaluate(parts, [SIZE])
    assert isinstance(plans, list) and isinstance(plans[0], Plan), plans
    return plans[0].knobs


def sweep(source: bytes, *, knobs: tuple[Knob, ...] | None = None, seed: int = 1, limit: int = 64) -> Sweep:
    return Sweep(
        "c0001",
        source,
        knobs_of(source) if knobs is None else knobs,
        name="mine.cu",
        seed=seed,
        limits=LaunchLimits(),
        limit=limit,
    )


def test_every_other_combination_is_proposed_once_with_its_values_as_defaults() -> None:
    source = candidate("A = tune(1, [1, 2, 3])\nB = tune('x', ['x', 'y'])\nC = tune(True, [False, True])")
    found = sweep(source).propose(TASK)
    settings = [tuple(p.knobs.values()) for p in found.proposals]
    assert len(settings) == len(set(settings)) == 3 * 2 * 2 - 1
    assert (1, "x", True) not in settings
    for proposal in found.proposals:
        assert proposal.parents == ("c0001",)
        assert {k.name: k.default for k in knobs_of(proposal.source)} == proposal.knobs
        assert b"// a comment that stays" in proposal.source
    names = [p.name for p in found.proposals]
    assert "mine.cu A=2" in names and "mine.cu B=y C=False" in names
    assert found.provenance == "tune"


def test_combinations_that_require_excludes_are_not_counted() -> None:
    source = candidate("A = tune(1, [1, 2, 4, 8])\nB = tune(1, [1, 2, 4, 8])", require="A * B <= 8")
    found = sweep(source).propose(TASK)
    assert {(p.knobs["A"], p.knobs["B"]) for p in found.proposals} == {
        (a, b) for a in (1, 2, 4, 8) for b in (1, 2, 4, 8) if a * b <= 8 and (a, b) != (1, 1)
    }
    assert "6 excluded" in found.summary


def test_above_the_limit_a_seeded_sample_of_the_valid_ones_is_drawn() -> None:
    source = candidate(
        "A = tune(0, list(range(20)))\nB = tune(0, list(range(20)))", require="(A + B) % 2 == 0"
    )
    one, again, other = (sweep(source, seed=s, limit=10).propose(TASK) for s in (5, 5, 6))
    assert one.proposals == again.proposals
    assert one.proposals != other.proposals
    assert len({(p.knobs["A"], p.knobs["B"]) for p in one.proposals}) == 10
    assert all((p.knobs["A"] + p.knobs["B"]) % 2 == 0 for p in one.proposals)
    assert "seed 5" in one.summary


def test_more_combinations_than_can_be_counted_out_are_sampled_too() -> None:
    count = 40
    source = candidate("\n".join(f"K{i} = tune(0, [0, 1, 2, 3])" for i in range(count)))
    found = sweep(source, limit=3).propose(TASK)
    assert len(found.proposals) == 3
    assert str(4**count - 1) in found.summary
    assert math.prod([4] * count) > 2**64


def test_a_choice_named_twice_is_proposed_once() -> None:
    knobs = (Knob("A", 1, (1, 2, 2, 1)),)
    assert [
        p.knobs["A"] for p in sweep(candidate("A = tune(1, [1, 2])"), knobs=knobs).propose(TASK).proposals
    ] == [2]


def test_a_candidate_without_knobs_or_without_a_plan_is_refused_in_one_sentence() -> None:
    with pytest.raises(UsageError, match="has no knobs"):
        sweep(candidate("A = 1"), knobs=()).propose(TASK)
    with pytest.raises(UsageError, match="no readable plan"):
        sweep(b"garbage", knobs=(Knob("A", 1, (1, 2)),)).propose(TASK)


def test_a_knob_that_the_plan_does_not_have_proposes_nothing() -> None:
    found = sweep(candidate("A = tune(1, [1, 2])"), knobs=(Knob("NOT_THERE", 1, (1, 2)),)).propose(TASK)
    assert found.proposals == ()
    assert "0 other settings" in found.summary
