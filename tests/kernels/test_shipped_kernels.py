"""The kernels that come with workbench are what a newcomer sees first, so every one of them has to pass."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from warm_judge import WarmJudge, complaint

import workbench
from workbench.core.locate import shipped_tasks
from workbench.dialect.knobs import with_knobs
from workbench.dialect.source import CandidateSource, split, token_hash

KERNELS = Path(workbench.__file__).parent / "archive" / "kernels"
TASKS = {task.name: Path(task.path) for task in shipped_tasks()}
# By task, so that the warm judge loads each task once.
CANDIDATES = sorted(KERNELS.glob("*/*.cu"))
NAMES = [f"{path.parent.name}/{path.stem}" for path in CANDIDATES]


def test_every_shipped_task_has_at_least_two_different_kernels() -> None:
    assert len(TASKS) >= 8
    for name in TASKS:
        hashes = {token_hash(path.read_bytes()) for path in (KERNELS / name).glob("*.cu")}
        assert len(hashes) >= 2, name


def test_every_kernel_folder_belongs_to_a_shipped_task() -> None:
    assert {path.parent.name for path in CANDIDATES} == set(TASKS)


@pytest.mark.parametrize("path", CANDIDATES, ids=NAMES)
def test_a_shipped_kernel_says_what_it_is_and_when_it_wins(path: Path) -> None:
    head = path.read_text().split("// clang-format off")[0].splitlines()
    assert 2 <= len(head) <= 4 and all(line.startswith("// ") for line in head), path
    assert re.search(r"\b[Ww]ins\b", " ".join(head)), path
    assert not re.search(r"\basm\b", path.read_text()), "inline PTX cannot run on the host target"


@pytest.mark.parametrize("path", CANDIDATES, ids=NAMES)
def test_a_shipped_kernel_passes(judge: WarmJudge, path: Path) -> None:
    verdict = judge.verdict(TASKS[path.parent.name], path.read_bytes(), path.name)
    assert verdict.outcome == "pass", complaint(verdict)
    assert verdict.candidate.knobs == _defaults(path), "the verdict names the knobs it was judged with"


@pytest.mark.parametrize("path", CANDIDATES, ids=NAMES)
def test_a_shipped_kernel_passes_with_other_knobs(judge: WarmJudge, path: Path, seed: int) -> None:
    """One draw of the knobs a run: the sweep offers them all, so none may be a trap."""
    rng = random.Random(seed)
    values = {name: rng.choice(choices) for name, choices in _choices(path).items()}
    source = with_knobs(path.read_bytes(), values)
    verdict = judge.verdict(TASKS[path.parent.name], source, f"{path.name} {values}")
    covered = "not covered" not in verdict.first_line
    assert verdict.outcome == "pass" or not covered, complaint(verdict)


def _choices(path: Path) -> dict[str, list[int]]:
    """The knobs of a file as written in it: shipped plans keep to one form, NAME = tune(default, [choices])."""
    source = split(path.read_bytes())
    assert isinstance(source, CandidateSource)
    found = re.findall(r"^(\w+) = tune\((\d+), \[([\d, ]+)\]\)$", source.plan, flags=re.MULTILINE)
    assert len(found) == source.plan.count("tune("), path
    return {name: [int(c) for c in choices.split(",")] for name, _, choices in found}


def _defaults(path: Path) -> dict[str, int]:
    source = split(path.read_bytes())
    assert isinstance(source, CandidateSource)
    found = re.findall(r"^(\w+) = tune\((\d+),", source.plan, flags=re.MULTILINE)
    return {name: int(default) for name, default in found}
