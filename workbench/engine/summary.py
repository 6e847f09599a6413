"""What the population keeps of a verdict, and the verdict of a candidate that the judge could not finish."""

from __future__ import annotations

from workbench.core.candidate import CandidateView, VerdictSummary
from workbench.core.task import TaskInfo
from workbench.core.verdict import Target, Verdict, VerdictCandidate, VerdictTask

_LINE = 400


def summarize(verdict: Verdict, basis: str) -> VerdictSummary:
    """The summary of `verdict`, reached under `basis` (`TaskInfo.basis`)."""
    kernels = verdict.resources.kernels
    # The costliest is the one that leaves an SM emptiest; among equals the one that takes most registers.
    costliest = min(kernels, key=lambda k: (k.occupancy, -k.registers)) if kernels else None
    line = " ".join(verdict.first_line.split())
    return VerdictSummary(
        outcome=verdict.outcome,
        failed_gate=verdict.failed_gate,
        first_line=line if len(line) <= _LINE else line[: _LINE - 1] + "…",
        basis=basis,
        revision=verdict.task.revision,
        seconds=verdict.seconds.total,
        registers=costliest.registers if costliest else None,
        spill_bytes=costliest.spill_bytes if costliest else None,
        shared_bytes=costliest.shared_bytes if costliest else None,
        occupancy=costliest.occupancy if costliest else None,
        warnings=sum(gate.status == "warn" for gate in verdict.gates),
        unchecked=len(verdict.unchecked),
        rank=_rank(verdict),
    )


def unjudged(view: CandidateView, task: TaskInfo, revision: int, target: Target, reason: str) -> Verdict:
    """The `error` verdict of a candidate that the judge cannot get through with."""
    return Verdict(
        task=VerdictTask(name=task.name, fingerprint=task.fingerprint, revision=revision),
        candidate=VerdictCandidate(
            id=view.id, sha256=view.sha256, path=view.origin_path or "", knobs=view.knobs
        ),
        target=target,
        device={},
        versions={},
        outcome="error",
        reason=reason,
        unchecked=("everything: the judge did not get through",),
    )


def _rank(verdict: Verdict) -> float | None:
    """Microseconds where it was timed, else the estimate's relative cost; a candidate that fails has no rank."""
    if verdict.outcome != "pass":
        return None
    if verdict.timing:
        return _finite(verdict.timing[0].candidate_us.median)
    estimate = verdict.estimate or {}
    return _finite(estimate.get("relative_cost"))


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e30 else None
