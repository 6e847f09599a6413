"""What is written in place is compared like an output: with fp64, between runs, and by name."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import torch

from workbench.core.plan import CompileOptions, Plan
from workbench.judge.worker.references import Prepared, prepare
from workbench.judge.worker.results import accuracies, alike, differing, results_of
from workbench.judge.worker.runs import Run, Stage, tensor_bytes
from workbench.judge.worker.task.loaded import LoadedTask
from workbench.judge.worker.task.loader import load_task
from workbench.runner.host.client import HostRunner

CACHE = Path(__file__).parent / "candidates" / "kv_cache" / "task.py"
NAME = "cache (written in place)"
PATH = "input:cache"


@pytest.fixture(scope="module")
def task() -> LoadedTask:
    return load_task(str(CACHE), target="host", revision=1)


@pytest.fixture
def prepared(task: LoadedTask, seed: int) -> Prepared:
    return prepare(task, task.sizes[0], seed, "random")


@pytest.fixture
def stage(task: LoadedTask) -> Stage:
    """One that is never run: it knows the size."""
    size = task.sizes[0]
    plan = Plan(size=size.name, options=CompileOptions(), tensors=(), steps=(), outputs=())
    return Stage(plan, size, {}, cast(HostRunner, None), 1.0)


def run_of(prepared: Prepared, cache: torch.Tensor) -> Run:
    """A run that gave eager's mean and left `cache` in the cache."""
    assert prepared.expected is not None
    mean = tensor_bytes(prepared.expected.eager[0])
    return Run("random", "end", False, [mean], [None], {PATH: tensor_bytes(cache)}, [], [], 0.0)


def right(prepared: Prepared) -> torch.Tensor:
    assert prepared.expected is not None
    return prepared.expected.mutated[PATH].clone()


def test_what_is_written_in_place_has_an_fp64_reference_and_its_perturbation(
    stage: Stage, prepared: Prepared
) -> None:
    *_, cache = results_of(stage, prepared, run_of(prepared, right(prepared)))
    assert cache.bar.output.name == NAME and cache.bar.exact and cache.bar.target.dtype == torch.float64
    moved = cache.perturbed()
    assert moved is not None and bool((moved != cache.bar.target).any())


def test_what_is_written_in_place_must_be_accurate_too(stage: Stage, prepared: Prepared) -> None:
    good = accuracies(stage, prepared, run_of(prepared, right(prepared)), "fp32")
    assert [a.output for a in good] == ["out", NAME] and all(a.ok for a in good)
    coarse = right(prepared)
    position = prepared.case.values["input:position"]
    assert isinstance(position, int)
    coarse[position] = coarse[position].half().float()
    found = {a.output: a for a in accuracies(stage, prepared, run_of(prepared, coarse), "fp32")}
    assert found["out"].ok and not found[NAME].ok


def test_runs_that_write_other_things_in_place_differ(stage: Stage, prepared: Prepared) -> None:
    plain = run_of(prepared, right(prepared))
    other = right(prepared)
    other[3, 1] = torch.nextafter(other[3, 1], torch.tensor(torch.inf))
    assert differing(stage, plain, run_of(prepared, right(prepared))) is None
    assert differing(stage, plain, run_of(prepared, other)) == (NAME, (3, 1))
    assert alike(stage, plain, run_of(prepared, other))
    other[3, 1] += 1
    assert not alike(stage, plain, run_of(prepared, other))
