"""audit: nothing in the compiled code can keep state, tell launches apart, or call the system."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workbench.core.errors import JudgeError
from workbench.core.plan import LibraryStep, Plan
from workbench.judge.worker.judging import Built, Judging
from workbench.judge.worker.outcome import CannotJudge, Finding
from workbench.profile.audit import AuditReport
from workbench.profile.audit import Finding as AuditFinding


def run(judging: Judging) -> Finding:
    """Audit every cubin that a declared size launches."""
    steps = [
        s.op for p in judging.plans.values() for h in p.halves for s in h.steps if isinstance(s, LibraryStep)
    ]
    library = tuple(dict.fromkeys(steps))
    if not any(p.kernels for p in judging.plans.values()):
        what = f"library steps only ({', '.join(library)})" if library else "fills only"
        return Finding(
            "fail", f"The plan has no kernel of its own: {what}.", {"library_steps": list(library)}
        )
    findings: list[AuditFinding] = []
    tables: dict[str, None] = {}
    copied = computed = False
    for built in judging.builds.values():
        report = gather(judging, built)
        findings.extend(report.findings)
        copied |= report.computes != "yes"
        computed |= report.computes == "yes"
        tables.update(dict.fromkeys(report.tables))
    evidence = {"findings": _listed(findings), "tables": list(tables), "library_steps": list(library)}
    if library and copied and not computed and not any(f.severity == "fail" for f in findings):
        why = f"No own kernel computes: they only copy, and library steps ({', '.join(library)}) do the work."
        return Finding("fail", why, evidence)
    for severity in ("fail", "warn"):
        first = next((f for f in findings if f.severity == severity), None)
        if first is not None:
            return Finding(first.severity, _sentence(first), evidence)
    listed = f" Library steps: {', '.join(library)}." if library else ""
    return Finding(
        "pass", f"Nothing that keeps state, tells launches apart or calls the system.{listed}", evidence
    )


def further(judging: Judging, plan: Plan) -> Finding | None:
    """A fail where code is refused that only a further size compiles; what else is found goes to the verdict."""
    built = judging.builds.get(plan.options)
    if built is None or built.gathered:
        return None
    refused = gather(judging, built).failed
    if not refused:
        return None
    return Finding("fail", _sentence(refused[0]), {"cause": "audit", "findings": _listed(refused)})


def gather(judging: Judging, built: Built) -> AuditReport:
    """What the audit found in one build; what other gates need of it is kept for them.

    Raises:
        CannotJudge: there is no nvdisasm.
    """
    try:
        report = judging.audited(built)
    except JudgeError as error:
        raise CannotJudge(str(error)) from None
    judging.checkpoint()
    built.gathered = True
    judging.unchecked.extend(f"audit: {what}" for what in report.unchecked)
    if report.tables:
        judging.unchecked.append("tables: the host target does not restore initialised globals between runs")
    judging.float_atomics = tuple(dict.fromkeys([*judging.float_atomics, *report.float_atomics]))
    judging.arrival = tuple(dict.fromkeys([*judging.arrival, *report.arrival]))
    return report


def _sentence(found: AuditFinding) -> str:
    place = f"line {found.line}: " if found.line else ""
    return f"{place}{found.what}: {found.why}"


def _listed(findings: Sequence[AuditFinding]) -> list[dict[str, Any]]:
    return [
        {"what": f.what, "kernel": f.kernel, "line": f.line, "why": f.why, "severity": f.severity}
        for f in findings[:50]
    ]
