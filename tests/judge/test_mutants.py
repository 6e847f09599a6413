"""Classic mistakes made by script in honest kernels are found; `tests/bench/mutation.py` does it with hundreds of them."""

from __future__ import annotations

import asyncio
import functools
import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

from mutants.judging import Result, judge_all
from mutants.operators import OPERATORS
from mutants.report import Examined, totals
from mutants.sampling import Honest, Mutant, honest_kernels, mutants_of, sample
from mutants.source import KernelSource

KERNELS = {kernel.name: kernel for kernel in honest_kernels()}

MISTAKES = (
    # Operator, kernel, what stands there afterwards, and the gates that may name it.
    ("drop_barrier", "norm/two_pass", "(void)0", {"determinism"}),
    ("off_by_one", "norm/two_pass", "y[i + 1] =", {"bounds", "poison"}),
    ("drop_bounds_check", "norm/three_launches", "if (true) y[i]", {"shapes"}),
    ("assume_divisible", "rmsnorm/warp_per_row", "vector = true", {"shapes"}),
    ("narrow_reduction", "norm/templated", "offset > 0 + 1", {"numerics"}),
    ("swap_comparison", "norm/three_launches", "i <= n) y[i]", {"shapes"}),
    ("uninitialised_accumulator", "rmsnorm/warp_per_row", "float squares;", {"numerics", "poison"}),
    ("wrong_identity", "rmsnorm/block_per_row", ": 1.0f", {"numerics"}),
    ("wrong_stride", "rmsnorm/warp_per_row", "2 * (32)", {"numerics", "poison", "shapes"}),
    ("swap_indices", "norm/three_launches", "grid=(rows, parts)", {"bounds", "poison", "numerics"}),
    ("drop_max_subtraction", "softmax/warp_per_row", "", {"numerics", "shapes"}),
    ("accumulate_in_less", "mean_product_double/warp_per_row", "float sum", {"numerics", "precision"}),
    ("drop_term", "norm/two_pass", "cols)", {"numerics"}),
    ("wrong_component", "rmsnorm/block_per_row", "w.x", {"numerics"}),
    ("drop_atomic", "norm/float_atomics", "+=", {"determinism", "poison"}),
    ("round_down", "norm/three_launches", "x.numel) //", {"shapes"}),
)


@functools.cache
def all_mutants() -> list[Mutant]:
    return [mutant for kernel in KERNELS.values() for mutant in mutants_of(kernel)]


@functools.cache
def errors_of_originals() -> dict[str, int]:
    """Macros that the grammar does not know are errors in honest kernels too."""
    return {name: KernelSource(name, k.path.read_bytes()).errors() for name, k in KERNELS.items()}


@functools.cache
def results() -> dict[str, Result]:
    """The verdicts on `MISTAKES`, by operator; one warm judge judges them all."""
    found: dict[str, Result] = {}
    asyncio.run(
        judge_all([chosen(*m[:3]) for m in MISTAKES], judges=1, done=lambda r: found.update({r.operator: r}))
    )
    return found


def chosen(operator: str, kernel: str, text: str) -> Mutant:
    mutants = [m for m in mutants_of(KERNELS[kernel], [operator]) if text in m.after and text not in m.before]
    if not text:
        mutants = mutants_of(KERNELS[kernel], [operator])
    assert mutants, (operator, kernel, [m.after for m in mutants_of(KERNELS[kernel], [operator])])
    return mutants[0]


@pytest.mark.timeout(600)  # the first of them judges all
@pytest.mark.parametrize(("operator", "kernel", "text", "gates"), MISTAKES, ids=[m[0] for m in MISTAKES])
def test_a_classic_mistake_fails(operator: str, kernel: str, text: str, gates: set[str]) -> None:
    result = results()[operator]
    assert result.outcome == "fail", f"{result.before}  ->  {result.after}"
    assert result.gate in gates, f"{result.gate}: {result.reason}"


def test_every_operator_is_tried() -> None:
    assert {m[0] for m in MISTAKES} == set(OPERATORS)


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_mutant_still_parses_and_differs_from_its_original(operator: str) -> None:
    mutants = [m for m in all_mutants() if m.operator == operator]
    assert mutants
    errors = errors_of_originals()
    for mutant in random.Random(operator).sample(mutants, min(len(mutants), 25)):
        again = KernelSource("mutant", mutant.source)
        assert again.errors() <= errors[mutant.kernel.name], (mutant.kernel.name, mutant.line, mutant.after)
        assert mutant.source != mutant.kernel.path.read_bytes()


def test_each_mistake_is_made_once_and_keeps_its_name() -> None:
    mutants = all_mutants()
    assert len(KERNELS) >= 20 and len(mutants) > 1000
    assert len({m.id for m in mutants}) == len(mutants)
    kernel = KERNELS["rmsnorm/block_per_row"]
    assert [m.id for m in mutants_of(kernel)] == [m.id for m in mutants if m.kernel == kernel]


def test_a_comment_more_does_not_rename_a_mutant(tmp_path: Path) -> None:
    kernel = KERNELS["norm/two_pass"]
    moved = tmp_path / "two_pass.cu"
    moved.write_text("// One more line.\n" + kernel.path.read_text())
    again = mutants_of(Honest(kernel.name, moved, kernel.task))
    assert {m.id for m in again} == {m.id for m in mutants_of(kernel)}


def test_a_sample_has_every_operator_and_is_drawn_again_by_its_seed() -> None:
    drawn = sample(all_mutants(), 48, 5)
    assert {m.operator for m in drawn} == set(OPERATORS)
    assert [m.id for m in drawn] == [m.id for m in sample(all_mutants(), 48, 5)]
    assert [m.id for m in drawn] != [m.id for m in sample(all_mutants(), 48, 6)]
    assert [m.id for m in sample(all_mutants(), 24, 5)] == [m.id for m in drawn][:24]


def test_a_survivor_counts_against_the_judge_until_somebody_looked_at_it() -> None:
    def result(number: str, outcome: str, gate: str = "") -> Result:
        return Result(id=number, kernel="k", operator="o", line=1, before="", after="", outcome=outcome, gate=gate,
                      reason="", seconds=1.0)  # fmt: skip

    found = [
        result("a", "fail", "numerics"),
        result("b", "pass"),
        result("c", "pass"),
        result("d", "fail", "compile"),
    ]
    examined = {
        "b": Examined("equivalent", "the same"),
        "a": Examined("equivalent", "it failed all the same"),
    }
    counted = totals(found, examined)
    assert (counted.differing, counted.stillborn, counted.percent) == (2, 1, 50.0)
    assert [r.id for r in counted.new] == ["c"] and [r.id for r in counted.equivalent] == ["b"]
