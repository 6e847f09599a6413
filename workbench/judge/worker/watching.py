"""The instrumented run: a case once more, in a build that sees every access of the candidate's code.

It explains and it fails; it never lets a candidate pass that the plain runs would not. Where it could not be made, or
could not see everything, the gates keep what they then cannot establish in `unchecked`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workbench.core.build import BuildFailure, HostBuild
from workbench.core.errors import JudgeError
from workbench.core.plan import CompileOptions, Launch, Plan
from workbench.judge.worker.outcome import Finding
from workbench.judge.worker.runs import Bytes, Run, Stage
from workbench.runner.compiler.client import Builds
from workbench.runner.host.accesses import AccessFinding, FindingKind
from workbench.runner.host.counts import Counts

if TYPE_CHECKING:
    from workbench.judge.worker.judging import Judging
    from workbench.judge.worker.references import Prepared

LAUNCH_S = 3.0
"""A launch that takes longer in the instrumented build is given up."""
PLAIN_S = 0.5
"""A call that takes longer in the plain build is not repeated in the instrumented one, which is some ten times slower."""
WATCHED_THREADS = 1 << 16
"""Threads that a plan may launch at a further declared size to be run there in the instrumented build as well."""


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


class Instrumented:
    """The instrumented builds of one verdict, by compile options: each compiled once, in the background."""

    def __init__(self, judging: Judging) -> None:
        self._judging = judging
        self._building: dict[CompileOptions, tuple[frozenset[str], Future[Builds]]] = {}

    def start(self, options: CompileOptions, kernels: Iterable[str]) -> Future[Builds] | None:
        """Begin to compile `kernels`, unless a build under these options has them all; None without a source."""
        judging, wanted = self._judging, dict.fromkeys(kernels)
        known, future = self._building.get(options, (frozenset(), None))
        if judging.source is None or (future is not None and known >= set(wanted)):
            return future
        future = judging.bench.start_build(
            judging.source,
            options,
            tuple(wanted),
            arch=None,
            host=True,
            instrumented=True,
            host_as=judging.arch,
        )
        self._building[options] = (frozenset(wanted), future)
        return future

    def build(self, options: CompileOptions, kernels: Iterable[str]) -> HostBuild | str:
        """The build, waiting for it (it is begun where nobody has); in words why there is none."""
        future = self.start(options, kernels)
        build = future.result().host if future is not None else None
        self._judging.checkpoint()
        if isinstance(build, HostBuild):
            return build
        said = build.diagnostics[0].message if isinstance(build, BuildFailure) and build.diagnostics else ""
        return f"the instrumented build failed{': ' if said else ''}{said[:200]}"

    def drop(self) -> None:
        """Nobody will ask for what was not begun."""
        for _, future in self._building.values():
            future.cancel()


def start(judging: Judging) -> None:
    """Begin to compile what is run in the instrumented build: the judged size's first, then what other declared sizes
    add to it, then what indices at full sizes are followed in."""
    for size in judging.task.sizes:
        plan = judging.plans.get(size.name)
        if plan is None or not size.judged or too_much(judging, plan):
            continue
        built = judging.builds.get(plan.options)
        if built is not None and built.host is not None:
            far = judging.overflows.kernels(plan.options)
            judging.instrumented.start(plan.options, (*built.kernels, *far))
    judging.overflows.start()


def too_much(judging: Judging, plan: Plan) -> str:
    """Why the plan is not run in the instrumented build, as far as the plan itself tells; "" where it is."""
    if plan.uses_library:
        return "a plan with library steps cannot be run in the instrumented build"
    if plan is not judging.plans.get(judging.size.name) and (count := threads(plan)) > WATCHED_THREADS:
        return f"{count:,} threads are too many for the instrumented build"
    return ""


def threads(plan: Plan) -> int:
    """CUDA threads of all launches of a plan."""
    return sum(math.prod(s.grid) * math.prod(s.block) for s in plan.steps if isinstance(s, Launch))


def watch(judging: Judging, stage: Stage, prepared: Prepared, plain: Run) -> Watched:
    """Run one case once in the instrumented build.

    Args:
        plain: a run of the same case in the plain build, whose time tells whether to begin.
    """
    if why := too_much(judging, stage.plan):
        return Watched(why=why)
    if plain.seconds > PLAIN_S:
        return Watched(why=f"a call takes {plain.seconds:.1f} s, too long for the instrumented build")
    build = judging.instrumented.build(stage.plan.options, stage.plan.kernels)
    if isinstance(build, str):
        return Watched(why=build)
    judged = stage.size.name == judging.task.sizes[0].name
    # What is followed at full sizes takes values of the judged size's cases.
    space = judging.overflows.address_space if judged else 0
    place = (prepared.case.name,) if judged else (stage.size.name, prepared.case.name)
    try:
        with judging.bench.another_runner(build, memory_bytes=space) as runner:
            reports, outputs, written = stage.watch(
                prepared.case,
                runner,
                timeout_s=min(judging.timeout_s, LAUNCH_S),
                seed=judging.drawn.at("watched", *place),
            )
            if space:
                # What the run above saw stands, whatever becomes of this one: it is tried again later, and said there.
                with contextlib.suppress(JudgeError):
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


def not_seen(watched: Watched, size: str = "") -> str:
    """What to say in `unchecked` about a run that did not see everything; `size`: of another one than the judged."""
    where = f"size {size}: " if size else ""
    return f"{where}not every access was seen: {watched.why.rstrip('.')}"


def wrong_in_itself(watched: Watched) -> Finding | None:
    """A fail for what is wrong even where every result is right, the most specific first; its evidence names the gate
    that this belongs to as `cause`."""
    unwritten = tuple(f for f in watched.of("unwritten read") if f.space == "global")
    causes = {"bounds": watched.of("out of bounds"), "poison": unwritten, "determinism": watched.of("race")}
    found = tuple(f for findings in causes.values() for f in findings)
    if not found:
        return None
    finding = failed("fail", found)
    cause = next(gate for gate, findings in causes.items() if findings)
    return Finding("fail", finding.reason, {**finding.evidence, "cause": cause})


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
