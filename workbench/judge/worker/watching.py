"""The instrumented run: the judged size once more, in a build that sees every access of the candidate's code.

It explains and it fails; it never lets a candidate pass that the plain runs would not. Where it could not be made, or
could not see everything, the gates keep what they then cannot establish in `unchecked`.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workbench.core.build import BuildFailure, HostBuild
from workbench.core.errors import JudgeError
from workbench.core.plan import CompileOptions, Plan
from workbench.judge.worker.outcome import Finding
from workbench.judge.worker.runs import Bytes, Stage
from workbench.judge.worker.task.loader import Case
from workbench.runner.compiler.client import Builds
from workbench.runner.host.accesses import AccessFinding, FindingKind
from workbench.runner.host.counts import Counts

if TYPE_CHECKING:
    from workbench.judge.worker.judging import Judging

LAUNCH_S = 3.0
"""A launch that takes longer in the instrumented build is given up."""
PLAIN_S = 0.5
"""A call that takes longer in the plain build is not repeated in the instrumented one, which is some ten times slower."""


@dataclass(frozen=True)
class Watched:
    """What the instrumented run saw; `why` says what kept it from seeing everything ("" where nothing did)."""

    findings: tuple[AccessFinding, ...] = ()
    why: str = ""
    outputs: list[Bytes] | None = None
    """By output; None where it did not come to its end. Other values stood in local memory that nobody wrote."""
    written: dict[str, Bytes] = field(default_factory=dict)
    """By path: what was written in place, where `outputs` are known."""
    counts: tuple[Counts, ...] = ()
    """Of forward and, where there is one, of backward; () where it did not run to its end."""

    def of(self, *kinds: FindingKind) -> tuple[AccessFinding, ...]:
        """The findings of these kinds, in the order in which they were found."""
        return tuple(f for f in self.findings if f.kind in kinds)


def start(judging: Judging, plan: Plan) -> Future[Builds] | None:
    """Begin to compile the instrumented build of what `plan` launches; None for one that it cannot run."""
    judging.overflows.start(plan.options)
    if plan.uses_library:
        return None
    kernels = (*judging.built_for(plan).kernels, *judging.overflows.kernels(plan.options))
    return start_build(judging, plan.options, tuple(dict.fromkeys(kernels)))


def start_build(judging: Judging, options: CompileOptions, kernels: tuple[str, ...]) -> Future[Builds] | None:
    """Begin to compile an instrumented build."""
    if judging.source is None:
        return None
    return judging.bench.start_build(
        judging.source,
        options,
        kernels,
        file_name=judging.file_name,
        arch=None,
        host=True,
        instrumented=True,
        host_as=judging.arch,
    )


def watch(judging: Judging, building: Future[Builds] | None) -> Watched:
    """Run the first case once in the instrumented build."""
    prepared, plain = judging.first_run()
    if building is None:
        return Watched(why="a plan with library steps cannot be run in the instrumented build")
    if plain.seconds > PLAIN_S:
        return Watched(why=f"a call takes {plain.seconds:.1f} s, too long for the instrumented build")
    build = building.result().host
    judging.checkpoint()
    if not isinstance(build, HostBuild):
        said = build.diagnostics[0].message if isinstance(build, BuildFailure) and build.diagnostics else ""
        return Watched(why=f"the instrumented build failed{': ' if said else ''}{said[:200]}")
    stage = judging.stage(judging.size)
    try:
        space = judging.overflows.address_space
        with judging.bench.another_runner(build, memory_bytes=space) as runner:
            reports, outputs, written = stage.watch(
                prepared.case,
                runner,
                timeout_s=min(judging.timeout_s, LAUNCH_S),
                seed=judging.drawn.at("watched", prepared.case.name),
            )
            if space:
                judging.overflows.follow(build, runner)
    except JudgeError as error:
        return Watched(why=str(error))
    judging.checkpoint()
    findings = tuple(finding for report in reports for finding in report.findings)
    incomplete: dict[str, None] = {}
    for report in reports:
        if report.seen is None:
            return Watched(findings, "the instrumented run did not start")
        if report.fault is not None:
            return Watched(findings, f"the instrumented run ended early: {report.fault.message}")
        incomplete |= dict.fromkeys(report.seen.incomplete)
    counts = tuple(report.counts for report in reports if report.counts is not None)
    return Watched(findings, "; ".join(incomplete), outputs, written, counts)


def watch_at(
    judging: Judging, stage: Stage, case: Case, building: Future[Builds] | None
) -> tuple[AccessFinding, ...]:
    """Run one case of another size in the instrumented build, where that is the judged size's: its accesses outside of
    buffers, its races, and its reads of global memory that nobody wrote."""
    judged = judging.plans[judging.size.name]
    if building is None or stage.plan.options != judged.options:
        return ()
    build = building.result().host
    if not isinstance(build, HostBuild) or not set(stage.plan.kernels) <= set(build.entries):
        return ()
    try:
        with judging.bench.another_runner(build) as runner:
            reports, *_ = stage.watch(
                case,
                runner,
                timeout_s=min(judging.timeout_s, LAUNCH_S),
                seed=judging.drawn.at("watched", stage.size.name),
            )
    except JudgeError:
        return ()  # what keeps it from running was found, and said, at the judged size
    found = [f for report in reports for f in report.findings]
    return tuple(
        f
        for f in found
        if f.kind in ("out of bounds", "race") or (f.kind == "unwritten read" and f.space == "global")
    )


def failed(status: Any, findings: tuple[AccessFinding, ...]) -> Finding:
    """A gate's finding that names the first of `findings`, with all of them as evidence."""
    first = findings[0]
    sentence = first.message[:1].upper() + first.message[1:]
    return Finding(
        status,
        f"{sentence}.",
        {
            "kernel": first.kernel,
            "line": first.line,
            **({"other_line": first.other_line} if first.other_line else {}),
            "block": list(first.block),
            "thread": list(first.thread),
            **({"other_block": list(first.other_block)} if first.other_block is not None else {}),
            **({"other_thread": list(first.other_thread)} if first.other_thread is not None else {}),
            "buffer": first.buffer,
            "byte_offset": first.index,
            "access": first.access,
            "findings": [f.message for f in findings[:16]],
        },
    )
