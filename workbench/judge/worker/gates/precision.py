"""precision: as accurate as the task's dtype deserves, with k stated."""

from __future__ import annotations

from workbench.judge.worker.accuracy import Accuracy
from workbench.judge.worker.compare import Bar
from workbench.judge.worker.judging import Judging
from workbench.judge.worker.outcome import Finding


def run(judging: Judging) -> Finding:
    """Judge the errors that the numerics runs measured."""
    found = judging.accuracies
    checked = judging.first is not None and judging.first[0].check is not None
    if checked:
        judging.unchecked.append(
            "precision of what is returned: the task's own check says what is right, not how far it may be off"
        )
    if not found:
        floating = any(not bar.exact and bar.allowed is not None for bar in _bars(judging))
        if floating:
            judging.unchecked.append("precision: there is no fp64 reference")
        why = "there is no fp64 reference" if floating else "no result is a floating-point number"
        if checked:
            why = "the task's own check decides"
        return Finding("skipped", f"Not measured: {why}.")
    return judged(found)


def judged(found: list[Accuracy]) -> Finding:
    """A finding about the least accurate of `found`, which is not empty."""
    worst = max(found, key=lambda a: a.ratio / a.k)
    evidence = {
        "output": worst.output,
        "case": worst.case,
        "norm": worst.norm,
        "error": worst.error,
        "unit": worst.bar,
        "ratio": round(worst.ratio, 3),
        "k": worst.k,
    }
    said = f"the {worst.norm} error of {worst.output} is {worst.ratio:.3g} times the unavoidable"
    if not worst.ok:
        case = "" if worst.case == "random" else f" in case {worst.case}"
        return Finding("fail", f"Too inaccurate: {said}{case}; {worst.k:g} times is allowed.", evidence)
    return Finding("pass", f"Accurate: {said}, {worst.k:g} times is allowed.", evidence)


def _bars(judging: Judging) -> list[Bar]:
    """Of the outputs, the gradients and what is written in place."""
    if judging.first is None:
        return []
    prepared = judging.first[0]
    return [*prepared.bars, *prepared.mutated.values()]
