"""`verify --require`, `--junit`, `--reproduce` and `--debug`, through the command line and a real judge."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from workbench.cli.junit import JUnitFile, Reached, clean
from workbench.cli.reproduce import compare
from workbench.cli.requirements import CHOICES, answer, understand
from workbench.core.errors import UsageError
from workbench.core.events import SessionStarted
from workbench.core.verdict import (
    BaselineTiming,
    Gate,
    Interval,
    Speedup,
    Timing,
    Verdict,
    VerdictCandidate,
    VerdictTask,
    Word,
    decode_verdict,
    encode_verdict,
)

CANDIDATES = Path(__file__).parent.parent / "judge" / "candidates"
NORM = CANDIDATES / "norm" / "task.py"
GOOD = CANDIDATES / "norm" / "two_pass.cu"
WRONG = CANDIDATES / "norm" / "ignores_eps.cu"
pytestmark = pytest.mark.timeout(600)

PRINTS = r"""/*@plan
def forward(x, weight, eps):
    rows, cols = x.shape
    y = empty_like(x)
    launch("rms_norm", grid=rows, block=128, args=[x, weight, y, cols, eps])
    return y
@*/
#include <cassert>
#include <cstdio>
extern "C" __global__ void rms_norm(const float* x, const float* w, float* y, int cols, float eps)
{
#ifdef WORKBENCH_DEBUG
    if (threadIdx.x == 3 && blockIdx.x == 1) printf("cols are %d\x1b[2J\n", cols);
#endif
    assert(cols > LEAST);
    for (int i = threadIdx.x; i < cols; i += blockDim.x) y[blockIdx.x * cols + i] = 77;
}
"""


def verify(*args: str | Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "workbench", "verify", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "COLUMNS": "100"},
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done


def made(**fields: Any) -> Verdict:
    return Verdict(
        **{
            "task": VerdictTask("norm", "f" * 64, 1),
            "candidate": VerdictCandidate("c1", "0" * 64, "a.cu"),
            "target": "host",
            "device": {},
            "versions": {"workbench": "1"},
            "outcome": "pass",
            **fields,
        }
    )


def timed(word: Word) -> Verdict:
    us = Interval(10.0, 9.0, 11.0)
    baseline = BaselineTiming("compile", "ok", us, Speedup(1.1, 1.0, 1.2, word))
    pending = BaselineTiming("graph", "pending")
    timing = Timing("full", "screening", us, 5.0, 50.0, 1.0, 0.01, 48, (baseline, pending))
    return made(target="cuda", timing=(timing,))


# --- --require --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["fast", "", "faster", "faster:", "faster:a b", "own-kernels:1", "memory:lots", "occupancy:101"]
)
def test_a_requirement_that_is_none_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        understand(text)


def test_an_unknown_requirement_lists_the_choices() -> None:
    done = verify(NORM, GOOD, "--require", "fast")
    assert done.returncode == 2
    assert all(choice in done.stderr for choice in CHOICES)


@pytest.mark.parametrize(
    ("text", "word", "met"),
    [
        ("faster:compile", "faster", True),
        ("faster:compile", "same", False),
        ("faster:compile", "undecided", False),
        ("not-slower:compile", "same", True),
        ("not-slower:compile", "undecided", False),
        ("faster:graph", "faster", False),
        ("faster:eager", "faster", False),
        ("floor:50", "same", True),
        ("floor:51", "same", False),
    ],
)
def test_a_speed_is_required_in_the_words_of_the_verdict(text: str, word: Word, met: bool) -> None:
    assert answer(understand(text), timed(word)).met is met


def test_what_a_verdict_does_not_know_is_missed() -> None:
    for text in ("faster:eager", "floor:1", "own-kernels", "no-spills", "registers:255", "occupancy:0"):
        assert not answer(understand(text), made()).met, text


def test_a_warning_misses_no_warnings_and_a_library_step_misses_own_kernels() -> None:
    gates = (Gate("audit", "warn", "A library.", {"library_steps": ["mm"]}),)
    assert "audit" in answer(understand("no-warnings"), made(gates=gates)).reason
    assert "mm" in answer(understand("own-kernels"), made(gates=gates)).reason


def test_all_right_and_a_requirement_missed_is_exit_code_four_and_a_failure_outweighs_it(
    tmp_path: Path,
) -> None:
    report = tmp_path / "report.xml"
    met = verify(NORM, GOOD, "--require", "own-kernels", "--require", "memory:1MiB", "--require", "no-spills")
    assert met.returncode == 0, met.stdout
    done = verify(NORM, GOOD, "--require", "faster:compile", "--json", "--junit", report)
    assert done.returncode == 4
    verdict = json.loads(done.stdout)
    assert verdict["outcome"] == "pass"
    (said,) = verdict["requirements"]
    assert said["require"] == "faster:compile" and not said["met"] and "GPU" in said["reason"]
    assert decode_verdict(done.stdout.encode()).outcome == "pass"
    failure = ElementTree.parse(report).find(".//failure")
    assert failure is not None and failure.get("type") == "requirement"
    mixed = verify(NORM, GOOD, WRONG, "--require", "faster:compile")
    assert mixed.returncode == 1
    assert "misses faster:compile" in mixed.stdout


# --- --junit ----------------------------------------------------------------------------------------------------


def test_a_report_has_a_case_for_each_candidate_with_gate_explanation_seeds_and_versions(
    tmp_path: Path,
) -> None:
    report = tmp_path / "report.xml"
    done = verify(NORM, GOOD, WRONG, "--junit", report)
    assert done.returncode == 1
    suite = ElementTree.parse(report).find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "1", "0")
    good, wrong = suite.findall("testcase")
    assert good.find("failure") is None and float(good.get("time", "0")) > 0
    failure = wrong.find("failure")
    assert failure is not None and failure.get("type") == "numerics"
    assert "means:" in (failure.text or "") and "expected" in (failure.text or "")
    properties = {p.get("name"): p.get("value") for p in wrong.iter("property")}
    assert properties["seeds"] and properties["version.torch"] and properties["candidate.sha256"]


def test_a_broken_task_is_reported_as_errors(tmp_path: Path) -> None:
    task = tmp_path / "broken.py"
    task.write_text("raise RuntimeError('no weights')")
    report = tmp_path / "report.xml"
    done = verify(task, GOOD, WRONG, "--junit", report)
    assert done.returncode == 3
    errors = ElementTree.parse(report).findall(".//error")
    assert len(errors) == 2 and "no weights" in (errors[0].get("message") or "")


def test_a_report_that_cannot_be_written_is_known_before_anything_is_judged(tmp_path: Path) -> None:
    done = verify(NORM, GOOD, "--junit", tmp_path / "nowhere" / "report.xml")
    assert done.returncode == 2 and done.stdout == ""
    assert "report.xml" in done.stderr


def test_hostile_text_stays_text_in_a_report(tmp_path: Path) -> None:
    hostile = "]]></failure>\x00\x1b[2J\x07\x9b\r\n<x a=\"'&\ud800\ufffe\U0001f600 end"
    gate = Gate("parse", "fail", hostile, {"what": hostile, hostile: 1})
    verdict = made(
        candidate=VerdictCandidate("c1", hostile, hostile),
        versions={hostile: hostile},
        device={"name": hostile},
        outcome="fail",
        failed_gate="parse",
        reason=hostile,
        gates=(gate,),
        unchecked=(hostile,),
    )
    report = tmp_path / "report.xml"
    JUnitFile(report, hostile, [hostile]).write(Reached([verdict]), "")
    data = report.read_bytes()
    case = ElementTree.fromstring(data).find(".//testcase")
    assert case is not None
    assert case.get("name") == clean(hostile)
    failure = case.find("failure")
    assert failure is not None and "]]></failure>\\x00\\x1b[2J" in (failure.text or "")
    assert not any(c < 0x20 and c not in (9, 10) for c in data)


# --- --reproduce ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The verdicts of a right and a wrong candidate, as --json prints them."""
    file = tmp_path_factory.mktemp("recorded") / "verdicts.jsonl"
    file.write_text(verify(NORM, GOOD, WRONG, "--json").stdout)
    return file


@pytest.mark.parametrize("candidate", [GOOD, WRONG])
def test_a_verdict_is_reproduced_to_the_last_piece_of_evidence(lines: Path, candidate: Path) -> None:
    done = verify(NORM, candidate, "--reproduce", lines, "--json")
    assert done.returncode == 0, done.stderr
    old = next(v for v in map(json.loads, lines.read_text().splitlines()) if candidate.name in str(v))
    new = json.loads(done.stdout)
    assert new["seeds"] == old["seeds"]
    assert (new["outcome"], new["failed_gate"], new["reason"]) == (
        old["outcome"],
        old["failed_gate"],
        old["reason"],
    )
    evidence = [[g["evidence"] for g in v["gates"] if g["name"] != "compile"] for v in (old, new)]
    assert evidence[0] == evidence[1]
    assert "differs" not in done.stderr
    assert not old["reproduction"] and new["reproduction"]
    assert any("reproduction" in text for text in new["unchecked"])


def test_a_changed_candidate_is_exit_code_two_and_a_changed_task_three(lines: Path, tmp_path: Path) -> None:
    other = tmp_path / "two_pass.cu"
    other.write_bytes(GOOD.read_bytes() + b"\n")
    done = verify(NORM, other, "--reproduce", lines)
    assert done.returncode == 2 and "sha256" in done.stderr
    task = tmp_path / "task.py"
    task.write_text(NORM.read_text() + "\n# changed\n")
    done = verify(task, GOOD, "--reproduce", lines)
    assert done.returncode == 3 and "fingerprint" in done.stderr


@pytest.mark.parametrize("text", ["", "{}", "[1]", "\x00", '{"schema": 1', "[" * 100_000])
def test_what_is_no_verdict_is_one_sentence(text: str, tmp_path: Path) -> None:
    file = tmp_path / "verdict.json"
    file.write_text(text)
    done = verify(NORM, GOOD, "--reproduce", file)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "verdict.json" in done.stderr


def test_other_versions_are_named_and_excuse_another_outcome() -> None:
    old = made(seeds=(1, 2), gates=(Gate("numerics", "pass", "Right.", {"a": (1,)}),))
    same = compare(old, decode_verdict(encode_verdict(old)))
    assert same.reproduced and same.exit_code == 0 and not same.differs
    failed = made(seeds=(1, 2), outcome="fail", failed_gate="numerics", reason="Wrong.")
    assert compare(old, failed).exit_code == 1
    newer = made(
        seeds=(1, 2), outcome="fail", failed_gate="numerics", reason="Wrong.", versions={"workbench": "2"}
    )
    found = compare(old, newer)
    assert not found.reproduced and found.exit_code == 3
    assert any("workbench 1, now 2" in text for text in found.differs)
    elsewhere = compare(old, made(seeds=(1, 3)))
    assert not elsewhere.reproduced and elsewhere.exit_code == 3


def test_a_sessions_verdict_needs_neither_task_nor_candidate(lines: Path, tmp_path: Path) -> None:
    session = tmp_path / "session"
    for part in ("verdicts", "candidates"):
        (session / part).mkdir(parents=True)
    (session / "verdicts" / "c0001.json").write_text(lines.read_text().splitlines()[1])
    shutil.copy(WRONG, session / "candidates" / "c0001.cu")
    event = SessionStarted(seq=1, task_path=str(NORM), task_name="norm", version="1", target="host")
    (session / "events.jsonl").write_bytes(msgspec.json.encode(event) + b"\n")
    done = verify("--reproduce", session / "verdicts" / "c0001.json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "REPRODUCED" in done.stdout


# --- --debug ----------------------------------------------------------------------------------------------------


def test_debug_shows_what_was_printed_by_whom_and_which_elements_differ(tmp_path: Path) -> None:
    file = tmp_path / "prints.cu"
    file.write_text(PRINTS.replace("LEAST", "3"))
    done = verify(NORM, file, "--debug")
    assert done.returncode == 0, done.stdout + done.stderr
    assert r"rms_norm block (1, 0, 0) thread (3, 0, 0) line 13: cols are 320\x1b[2J" in done.stdout
    assert "\x1b" not in done.stdout
    assert "6400 of 6400 elements differ" in done.stdout
    assert done.stdout.count("expected ") == 20 and "and 6380 more" in done.stdout
    assert "PASS" not in done.stdout and "FAIL" not in done.stdout


def test_debug_shows_what_was_to_be_written_in_place() -> None:
    folder = NORM.parent.parent / "kv_cache"
    done = verify(folder / "task.py", folder / "leaves_the_cache.cu", "--debug")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "40 of 520 elements differ" in done.stdout  # a row of the cache; the mean is right
    assert "cache (written in place)[5, 0]" in done.stdout, done.stdout


def test_debug_names_the_assertion_that_stopped_it(tmp_path: Path) -> None:
    file = tmp_path / "asserts.cu"
    file.write_text(PRINTS.replace("LEAST", "3000"))
    done = verify(NORM, file, "--debug")
    assert done.returncode == 1
    assert "assertion failed: cols > 3000" in done.stdout and "line 15" in done.stdout


def test_debug_keeps_a_bounded_part_of_endless_output(tmp_path: Path) -> None:
    file = tmp_path / "endless.cu"
    text = PRINTS.replace("LEAST", "3").replace("threadIdx.x == 3 && blockIdx.x == 1", "true")
    file.write_text(text.replace('if (true) printf("cols', 'for (int n = 0; n < 20; ++n) printf("cols'))
    done = verify(NORM, file, "--debug")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout) < 100_000
    assert "more lines" in done.stdout and "bytes more" in done.stdout


def test_debug_of_what_does_not_compile_gives_the_line(tmp_path: Path) -> None:
    file = tmp_path / "broken.cu"
    file.write_text(PRINTS.replace("LEAST", "nothing"))
    done = verify(NORM, file, "--debug")
    assert done.returncode == 1
    assert "broken.cu:15" in done.stdout and "nothing" in done.stdout


@pytest.mark.parametrize("other", [["--json"], ["--junit", "x.xml"], ["--require", "no-warnings"]])
def test_debug_takes_no_option_that_needs_a_verdict(other: list[str]) -> None:
    done = verify(NORM, GOOD, "--debug", *other)
    assert done.returncode == 2 and other[0] in done.stderr
