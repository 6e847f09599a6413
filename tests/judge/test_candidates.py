"""Honest candidates pass and each kind of wrong one fails at the gate that names its cause; one warm judge for all.

tests/bench/candidates.py judges the same table again and again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import pytest
from candidate_table import CANDIDATES, EXPECTED, HONEST_KINDS, LAUNCH_LIMIT_S, came_out
from warm_judge import WarmJudge, complaint

from workbench.core.explain import explain_verdict
from workbench.core.verdict import GATES, Verdict
from workbench.judge.worker.gates.bounds import SLACK
from workbench.judge.worker.gates.determinism import NOT_SEEN as RACES
from workbench.judge.worker.gates.poison import NOT_SEEN as UNWRITTEN

CASES = [(task, name) for task, names in EXPECTED.items() for name in names]

NOT_MEASURED = ("argmax", "greedy", "histogram", "largest_so_far", "masked_router", "either_sign")
"""Tasks of which `precision` says nothing: their results are integers, or their own check speaks for them."""


def _of(task: str) -> pytest.MarkDecorator:
    """Tests of one task share its verdicts, so they stay in one process; tasks are spread over processes."""
    return pytest.mark.xdist_group(f"candidates of {task}")


EACH_TASK = [pytest.param(task, marks=_of(task)) for task in EXPECTED]
EACH = [pytest.param(task, name, marks=_of(task), id=f"{task}-{name}") for task, name in CASES]
VerdictOf = Callable[[str, str], Verdict]


@pytest.fixture(scope="session")
def verdict_of(judge: WarmJudge) -> VerdictOf:
    """A candidate's verdict; each is judged once in the run."""
    known: dict[tuple[str, str], Verdict] = {}

    def find(task: str, name: str) -> Verdict:
        if (task, name) not in known:
            file = CANDIDATES / task / f"{name}.cu"
            source = file.read_bytes()
            known[task, name] = judge.verdict(
                file.with_name("task.py"), source, str(file), timeout_s=LAUNCH_LIMIT_S
            )
        return known[task, name]

    return find


@pytest.mark.parametrize(("task", "name"), EACH)
def test_a_candidate_gets_the_verdict_it_deserves(task: str, name: str, verdict_of: VerdictOf) -> None:
    verdict = verdict_of(task, name)
    assert came_out(verdict) == EXPECTED[task][name], complaint(verdict)


def test_every_candidate_in_the_folder_is_judged() -> None:
    on_disk = {(f.parent.name, f.stem) for f in CANDIDATES.glob("*/*.cu")}
    assert on_disk == set(CASES)


def test_the_table_holds_enough_of_each_kind() -> None:
    kinds = Counter(expected for names in EXPECTED.values() for expected in names.values())
    assert sum(kinds[gate] for gate in GATES) >= 70 and kinds["pass"] >= 40 and len(EXPECTED) >= 8
    assert {gate for gate in GATES if not kinds[gate]} == {"timing", "floor", "recheck"}


@pytest.mark.parametrize("kind", HONEST_KINDS)
def test_each_kind_that_judges_get_wrong_is_shown_by_an_honest_candidate(kind: str) -> None:
    assert HONEST_KINDS[kind]
    for place, mark in HONEST_KINDS[kind].items():
        task, _, name = place.partition("/")
        assert EXPECTED[task][name] == "pass", place
        assert re.search(mark, (CANDIDATES / f"{place}.cu").read_text()), place


@_of("layer_norm")
def test_an_honest_layernorm_was_judged_on_constant_rows(verdict_of: VerdictOf) -> None:
    for name in ("two_pass", "welford", "kahan"):
        numerics = next(g for g in verdict_of("layer_norm", name).gates if g.name == "numerics")
        assert numerics.status == "pass" and "constant_rows" in numerics.evidence["cases"]


@_of("residual")
def test_an_input_that_is_returned_as_a_result_of_its_own_is_named(verdict_of: VerdictOf) -> None:
    for task, name, output in (
        ("residual", "returns_it_twice", "out_1"),
        ("snapshot", "returns_the_input", "out_0"),
    ):
        reason = verdict_of(task, name).reason
        assert f"{output} is the input x itself; the reference returns a new tensor" in reason, reason


@pytest.mark.parametrize(("task", "name"), EACH)
def test_a_candidate_says_in_its_first_line_what_it_is(task: str, name: str) -> None:
    words = {"pass": ("Honest", "Right on finite inputs"), "error": ("Honest", "Cannot be judged")}
    first = (CANDIDATES / task / f"{name}.cu").read_text().partition("\n")[0]
    allowed = words.get(EXPECTED[task][name], ("Wrong", "Inaccurate", "Refused"))
    assert first.startswith(tuple(f"// {word}" for word in allowed)), first


@pytest.mark.parametrize("task", EACH_TASK)
def test_a_verdict_can_be_reproduced_and_says_what_it_leaves_open(task: str, verdict_of: VerdictOf) -> None:
    for name in EXPECTED[task]:
        verdict = verdict_of(task, name)
        assert verdict.schema == 1
        assert verdict.versions["workbench"] and verdict.versions["torch"]
        assert verdict.device["name"] and len(verdict.candidate.sha256) == 64
        assert verdict.unchecked
        names = [gate.name for gate in verdict.gates]
        assert names == [gate for gate in GATES if gate in names]
        if verdict.outcome == "pass":
            assert names == list(GATES)
            assert len(verdict.seeds) >= 8 and len(set(verdict.seeds)) == len(verdict.seeds)
            assert verdict.resources.kernels and verdict.resources.kernels[0].registers > 0
            skipped = {gate.name for gate in verdict.gates if gate.status == "skipped"}
            needs_gpu = {"timing", "floor", "recheck"}
            assert skipped == (needs_gpu | {"precision"} if task in NOT_MEASURED else needs_gpu)
            assert verdict.estimate is not None and verdict.estimate["kind"] == "estimate"
            assert not verdict.timing  # a host verdict never shows a speed
        if verdict.outcome == "fail":
            assert explain_verdict(verdict) is not None
            assert verdict.reason


@_of("norm")
def test_what_the_instrumented_run_sees_is_not_in_the_list_of_unchecked(verdict_of: VerdictOf) -> None:
    for task, name in (("odd_bytes", "guarded"), ("norm", "two_pass"), ("norm", "float_atomics")):
        unchecked = verdict_of(task, name).unchecked
        assert not {SLACK, RACES, UNWRITTEN} & set(unchecked), unchecked


@_of("library_step")
def test_what_cannot_be_instrumented_stays_in_the_list_of_unchecked(verdict_of: VerdictOf) -> None:
    unchecked = verdict_of("library_step", "library_product").unchecked
    assert {RACES, UNWRITTEN} <= set(unchecked)
    assert any("library steps" in what and "access" in what for what in unchecked)


@_of("norm")
def test_the_racing_lines_and_threads_are_named(verdict_of: VerdictOf) -> None:
    verdict = verdict_of("norm", "missing_barrier")
    evidence = next(g for g in verdict.gates if g.name == "determinism").evidence
    assert evidence["line"] > 0 and evidence["other_line"] > 0
    assert evidence["thread"] != evidence["other_thread"] and "shared memory" in evidence["buffer"]


@_of("norm")
def test_float_atomics_pass_with_a_warning(verdict_of: VerdictOf) -> None:
    gates = {gate.name: gate for gate in verdict_of("norm", "float_atomics").gates}
    assert gates["determinism"].status == "warn"


@_of("norm")
def test_a_barrier_that_threads_which_returned_never_reach_is_a_warning(verdict_of: VerdictOf) -> None:
    gates = {gate.name: gate for gate in verdict_of("norm", "barrier_after_return").gates}
    assert gates["determinism"].status == "warn"


@_of("norm")
def test_a_size_that_require_excludes_is_not_covered_and_not_failed(verdict_of: VerdictOf) -> None:
    gates = {gate.name: gate for gate in verdict_of("norm", "requires").gates}
    assert gates["shapes"].evidence["not_covered"]


@_of("norm")
def test_a_wrong_element_comes_with_its_inputs_and_seed(verdict_of: VerdictOf) -> None:
    verdict = verdict_of("norm", "wrong_scale")
    evidence = next(g for g in verdict.gates if g.name == "numerics").evidence
    assert evidence["expected"] != evidence["got"]
    assert len(evidence["index"]) == 2 and evidence["inputs"]["x"]
    assert evidence["seed"] in verdict.seeds
    assert evidence["constant_ratio"] == pytest.approx(2, rel=1e-3)


@_of("norm")
def test_unwritten_elements_are_named_by_index(verdict_of: VerdictOf) -> None:
    verdict = verdict_of("norm", "unwritten_rows")
    evidence = next(g for g in verdict.gates if g.name == "poison").evidence
    assert evidence["unwritten"] == 10 * 320
    assert evidence["indices"][0] == [1, 0]


@_of("norm")
def test_a_fault_names_its_kernel_and_its_line(verdict_of: VerdictOf) -> None:
    verdict = verdict_of("norm", "divergent_barrier")
    evidence = next(g for g in verdict.gates if g.name == "determinism").evidence
    assert evidence["kernel"] == "rms_norm"


@_of("norm")
@pytest.mark.parametrize("name", ["inline_ptx", "cub_block_reduce", "libcuxx_atomics"])
def test_what_the_host_cannot_run_is_an_error_that_names_it(name: str, verdict_of: VerdictOf) -> None:
    verdict = verdict_of("norm", name)
    assert "needs cuda" in verdict.reason
    passed = [g.name for g in verdict.gates if g.status == "pass"]
    assert passed[:3] == ["parse", "compile", "audit"]


@_of("norm")
@pytest.mark.parametrize("name", ["unset_sum", "unset_maximum"])
def test_a_variable_that_is_never_set_is_named_with_its_line(name: str, verdict_of: VerdictOf) -> None:
    verdict = verdict_of("norm", name)
    gate = next(g for g in verdict.gates if g.name == "poison")
    lines = (CANDIDATES / "norm" / f"{name}.cu").read_text().splitlines()
    variable = "peak" if name == "unset_maximum" else "sum"
    assert gate.evidence["buffer"] == "local memory" and variable in lines[gate.evidence["line"] - 1]
    assert f"{variable}, declared in line" in gate.reason


@_of("huge")
@pytest.mark.parametrize("name", ["int_index", "int_row", "int_define", "bytes"])
def test_an_overflow_at_a_size_that_is_never_run_names_line_block_and_element(
    name: str, verdict_of: VerdictOf
) -> None:
    verdict = verdict_of("huge", name)
    gate = next(g for g in verdict.gates if g.name == "shapes")
    lines = (CANDIDATES / "huge" / f"{name}.cu").read_text().splitlines()
    evidence = gate.evidence
    assert "y[" in lines[evidence["line"] - 1] or "y + at" in lines[evidence["line"] - 1]
    assert evidence["size"] == "full" and evidence["kernel"] == "gate" and evidence["block"][0] > 0
    assert "32 bits are too few" in gate.reason


@_of("library_step")
def test_own_kernels_beside_library_steps_are_told_from_what_the_library_does(verdict_of: VerdictOf) -> None:
    audits = {
        name: next(g for g in verdict_of("library_step", name).gates if g.name == "audit")
        for name in ("library_and_trivia", "library_and_copy", "library_and_fill")
    }
    for gate in audits.values():
        assert gate.evidence["library_steps"] == ["aten.addmm", "aten.relu"]
    assert "Library steps: aten.addmm, aten.relu" in audits["library_and_trivia"].reason
    assert (
        "only copy, and library steps (aten.addmm, aten.relu) do the work"
        in audits["library_and_copy"].reason
    )
    assert "No kernel computes" in audits["library_and_fill"].reason


@_of("norm")
def test_nan_that_does_not_come_out_again_only_warns_with_the_element(verdict_of: VerdictOf) -> None:
    gates = {g.name: g for g in verdict_of("norm", "drops_nan").gates}
    assert gates["numerics"].status == "warn"
    assert "where eager gives nan" in gates["numerics"].evidence["non_finite"]
    gates = {g.name: g for g in verdict_of("norm", "hangs_on_nan").gates}
    assert gates["numerics"].status == "warn" and "does not end" in gates["numerics"].reason
    gates = {g.name: g for g in verdict_of("norm", "two_pass").gates}
    assert gates["numerics"].status == "pass" and "non_finite" not in gates["numerics"].evidence


ODD = "At rows=7, cols=75: "
"""How a finding at the size `odd` of the task norm begins."""


@_of("norm")
@pytest.mark.parametrize("name", ["no_barrier_in_odd_rows", "no_barrier_in_undeclared_rows"])
def test_a_wrong_result_at_another_size_comes_with_the_racing_lines(name: str, verdict_of: VerdictOf) -> None:
    verdict = verdict_of("norm", name)
    gate = next(g for g in verdict.gates if g.name == "shapes")
    lines = (CANDIDATES / "norm" / f"{name}.cu").read_text().splitlines()
    racing = {gate.evidence["line"], gate.evidence["other_line"]}
    assert all("partial[" in lines[line - 1] for line in racing)
    assert gate.evidence["cause"] == "determinism" and "partial" in gate.evidence["buffer"]
    assert gate.evidence["expected"] != gate.evidence["got"] and gate.evidence["inputs"]
    assert gate.reason.startswith(ODD) == (name == "no_barrier_in_odd_rows")
    # The gates before speak of the judged size, where nothing is wrong.
    assert {g.status for g in verdict.gates if g.name in ("bounds", "poison", "determinism")} == {"pass"}


@_of("bias_gelu")
def test_elements_that_only_another_size_leaves_unwritten_are_counted(verdict_of: VerdictOf) -> None:
    gate = next(g for g in verdict_of("bias_gelu", "no_tail").gates if g.name == "shapes")
    assert gate.evidence["cause"] == "poison" and gate.evidence["unwritten"] > 0
    assert "never written" in gate.reason


@_of("norm")
def test_a_declared_size_with_compile_options_of_its_own_is_instrumented(verdict_of: VerdictOf) -> None:
    wrong = next(g for g in verdict_of("norm", "reads_the_slack_of_odd_rows").gates if g.name == "shapes")
    assert wrong.evidence["cause"] == "bounds" and wrong.evidence["buffer"] == "x"
    assert wrong.evidence["byte_offset"] == 7 * 75 * 4 and wrong.reason.startswith(ODD)
    honest = verdict_of("norm", "compiled_for_its_width")
    assert not [u for u in honest.unchecked if "not every access" in u]


@_of("norm")
def test_a_size_that_has_too_many_threads_to_be_instrumented_is_named(verdict_of: VerdictOf) -> None:
    unchecked = verdict_of("norm", "more_threads_than_rows").unchecked
    said = [u for u in unchecked if "not every access" in u]
    assert said == [
        "size rows=7, cols=75: not every access was seen: 67,584 threads are too many for the instrumented build"
    ]


@_of("library_step")
def test_a_size_that_cannot_be_instrumented_is_named(verdict_of: VerdictOf) -> None:
    unchecked = verdict_of("library_step", "library_product").unchecked
    assert any(u.startswith("size n=19: not every access was seen: a plan with library") for u in unchecked)


@_of("norm")
def test_code_that_only_a_random_size_compiles_is_audited(verdict_of: VerdictOf) -> None:
    verdict = verdict_of("norm", "counter_in_undeclared_rows")
    gates = {g.name: g for g in verdict.gates}
    assert gates["audit"].status == "pass"
    assert gates["shapes"].evidence["cause"] == "audit" and "calls" in gates["shapes"].reason
