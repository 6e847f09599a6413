"""The candidates printed in the documents are judged, so that no reader copies one that fails (or passes by surprise)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from warm_judge import WarmJudge, complaint

from workbench.core.locate import shipped_tasks

DOCS = Path(__file__).resolve().parents[2] / "docs"
TASKS = {task.name: Path(task.path) for task in shipped_tasks()}


def _examples() -> list[tuple[str, str, str]]:
    """Heading, task and candidate of each example in docs/dialect-by-example.md."""
    text = (DOCS / "dialect-by-example.md").read_text()
    found = []
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        for task, code in re.findall(
            r"^Task: `(\w+)`.*?^```cuda\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL
        ):
            found.append((section.splitlines()[0], task, code))
    return found


def _walk() -> list[tuple[str, str, str]]:
    """File name, expected failed gate ("" for a pass) and candidate of each step of docs/first-quarter-hour.md.

    A step is announced as "Save this as `name.cu`"; a comment `<!-- fails: gate -->` before its fence says what
    the judge must find.
    """
    text = (DOCS / "first-quarter-hour.md").read_text()
    step = re.compile(
        r"`(\w+\.cu)`[^`]*?(?:<!-- fails: (\w+) -->\s*)?^```cuda\n(.*?)^```", re.MULTILINE | re.DOTALL
    )
    return [(name, gate, code) for name, gate, code in step.findall(text)]


EXAMPLES = _examples()
WALK = _walk()


def test_there_are_eleven_examples_and_they_use_every_shipped_task() -> None:
    assert len(EXAMPLES) == 11
    assert {task for _, task, _ in EXAMPLES} == set(TASKS)


@pytest.mark.parametrize(("heading", "task", "code"), EXAMPLES, ids=[heading for heading, _, _ in EXAMPLES])
def test_an_example_of_the_dialect_passes(judge: WarmJudge, heading: str, task: str, code: str) -> None:
    verdict = judge.verdict(TASKS[task], code.encode(), heading)
    assert verdict.outcome == "pass", complaint(verdict)


def test_the_first_quarter_hour_shows_a_failure_and_its_fix() -> None:
    assert len(WALK) == 2
    assert [bool(gate) for _, gate, _ in WALK] == [True, False]


@pytest.mark.parametrize(("name", "gate", "code"), WALK, ids=["the failure", "the fix"][: len(WALK)])
def test_the_first_quarter_hour_tells_the_truth(judge: WarmJudge, name: str, gate: str, code: str) -> None:
    verdict = judge.verdict(TASKS["rmsnorm"], code.encode(), name)
    if gate:
        assert (verdict.outcome, verdict.failed_gate) == ("fail", gate), complaint(verdict)
    else:
        assert verdict.outcome == "pass", complaint(verdict)
