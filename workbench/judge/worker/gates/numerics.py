"""numerics: right at the judged size, on all elements, for random draws and the hard cases."""

from __future__ import annotations

from typing import Any

import torch

from workbench.dialect.backward import backward_size
from workbench.judge.worker import non_finite
from workbench.judge.worker.accuracy import Accuracy, accuracy
from workbench.judge.worker.compare import Mismatch, Refused, bars, mismatch
from workbench.judge.worker.judging import Judging
from workbench.judge.worker.outcome import CannotJudge, Finding
from workbench.judge.worker.references import MIN_HARD_USABLE, MIN_RANDOM_USABLE, Prepared
from workbench.judge.worker.runs import Run, Stage, as_tensor
from workbench.judge.worker.task.cases import NON_FINITE


def run(judging: Judging) -> Finding:
    """Run every case once, alternating placements, and compare all outputs and everything written in place."""
    references = judging.references
    assert references is not None
    stage = judging.stage(judging.size)
    usable = {"random": 0, "hard": 0}
    checked: dict[str, dict[str, int]] = {o.name: {"random": 0, "hard": 0} for o in stage.results}
    hard_cases = 0
    for number in range(len(references)):
        if references.names[number] == NON_FINITE:
            continue
        prepared = references.get(number)
        judging.checkpoint()
        judging.seeds.append(prepared.case.seed)
        judging.case_seeds.append((prepared.case.name, prepared.case.seed))
        hard_cases += prepared.hard
        if (why := prepared.unusable) is not None:
            judging.unchecked.append(f"case {prepared.case.name}: {why}")
            continue
        for gradient in prepared.left_out.values():
            judging.unchecked.append(f"case {prepared.case.name}: {gradient}")
        result = stage.run(prepared.case, placement="end" if number % 2 == 0 else "start")
        judging.runs.append(result)
        wrong = wrong_element(stage, prepared, result)
        if wrong is not None:
            judging.first = (prepared, result)  # what it was caused by is looked for on this very case
            name = prepared.case.name
            where = "" if name == "random" else f" (case {name})"
            return Finding("fail", wrong.sentence() + where + ".", evidence(prepared, wrong))
        usable["hard" if prepared.hard else "random"] += 1
        for place in prepared.counted():
            checked[stage.results[place].name]["hard" if prepared.hard else "random"] += 1
        if judging.first is None:
            judging.first = (prepared, result)
        judging.accuracies += accuracies(judging, stage, prepared, result)
    # A task without floating inputs has no hard case: its random draws are all that there is.
    if usable["random"] < MIN_RANDOM_USABLE or (hard_cases and usable["hard"] < MIN_HARD_USABLE):
        raise CannotJudge(
            f"Too little can be checked: {usable['random']} random draws and {usable['hard']} hard cases "
            "have a trustworthy reference; three and one are needed."
        )
    for name, seen in checked.items():
        if seen["random"] < MIN_RANDOM_USABLE or (hard_cases and seen["hard"] < MIN_HARD_USABLE):
            raise CannotJudge(
                f"Too little of the {name} can be checked: {seen['random']} random draws and {seen['hard']} hard cases "
                "have a trustworthy one; three and one are needed."
            )
    counted = f"{usable['random']} random draws and {usable['hard']} hard cases"
    both = ", forward and backward" if judging.backward else ""
    right = f"All elements are right in {counted}{both}"
    found: dict[str, Any] = {
        "seeds": dict_of_seeds(judging),
        "cases": [r.case for r in judging.runs],
        # What is wrong for a fixed share of elements is found with 95 % where that share is 3 over this.
        "elements_compared": sum(o.tensor.numel for o in stage.size.outputs) * len(judging.runs),
    }
    warning = non_finite.warning(judging, stage)
    if warning:
        return Finding("warn", f"{right}; {warning}.", {**found, "non_finite": warning})
    return Finding("pass", f"{right}.", found)


def wrong_element(stage: Stage, prepared: Prepared, result: Run) -> Mismatch | Refused | None:
    """The worst wrong element of a run's outputs and gradients and of what it should have written in place; None: all
    right."""
    count = len(stage.size.outputs)
    if prepared.check is not None:
        tensors = [
            as_tensor(d, o.tensor) for d, o in zip(result.outputs[:count], stage.size.outputs, strict=True)
        ]
        message = prepared.refused(tensors)
        if message is not None:
            return Refused(message)
    sources = prepared.selected_from()
    for number in prepared.counted() if prepared.check is None else range(count, len(prepared.bars)):
        if number in prepared.left_out:
            continue
        actual = as_tensor(result.outputs[number], stage.results[number].tensor)
        worst = mismatch(
            prepared.bars[number],
            actual,
            perturbed=lambda n=number: prepared.perturbed(n),  # type: ignore[misc]
            sides=lambda n=number: prepared.sides(n),  # type: ignore[misc]
            selected_from=sources,
        )
        if worst is not None:
            return worst
    parameters = stage.size.by_path()
    for path, bar in prepared.mutated.items() if prepared.check is None else ():
        spec = parameters[path].tensor
        assert spec is not None
        written = result.written.get(path)
        value = prepared.case.values[path]
        assert isinstance(value, torch.Tensor)
        worst = mismatch(bar, as_tensor(written, spec) if written is not None else value)
        if worst is not None:
            return worst
    return None


def alike(stage: Stage, one: Run, two: Run) -> bool:
    """Whether two runs agree within the tolerance of their dtypes, right or wrong: what atomic additions explain."""
    for output, a, b in zip(stage.results, one.outputs, two.outputs, strict=True):
        bar = bars([output], [as_tensor(a, output.tensor)], None, {})[0]
        if mismatch(bar, as_tensor(b, output.tensor)) is not None:
            return False
    return True


def evidence(prepared: Prepared, wrong: Mismatch | Refused) -> dict[str, Any]:
    """What a person needs to see the failure again: the element, its inputs, the case and its seed."""
    return {
        **wrong.evidence(),
        "case": prepared.case.name,
        "seed": prepared.case.seed,
        "size": prepared.size.name,
        "inputs": inputs_at(prepared, wrong.index),
    }


def inputs_at(prepared: Prepared, index: tuple[int, ...]) -> dict[str, Any]:
    """Of each input and incoming gradient: its element at the output's index where the shapes agree, else the range of its values."""
    found: dict[str, Any] = {}
    incoming = (
        backward_size(prepared.size, (), ()).parameters
        if any(path.startswith("gradient:") for path in prepared.case.values)
        else prepared.size.parameters
    )
    for parameter in incoming:
        value = prepared.case.values.get(parameter.path, parameter.value)
        if not isinstance(value, torch.Tensor):
            found[parameter.name] = value
        elif value.numel() == 0:
            found[parameter.name] = "empty"
        elif value.dim() == len(index) and all(i < n for i, n in zip(index, value.shape, strict=True)):
            found[parameter.name] = str(value[index].item())
        elif value.dim() == 1 and index and index[-1] < value.numel():
            found[parameter.name] = str(value[index[-1]].item())
        elif not value.is_complex():
            found[parameter.name] = f"from {value.min().item():.6g} to {value.max().item():.6g}"
    return dict(list(found.items())[:12])


def dict_of_seeds(judging: Judging) -> dict[str, list[int]]:
    """Seeds by case, in the order of the draws."""
    found: dict[str, list[int]] = {}
    for name, seed in judging.case_seeds:
        found.setdefault(name, []).append(seed)
    return found


def accuracies(judging: Judging, stage: Stage, prepared: Prepared, result: Run) -> list[Accuracy]:
    """How accurate each output is that has an fp64 reference; measured while the outputs are at hand."""
    found = [
        accuracy(
            prepared.bars[number],
            as_tensor(result.outputs[number], stage.results[number].tensor),
            prepared.case.name,
            precision=judging.task.info.precision,
            perturbed=lambda n=number: prepared.perturbed(n),  # type: ignore[misc]
            sides=lambda n=number: prepared.sides(n),  # type: ignore[misc]
        )
        for number in prepared.counted()
    ]
    return [a for a in found if a is not None]
