"""parse: one plan; it evaluates at every size; outputs have the reference's shapes and dtypes; launches fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workbench.core.plan import Diagnostic, NotCovered, Plan, PlanFailure
from workbench.core.task import SizeSpec
from workbench.dialect.check import check_outputs
from workbench.dialect.source import split
from workbench.judge.worker.judging import Judging
from workbench.judge.worker.outcome import CannotJudge, Finding


def run(judging: Judging) -> Finding:
    """Split the file, evaluate the plan at every declared size, and check what it returns."""
    parts = split(judging.request.source)
    if isinstance(parts, PlanFailure):
        return failed(parts.diagnostics)
    judging.source = parts
    sizes = judging.task.sizes
    answers = evaluate(judging, sizes)
    if isinstance(answers, Finding):
        return answers
    for size, answer in zip(sizes, answers, strict=True):
        if isinstance(answer, NotCovered):
            judging.not_covered[size.name] = answer.reason
        else:
            judging.plans[size.name] = answer
            judging.knobs = answer.knobs
    if not judging.plans:
        why = next(iter(judging.not_covered.values()))
        return Finding("fail", f"`require` excludes every size of the task: {why}", _covered(judging))
    if judging.size.name not in judging.plans:
        raise CannotJudge(
            f"The plan does not cover the size that can be judged here ({judging.size.name}): "
            f"{judging.not_covered[judging.size.name]}."
        )
    names = ", ".join(judging.plans)
    left_out = f"; not covered: {', '.join(judging.not_covered)}" if judging.not_covered else ""
    both = ", forward and backward" if judging.backward else ""
    return Finding("pass", f"The plan evaluates at {names}{both}{left_out}.", _covered(judging))


def evaluate(judging: Judging, sizes: Sequence[SizeSpec]) -> list[Plan | NotCovered] | Finding:
    """The plan at each of `sizes`, outputs checked; a `Finding` where it fails."""
    assert judging.source is not None
    answers = judging.bench.evaluate(
        judging.source,
        list(sizes),
        limits=judging.limits,
        own_kernels_only=judging.task.info.own_kernels_only,
    )
    judging.checkpoint()
    if isinstance(answers, PlanFailure):
        return failed(answers.diagnostics, cause=answers.cause)
    for size, answer in zip(sizes, answers, strict=True):
        if isinstance(answer, Plan) and (diagnostics := check_outputs(answer, size)):
            return failed(diagnostics, size=size.name)
    return _with_backward(judging, [answer for answer in answers if isinstance(answer, Plan)]) or answers


def _with_backward(judging: Judging, plans: list[Plan]) -> Finding | None:
    """Note whether the plan has a backward; a `Finding` where it is wanted, or there at some sizes only."""
    for plan in plans:
        has = plan.backward is not None
        if judging.task.info.backward and not has:
            message = "The task asks for gradients too (backward = True): define backward beside forward."
            return failed([Diagnostic(message, plan.line)], size=plan.size)
        if (judging.plans or plan is not plans[0]) and has != judging.backward:
            return failed(
                [Diagnostic("The plan has backward at some sizes only.", plan.line)], size=plan.size
            )
        judging.backward = has
    return None


def failed(diagnostics: Sequence[Diagnostic], **more: Any) -> Finding:
    """A failing finding whose sentence is the first error, with its line, and whose evidence has them all."""
    errors = [d for d in diagnostics if d.severity == "error"] or list(diagnostics)
    first = errors[0] if errors else Diagnostic("It failed without a message.")
    place = f"line {first.line}: " if first.line else ""
    summary = first.message.strip().splitlines()
    return Finding(
        "fail",
        place + (summary[0] if summary else ""),
        {
            **more,
            "diagnostics": [
                {"line": d.line, "column": d.column, "severity": d.severity, "message": d.message}
                for d in [*errors, *(d for d in diagnostics if d.severity != "error")][:50]
            ],
        },
    )


def _covered(judging: Judging) -> dict[str, Any]:
    return {"covered": list(judging.plans), "not_covered": dict(judging.not_covered)}
