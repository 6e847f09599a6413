"""Honest candidates pass and each kind of wrong one fails at the gate that names its cause.

One `workbench verify` for each task judges all its candidates, as a user would, in one warm judge.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.core.explain import explain_verdict
from workbench.core.verdict import GATES, Verdict, decode_verdict
from workbench.judge.worker.gates.bounds import SLACK
from workbench.judge.worker.gates.determinism import NOT_SEEN as RACES
from workbench.judge.worker.gates.poison import NOT_SEEN as UNWRITTEN

pytestmark = pytest.mark.timeout(900)  # the first test of a task judges all its candidates
VERIFY = [sys.executable, "-m", "workbench", "verify"]
HERE = Path(__file__).parent / "candidates"

EXPECTED: dict[str, dict[str, str]] = {
    "norm": {
        # Honest.
        "two_pass": "pass",
        "dynamic_shared": "pass",
        "templated": "pass",
        "float_atomics": "pass",
        "three_launches": "pass",
        "requires": "pass",
        "barrier_after_return": "pass",
        "set_later": "pass",
        "drops_nan": "pass",
        "hangs_on_nan": "pass",
        # The code does what it must not.
        "reads_clock": "audit",
        "static_counter": "audit",
        "prints": "audit",
        "allocates": "audit",
        # The result is wrong.
        "wrong_scale": "numerics",
        "ignores_weight": "numerics",
        "ignores_eps": "numerics",
        "samples_the_row": "numerics",
        "copies": "numerics",
        "infinite_loop": "numerics",
        "recursion": "numerics",
        "half_accumulate": "numerics",  # overflows where the rows are offset
        "bf16_inputs": "numerics",
        "tf32_inputs": "precision",
        # Memory.
        "unwritten_rows": "poison",
        "empty_kernel": "audit",
        "reads_scratch": "poison",
        "unset_sum": "poison",
        "unset_array": "poison",
        "unset_maximum": "poison",
        "writes_input": "inputs_intact",
        "missing_bounds_check": "bounds",
        "reads_one_too_far": "bounds",
        "writes_one_too_far": "bounds",
        "writes_before_start": "bounds",
        "null_pointer": "bounds",
        # Threads and sizes.
        "divergent_barrier": "determinism",
        "missing_barrier": "determinism",
        "shuffle_from_nowhere": "determinism",
        "hard_coded_size": "shapes",
        # Not the candidate's fault.
        "inline_ptx": "error",
    },
    "softmax_half": {"online": "pass", "no_maximum": "numerics", "half_accumulate": "numerics"},
    "add_in_place": {"in_place": "pass", "forgets_the_state": "numerics"},
    "several_outputs": {"one_kernel": "pass", "count_from_one": "poison", "or_equal": "numerics"},
    "library_step": {"library_product": "pass"},
    "batch_norm": {"warp_per_feature": "pass", "forgets_the_variance": "pass"},
    "odd_bytes": {"guarded": "pass", "writes_into_the_slack": "bounds", "reads_the_slack": "bounds"},
    # The full size has 2^32 elements: nobody runs it, and its indices are followed.
    "huge": {
        "long_index": "pass",
        "row_pointer": "pass",
        "unsigned_index": "pass",
        "requires": "pass",
        "int_index": "shapes",
        "int_row": "shapes",
        "int_define": "shapes",
        "bytes": "shapes",
        "int_count": "compile",
    },
    "argmax": {"first_of_equals": "pass", "last_of_equals": "pass", "off_by_one": "numerics"},
}
"""By task and file: "pass", "error", or the gate that must fail."""

CASES = [(task, name) for task, names in EXPECTED.items() for name in names]


@functools.cache
def verdicts(task: str) -> dict[str, Verdict]:
    """Every candidate of a task, judged in one warm judge; its exit code is checked here too."""
    files = [HERE / task / f"{name}.cu" for name in EXPECTED[task]]
    done = subprocess.run(
        [*VERIFY, str(HERE / task / "task.py"), *map(str, files), "--json", "--timeout", "2"],
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    found = [decode_verdict(line) for line in done.stdout.splitlines()]
    assert len(found) == len(files), done.stderr
    outcomes = {v.outcome for v in found}
    assert done.returncode == (3 if "error" in outcomes else 1 if "fail" in outcomes else 0)
    return {Path(v.candidate.path).stem: v for v in found}


@pytest.mark.parametrize(("task", "name"), CASES, ids=[f"{task}-{name}" for task, name in CASES])
def test_a_candidate_gets_the_verdict_it_deserves(task: str, name: str) -> None:
    verdict = verdicts(task)[name]
    expected = EXPECTED[task][name]
    got = verdict.failed_gate if verdict.outcome == "fail" else verdict.outcome
    assert got == expected, verdict.first_line


def test_every_candidate_in_the_folder_is_judged() -> None:
    on_disk = {(f.parent.name, f.stem) for f in HERE.glob("*/*.cu")}
    assert on_disk == set(CASES)


@pytest.mark.parametrize("task", EXPECTED)
def test_a_verdict_can_be_reproduced_and_says_what_it_leaves_open(task: str) -> None:
    for verdict in verdicts(task).values():
        assert verdict.schema == 1
        assert verdict.versions["workbench"] and verdict.versions["torch"]
        assert verdict.device["name"] and len(verdict.candidate.sha256) == 64
        assert verdict.unchecked
        names = [gate.name for gate in verdict.gates]
        assert names == [name for name in GATES if name in names]
        if verdict.outcome == "pass":
            assert names == list(GATES)
            assert len(verdict.seeds) >= 10 and len(set(verdict.seeds)) == len(verdict.seeds)
            assert verdict.resources.kernels and verdict.resources.kernels[0].registers > 0
            skipped = {gate.name for gate in verdict.gates if gate.status == "skipped"}
            needs_gpu = {"timing", "floor", "recheck"}
            assert skipped == (needs_gpu | {"precision"} if task == "argmax" else needs_gpu)
            assert verdict.estimate is not None and verdict.estimate["kind"] == "estimate"
            assert not verdict.timing  # a host verdict never shows a speed
        if verdict.outcome == "fail":
            assert explain_verdict(verdict) is not None
            assert verdict.reason


def test_what_the_instrumented_run_sees_is_not_in_the_list_of_unchecked() -> None:
    for task, name in (("odd_bytes", "guarded"), ("norm", "two_pass"), ("norm", "float_atomics")):
        unchecked = verdicts(task)[name].unchecked
        assert not {SLACK, RACES, UNWRITTEN} & set(unchecked), unchecked


def test_what_cannot_be_instrumented_stays_in_the_list_of_unchecked() -> None:
    unchecked = verdicts("library_step")["library_product"].unchecked
    assert {RACES, UNWRITTEN} <= set(unchecked)
    assert any("library steps" in what and "access" in what for what in unchecked)


def test_the_racing_lines_and_threads_are_named() -> None:
    verdict = verdicts("norm")["missing_barrier"]
    evidence = next(g for g in verdict.gates if g.name == "determinism").evidence
    assert evidence["line"] > 0 and evidence["other_line"] > 0
    assert evidence["thread"] != evidence["other_thread"] and "shared memory" in evidence["buffer"]


def test_float_atomics_pass_with_a_warning() -> None:
    gates = {gate.name: gate for gate in verdicts("norm")["float_atomics"].gates}
    assert gates["determinism"].status == "warn"


def test_a_barrier_that_threads_which_returned_never_reach_is_a_warning() -> None:
    gates = {gate.name: gate for gate in verdicts("norm")["barrier_after_return"].gates}
    assert gates["determinism"].status == "warn"


def test_a_size_that_require_excludes_is_not_covered_and_not_failed() -> None:
    gates = {gate.name: gate for gate in verdicts("norm")["requires"].gates}
    assert gates["shapes"].evidence["not_covered"]


def test_a_wrong_element_comes_with_its_inputs_and_seed() -> None:
    verdict = verdicts("norm")["wrong_scale"]
    evidence = next(g for g in verdict.gates if g.name == "numerics").evidence
    assert evidence["expected"] != evidence["got"]
    assert len(evidence["index"]) == 2 and evidence["inputs"]["x"]
    assert evidence["seed"] in verdict.seeds
    assert evidence["constant_ratio"] == pytest.approx(2, rel=1e-3)


def test_unwritten_elements_are_named_by_index() -> None:
    verdict = verdicts("norm")["unwritten_rows"]
    evidence = next(g for g in verdict.gates if g.name == "poison").evidence
    assert evidence["unwritten"] == 10 * 320
    assert evidence["indices"][0] == [1, 0]


def test_a_fault_names_its_kernel_and_its_line() -> None:
    verdict = verdicts("norm")["divergent_barrier"]
    evidence = next(g for g in verdict.gates if g.name == "determinism").evidence
    assert evidence["kernel"] == "rms_norm"


def test_what_the_host_cannot_run_is_an_error_that_names_it() -> None:
    verdict = verdicts("norm")["inline_ptx"]
    assert "needs cuda" in verdict.reason
    passed = [g.name for g in verdict.gates if g.status == "pass"]
    assert passed[:3] == ["parse", "compile", "audit"]


@pytest.mark.parametrize("name", ["unset_sum", "unset_maximum"])
def test_a_variable_that_is_never_set_is_named_with_its_line(name: str) -> None:
    verdict = verdicts("norm")[name]
    gate = next(g for g in verdict.gates if g.name == "poison")
    lines = (HERE / "norm" / f"{name}.cu").read_text().splitlines()
    variable = "peak" if name == "unset_maximum" else "sum"
    assert gate.evidence["buffer"] == "local memory" and variable in lines[gate.evidence["line"] - 1]
    assert f"{variable}, declared in line" in gate.reason


@pytest.mark.parametrize("name", ["int_index", "int_row", "int_define", "bytes"])
def test_an_overflow_at_a_size_that_is_never_run_names_line_block_and_element(name: str) -> None:
    verdict = verdicts("huge")[name]
    gate = next(g for g in verdict.gates if g.name == "shapes")
    lines = (HERE / "huge" / f"{name}.cu").read_text().splitlines()
    evidence = gate.evidence
    assert "y[" in lines[evidence["line"] - 1] or "y + at" in lines[evidence["line"] - 1]
    assert evidence["size"] == "full" and evidence["kernel"] == "gate" and evidence["block"][0] > 0
    assert "32 bits are too few" in gate.reason


def test_nan_that_does_not_come_out_again_only_warns_with_the_element() -> None:
    gates = {g.name: g for g in verdicts("norm")["drops_nan"].gates}
    assert gates["numerics"].status == "warn"
    assert "where eager gives nan" in gates["numerics"].evidence["non_finite"]
    gates = {g.name: g for g in verdicts("norm")["hangs_on_nan"].gates}
    assert gates["numerics"].status == "warn" and "does not end" in gates["numerics"].reason
    gates = {g.name: g for g in verdicts("norm")["two_pass"].gates}
    assert gates["numerics"].status == "pass" and "non_finite" not in gates["numerics"].evidence
