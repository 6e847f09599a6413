"""From what the gates left behind to the verdict of schema 1 (docs/design.md, section 6)."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.core.messages import Judge
from workbench.core.plan import Launch
from workbench.core.verdict import (
    Gate,
    KernelResources,
    Memory,
    Outcome,
    Resources,
    Seconds,
    Verdict,
    VerdictCandidate,
    VerdictTask,
)
from workbench.judge.worker.elsewhere import unlike_the_device
from workbench.judge.worker.estimate import estimate
from workbench.judge.worker.runs import root
from workbench.judge.worker.versions import versions
from workbench.profile.occupancy import occupancy

if TYPE_CHECKING:
    from workbench.judge.worker.judging import Judging

GIVEN_SEEDS = "fresh draws: this is a reproduction, whose seeds were given and may have been known"
ALWAYS_UNCHECKED = (
    "speed: timing, floor and recheck need a GPU",
    "code that finds out at run time that it is on a CPU (rounding, addresses), or from declarations that only one "
    "compiler has, and computes something else there",
)


def assemble(
    judging: Judging,
    outcome: Outcome,
    failed: str | None,
    reason: str,
    gates: tuple[Gate, ...],
    seconds: float,
) -> Verdict:
    """The verdict of a candidate that went through (some of) the gates."""
    info = judging.task.info
    resources = resources_of(judging)
    plan = judging.plans.get(judging.size.name)
    isolation = judging.bench.isolation()
    given = [GIVEN_SEEDS] if judging.request.seeds else []
    missing = [f"isolation of the {p}: {what}" for p, e in isolation.items() for what in e.missing]
    return Verdict(
        task=VerdictTask(info.name, info.fingerprint, judging.revision),
        candidate=_candidate(judging.request, dict(plan.values) if plan else {}),
        target="host",
        device={
            **device(judging.arch),
            "isolation": {p: list(e.means) for p, e in isolation.items()},
            "launch_limit_s": judging.timeout_s,
        },
        versions={**versions(), **judging.bench.versions()},
        outcome=outcome,
        failed_gate=failed,
        reason=reason if outcome != "pass" else "Every gate that this target has passed.",
        gates=gates,
        unchecked=tuple(
            dict.fromkeys(
                [*judging.unchecked, *unlike_the_device(judging), *missing, *given, *ALWAYS_UNCHECKED]
            )
        ),
        resources=resources,
        estimate=estimate(judging, plan, resources, judging.counted) if plan and resources.kernels else None,
        memory=memory_of(judging),
        gradients=judging.size.gradients if judging.backward else (),
        seeds=tuple(judging.seeds),
        reproduction=bool(given),
        seconds=Seconds(round(seconds, 4), {g.name: g.seconds for g in gates if g.status != "skipped"}),
    )


def without_task(request: Judge, reason: str) -> Verdict:
    """An `error` where there is nothing to judge against."""
    return Verdict(
        task=VerdictTask("", "", 0),
        candidate=_candidate(request, {}),
        target="host",
        device=device(""),
        versions=versions(),
        outcome="error",
        reason=reason,
        reproduction=bool(request.seeds),
    )


def resources_of(judging: Judging) -> Resources:
    """What each launch of the judged size costs, from the cubin; one entry for each kernel and block size."""
    plan = judging.plans.get(judging.size.name)
    if plan is None or plan.options not in judging.builds:
        return Resources()
    built = judging.built_for(plan)
    found: dict[tuple[Any, ...], KernelResources] = {}
    for step in (step for half in plan.halves for step in half.steps):
        kernel = built.kernels.get(step.kernel) if isinstance(step, Launch) else None
        if kernel is None or not isinstance(step, Launch):
            continue
        threads = step.block[0] * step.block[1] * step.block[2]
        shared = kernel.shared_bytes + step.shared_bytes
        warps = occupancy(built.cuda.arch, threads, kernel.registers, shared)
        found.setdefault(
            (step.kernel, step.block, shared),
            KernelResources(
                step.kernel,
                kernel.registers,
                kernel.spill_bytes,
                shared,
                round(warps.ratio, 4),
                kernel.constant_bytes,
                step.block,
                warps.limiter,
            ),
        )
    return Resources(tuple(found.values()), built.cuda.arch)


def memory_of(judging: Judging) -> Memory:
    """Bytes that the plan holds at the judged size, each buffer once."""
    plan = judging.plans.get(judging.size.name)
    if plan is None:
        return Memory()
    held: list[int] = []
    scratch = 0
    for half in plan.halves:
        outputs = {root(half, t) for t in half.outputs}
        own = {n: t.spec.nbytes for n, t in enumerate(half.tensors) if t.base is None}
        held.append(sum(own.values()))
        scratch += sum(
            b for n, b in own.items() if half.tensors[n].origin != "signature" and n not in outputs
        )
    kept = {root(plan, n) for _, n in plan.saved} if plan.backward is not None else set()
    # What forward was given is there anyway: only what it made costs memory until backward.
    saved = sum(plan.tensors[n].spec.nbytes for n in kept if plan.tensors[n].origin != "signature")
    return Memory(peak_bytes=max(held), scratch_bytes=scratch, saved_bytes=saved)


@functools.cache
def device(arch: str) -> dict[str, Any]:
    """The host's processor, and the architecture that the cubin is for."""
    return {
        "name": _processor(),
        "arch": arch,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _candidate(request: Judge, knobs: dict[str, int | float | bool | str]) -> VerdictCandidate:
    sha256 = hashlib.sha256(request.source).hexdigest()
    return VerdictCandidate(request.candidate, sha256, request.path, knobs)
