"""numerics: right at the judged size, on all elements, for random draws and the hard cases."""

from __future__ import annotations

from typing import Any

import torch

from workbench.dialect.backward import backward_size
from workbench.judge.worker import non_finite
from workbench.judge.worker.compare import Mismatch, Refused, mismatch
from workbench.judge.worker.judging import Judging
from workbench.judge.worker.outcome import CannotJudge, Finding
from workbench.judge.worker.references import MIN_HARD_USABLE, MIN_RANDOM_USABLE, Prepared
from workbench.judge.worker.results import accuracies, results_of
from workbench.judge.worker.runs import Run, Stage, as_tensor
from workbench.judge.worker.task.cases import NON_FINITE
from workbench.judge.worker.task.gradients import GRADIENT_CASES


def run(judging: Judging) -> Finding:
    """Run every case once, alternating placements, and compare all outputs and everything written in place."""
    references = judging.references
    assert references is not None
    stage = judging.stage(judging.size)
    usable = {"random": 0, "hard": 0}
    checked: dict[str, dict[str, int]] = {o.name: {"random": 0, "hard": 0} for o in stage.results}
    # Those that the reference refused when the task was loaded are gone, too.
    hard_cases = len(judging.task.refused_cases)
    gradient_cases = 0
    for number in range(len(references)):
        if references.names[number] == NON_FINITE:
            continue
        prepared = references.get(number)
        judging.checkpoint()
        judging.seeds.append(prepared.case.seed)
        judging.case_seeds.append((prepared.case.name, prepared.case.seed))
        of_gradients = prepared.case.name in GRADIENT_CASES  # on inputs that are only drawn
        hard_cases += prepared.hard and not of_gradients
        gradient_cases += of_gradients
        if (why := prepared.unusable) is not None:
            judging.unchecked.append(f"case {prepared.case.name}: {why}")
            continue
        judging.unchecked += [f"case {prepared.case.name}: {caveat}" for caveat in prepared.caveats]
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
            # What is only drawn is no hard case of an output.
            if place >= len(stage.size.outputs) or not of_gradients:
                checked[stage.results[place].name]["hard" if prepared.hard else "random"] += 1
        if judging.first is None:
            judging.first = (prepared, result)
        judging.accuracies += accuracies(stage, prepared, result, judging.task.info.precision)
    _enough(usable, hard_cases + gradient_cases, "", "reference")
    for place, (name, seen) in enumerate(checked.items()):
        offered = hard_cases if place < len(stage.size.outputs) else hard_cases + gradient_cases
        _enough(seen, offered, f"of the {name} ", "one")
    counted = f"{usable['random']} random draws and {usable['hard']} hard cases"
    both = ", forward and backward" if judging.backward else ""
    right = f"All elements are right in {counted}{both}"
    found: dict[str, Any] = {
        "seeds": dict_of_seeds(judging),
        "cases": [r.case for r in judging.runs],
        # What is wrong for a fixed share of elements is found with 95 % where that share is 3 over this.
        "elements_compared": _elements(judging, stage) * len(judging.runs),
    }
    warning = non_finite.warning(judging, stage)
    if warning:
        return Finding("warn", f"{right}; {warning}.", {**found, "non_finite": warning})
    return Finding("pass", f"{right}.", found)


def _enough(usable: dict[str, int], offered: int, what: str, trusted: str) -> None:
    """Raises CannotJudge where too few cases are left; a task without floating inputs has no hard case `offered`: its
    random draws are all that there is."""
    if usable["random"] < MIN_RANDOM_USABLE or (offered and usable["hard"] < MIN_HARD_USABLE):
        raise CannotJudge(
            f"Too little {what}can be checked: {usable['random']} random draws and {usable['hard']} hard cases "
            f"have a trustworthy {trusted}; three and one are needed."
        )


def _elements(judging: Judging, stage: Stage) -> int:
    """Of the outputs of a run, and of what it writes in place."""
    prepared, _ = judging.first_run()
    written = sum(bar.target.numel() for bar in prepared.mutated.values())
    return written + sum(o.tensor.numel for o in stage.size.outputs)


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
    # The task's own check speaks for the outputs; gradients and what is written in place it never sees.
    first = 0 if prepared.check is None else count
    sources = prepared.selected_from()
    for each in results_of(stage, prepared, result, first=first):
        worst = mismatch(
            each.bar, each.actual, perturbed=each.perturbed, sides=each.sides, selected_from=sources
        )
        if worst is not None:
            return worst
    return None


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
