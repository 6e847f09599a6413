"""What a run leaves to compare: outputs, gradients, and what the reference writes in place, which are outputs too.

Every gate that compares takes its list from here, so that none of them overlooks what was written in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from workbench.core.task import Output
from workbench.core.tensors import ITEMSIZE
from workbench.judge.worker.accuracy import Accuracy, accuracy
from workbench.judge.worker.compare import Bar, Sides, bars, mismatch, no_sides, unravel
from workbench.judge.worker.references import Prepared
from workbench.judge.worker.runs import Bytes, Run, Stage, as_tensor


@dataclass(frozen=True)
class Result:
    """One tensor of a run and what it must meet."""

    bar: Bar
    actual: torch.Tensor
    perturbed: Callable[[], torch.Tensor | None]
    sides: Sides


def results_of(stage: Stage, prepared: Prepared, run: Run, *, first: int = 0) -> Iterator[Result]:
    """Of the outputs and gradients that the case can check, in order from number `first` on, and then of what was to be
    written in place."""
    for number in prepared.counted():
        if number < first:
            continue
        yield Result(
            prepared.bars[number],
            as_tensor(run.outputs[number], stage.results[number].tensor),
            partial(prepared.perturbed, number),
            partial(prepared.sides, number),
        )
    parameters = stage.size.by_path()
    for path, bar in prepared.mutated.items():
        spec = parameters[path].tensor
        value = prepared.case.values[path]
        assert spec is not None and isinstance(value, torch.Tensor)
        written = run.written.get(path)  # a tensor that the plan never asks for holds what it held
        actual = value if written is None else as_tensor(written, spec)
        yield Result(bar, actual, partial(prepared.perturbed_mutated, path), no_sides)


def accuracies(stage: Stage, prepared: Prepared, run: Run, precision: str) -> list[Accuracy]:
    """How accurate each result is that has an fp64 reference; `precision` is the task's. Outputs of which the task's own
    check decides what is right are none: where either sign is, the other is no error."""
    first = 0 if prepared.check is None else len(stage.size.outputs)
    found = [
        accuracy(
            result.bar,
            result.actual,
            prepared.case.name,
            precision=precision,
            perturbed=result.perturbed,
            sides=result.sides,
        )
        for result in results_of(stage, prepared, run, first=first)
    ]
    return [a for a in found if a is not None]


def pairs(stage: Stage, one: Run, two: Run) -> Iterator[tuple[Output, Bytes, Bytes]]:
    """Of two runs each result, in place too; not the running statistics that a candidate may write as it likes."""
    yield from zip(stage.results, one.outputs, two.outputs, strict=True)
    for parameter in stage.size.parameters:
        if parameter.mutable and parameter.tensor is not None and parameter.path in one.written:
            output = Output(f"{parameter.name} (written in place)", parameter.tensor)
            yield output, one.written[parameter.path], two.written[parameter.path]


def alike(stage: Stage, one: Run, two: Run) -> bool:
    """Whether two runs agree within the tolerance of their dtypes, right or wrong: what atomic additions explain."""
    for output, a, b in pairs(stage, one, two):
        bar = bars([output], [as_tensor(a, output.tensor)], None, {})[0]
        if mismatch(bar, as_tensor(b, output.tensor)) is not None:
            return False
    return True


def differing(stage: Stage, one: Run, two: Run) -> tuple[str, tuple[int, ...]] | None:
    """The first element that is not the same bit for bit: name and index."""
    for output, a, b in pairs(stage, one, two):
        if not np.array_equal(a, b):
            at = int(np.flatnonzero(a != b)[0]) // ITEMSIZE[output.tensor.dtype]
            return output.name, unravel(at, output.tensor.shape)
    return None
