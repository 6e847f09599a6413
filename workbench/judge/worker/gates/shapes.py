"""shapes: right at every declared size that runs here and, in free dimensions, at random sizes.

A size that `require` excludes is reported as not covered, not failed. Where the small size was derived by shrinking
the task's integers, another size only warns: the candidate may be specialised to its shapes on purpose.
"""

from __future__ import annotations

from typing import Any

from workbench.core.plan import NotCovered, Plan
from workbench.core.task import SizeSpec
from workbench.core.verdict import Gate
from workbench.judge.worker import watching
from workbench.judge.worker.accuracy import Accuracy
from workbench.judge.worker.gates import audit, build, numerics, parse, precision
from workbench.judge.worker.gates.bounds import damaged
from workbench.judge.worker.judging import Judging
from workbench.judge.worker.outcome import CannotJudge, Faulted, Finding
from workbench.judge.worker.references import Prepared
from workbench.judge.worker.results import accuracies
from workbench.judge.worker.runs import Run, Stage
from workbench.judge.worker.task.limits import HOST_THREADS


def run(judging: Judging) -> Finding:
    """Judge each further size's cases, then the indices of those sizes that cannot be run here."""
    finding = _run(judging)
    judging.unchecked += never_run(judging) + never_as_long(judging)
    if finding.status == "fail":
        return finding
    return judging.overflows.finding() or finding


def never_run(judging: Judging) -> list[str]:
    """For each size that is planned only: what it launches that no run here did, by name.

    A plan may choose other kernels, defines or types at the full size, and code that was never run is never right.
    """
    found: list[str] = []
    judged = {size.name for size in judging.task.sizes if size.judged}
    for name, plan in judging.plans.items():
        if name in judged:
            continue
        new = [k for k in dict.fromkeys(plan.kernels) if (plan.options, k) not in judging.ran]
        if new:
            options = ", ".join(f"{k}={v}" for k, v in plan.options.defines)
            compiled = f" compiled with {options}" if options else ""
            found.append(f"size {name} launches {', '.join(new)}{compiled}, which no run here did")
    return found


def never_as_long(judging: Judging) -> list[str]:
    """The free dimensions that nowhere were as long as the task declares them, with how long they were.

    A product whose loop stops at some length is right at every shorter one.
    """
    found: list[str] = []
    for name in judging.task.info.free_dims:
        declared = max(size.values[name] for size in judging.task.sizes)
        longest = max(size.values[name] for size in [judging.size, *judging.right_at])
        if longest < declared:
            found.append(f"size: {name} was run up to {longest} of {declared}")
    return found


def _run(judging: Judging) -> Finding:
    """The first size that fails ends it."""
    info = judging.task.info
    assert judging.other_sizes is not None
    sizes = judging.other_sizes.sizes()
    seed = judging.other_sizes.seed
    judging.seeds.append(seed)
    if not sizes:
        return Finding(
            "pass", "The task declares one size; it may be hard-coded.", {"free_dims": list(info.free_dims)}
        )
    answers = parse.evaluate(judging, sizes)
    if isinstance(answers, Finding):
        return _softened(
            judging, Finding("fail", f"The plan fails at other sizes: {answers.reason}", answers.evidence)
        )
    right: list[str] = []
    measured: list[Accuracy] = []
    not_covered: dict[str, str] = dict(judging.not_covered)
    drawn = judging.other_sizes.prepared()
    for size, answer, prepared in zip(sizes, answers, drawn, strict=True):
        judging.checkpoint()
        if isinstance(answer, NotCovered):
            not_covered[described(size)] = answer.reason
            continue
        if prepared[0].failure:
            judging.unchecked.append(
                f"size {described(size)}: the reference does not run ({prepared[0].failure})"
            )
            continue
        fitted = _fitted(judging, size, answer, prepared)
        if isinstance(fitted, Finding):
            return _softened(judging, fitted)
        if fitted is None:
            continue
        size, answer, prepared = fitted
        found = _at(judging, size, answer, prepared, measured)
        if isinstance(found, Finding):
            return _softened(judging, found)
        if found:
            right.append(described(size))
            judging.right_at.append(size)
        elif size in judging.task.sizes:
            raise CannotJudge(
                f"Nothing can be checked at size {described(size)}, which the task declares: no case there has a "
                "trustworthy reference."
            )
    evidence: dict[str, Any] = {"right_at": right, "not_covered": not_covered, "seed": seed}
    if measured:
        evidence["accuracy"] = precision.judged(measured).evidence
    left_out = f"; not covered: {', '.join(not_covered)}" if not_covered else ""
    if not right and not not_covered:
        return Finding("warn", "At no further size could a case be compared.", evidence)
    if not right:
        return Finding("warn", f"Covers no other size than the judged one{left_out}.", evidence)
    return Finding("pass", f"Right at {len(right)} further sizes ({', '.join(right)}){left_out}.", evidence)


def _fitted(
    judging: Judging, size: SizeSpec, plan: Plan, prepared: list[Prepared]
) -> tuple[SizeSpec, Plan, list[Prepared]] | Finding | None:
    """The size with what belongs to it; a shorter one, named, where the judge chose one for which this plan starts more
    threads than the host simulates in good time. None: there is none."""
    if watching.threads(plan) <= HOST_THREADS or size.name in judging.plans:
        return size, plan, prepared
    assert judging.other_sizes is not None
    where, count = described(size), watching.threads(plan)
    shorter = judging.other_sizes.shorter(size, HOST_THREADS / count)
    if shorter is not None:
        answers = parse.evaluate(judging, [shorter[0]])
        if isinstance(answers, Finding):
            return answers
        if isinstance(answers[0], Plan) and watching.threads(answers[0]) <= 2 * HOST_THREADS:
            judging.unchecked.append(
                f"size {where}: {count:,} threads are too many for the host; it was {described(shorter[0])} instead"
            )
            return shorter[0], answers[0], shorter[1]
    judging.unchecked.append(f"size {where}: {count:,} threads are too many for the host")
    return None


def described(size: SizeSpec) -> str:
    """ "odd", or the values of a random size: "rows=13, cols=771"."""
    values = ", ".join(f"{name}={value}" for name, value in size.values.items())
    return values or size.name


def _at(
    judging: Judging, size: SizeSpec, plan: Plan, cases: list[Prepared], measured: list[Accuracy]
) -> Finding | int:
    """What is wrong at a size, or how many cases were right there."""
    failed = build.build(judging, [plan], host=True)
    where = described(size)
    if failed is not None:
        return Finding("fail", f"At {where}: {failed.reason}", failed.evidence)
    # A plan may compile other code for each size.
    if (refused := audit.further(judging, plan)) is not None:
        return Finding("fail", f"At {where}: {refused.reason}", refused.evidence)
    stage = judging.stage(size, plan)
    watched = size not in judging.task.sizes
    right = 0
    try:
        for number, prepared in enumerate(cases):
            judging.checkpoint()
            if (why := _unusable(judging, prepared)) is not None:
                judging.unchecked.append(why)
                continue
            result = stage.run(prepared.case, placement="end" if number % 2 == 0 else "start")
            finding = _in_case(judging, stage, prepared, result, measured)
            if finding is not None:
                cause = (
                    None
                    if "cause" in finding.evidence
                    else judging.cause_at(stage, prepared, result, finding)
                )
                return Finding("fail", *_explained(where, finding, cause))
            right += 1
            if not watched:
                watched = True
                if (finding := _watched(judging, stage, prepared, result)) is not None:
                    return Finding("fail", f"At {where}: {finding.reason}", finding.evidence)
    except Faulted as fault:
        if judging.task.info.derived_small and fault.fault.kind != "unsupported":
            return Finding("fail", f"At {where}: {fault.fault.message}")
        raise
    finally:
        stage.close()
    if not watched:
        judging.unchecked.append(f"size {where}: not every access was seen: no case could be run")
    return right


def _unusable(judging: Judging, prepared: Prepared) -> str | None:
    """Why a case cannot be counted, in words; what it leaves out is named where it can."""
    judging.seeds.append(prepared.case.seed)
    where = f"size {described(prepared.size)}, case {prepared.case.name}"
    if (why := prepared.unusable) is not None:
        return f"{where}: {why}"
    judging.unchecked.extend(f"{where}: {caveat}" for caveat in prepared.caveats)
    return None


def _in_case(
    judging: Judging, stage: Stage, prepared: Prepared, result: Run, measured: list[Accuracy]
) -> Finding | None:
    if (out_of_bounds := damaged([result])) is not None:
        return Finding("fail", out_of_bounds.reason, {**out_of_bounds.evidence, "cause": "bounds"})
    wrong = numerics.wrong_element(stage, prepared, result)
    if wrong is not None:
        case = f" (case {prepared.case.name})" if prepared.hard else ""
        return Finding("fail", f"{wrong.sentence()}{case}.", numerics.evidence(prepared, wrong))
    if prepared.hard and prepared.size not in judging.task.sizes:
        return None  # the bar is known to suit draws at any size, and hard cases at sizes that a person chose
    found = accuracies(stage, prepared, result, judging.task.info.precision)
    measured += found
    finding = precision.judged(found) if found else None
    return finding if finding is not None and finding.status == "fail" else None


def _explained(where: str, finding: Finding, cause: Gate | None) -> tuple[str, dict[str, Any]]:
    """Reason and evidence of a wrong result: what it comes from, where that is known, and then the result."""
    if cause is None:
        return f"At {where}: {finding.reason}", finding.evidence
    found = {**cause.evidence, **finding.evidence, "cause": cause.name}
    return f"At {where}: {cause.reason.rstrip('.')}; {finding.reason}", found


def _watched(judging: Judging, stage: Stage, prepared: Prepared, result: Run) -> Finding | None:
    """Run a case of a declared size in the instrumented build too, and name what that did not see.

    Rows that cannot be read as vectors, say, take a path of their own, with races and tails of its own.
    """
    watched = watching.watch(judging, stage, prepared, result)
    if (finding := watching.wrong_in_itself(watched)) is not None:
        return finding
    if watched.why:
        judging.unchecked.append(watching.not_seen(watched, described(stage.size)))
    return None


def _softened(judging: Judging, finding: Finding) -> Finding:
    """Sizes that the judge derived itself only warn, but for code that no size may have."""
    refused = finding.evidence.get("cause") == "audit"
    if not judging.task.info.derived_small or finding.status != "fail" or refused:
        return finding
    return Finding("warn", f"Specialised to these shapes. {finding.reason}", finding.evidence)
