"""compile: NVRTC accepts it for the architecture; arguments fit the compiled parameters; the host target can run it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from workbench.core.build import BuildFailure, CudaBuild
from workbench.core.plan import CompileOptions, Diagnostic, Launch, Plan
from workbench.dialect.check import check_arguments
from workbench.judge.worker import watching
from workbench.judge.worker.gates.parse import failed
from workbench.judge.worker.judging import Built, Judging
from workbench.judge.worker.outcome import CannotJudge, Finding
from workbench.profile.occupancy import MOST_PROCESSORS, occupancy
from workbench.runner.compiler.client import Builds

AGAIN_S = 10.0
"""A compiler that died later than that, seconds, is not asked again: what exhausts one on purpose takes long only once."""


def run(judging: Judging) -> Finding:
    """Build once for every set of options that the declared sizes ask for."""
    judging.start_references()
    runnable = {size.name for size in judging.task.sizes if size.judged}
    groups: dict[CompileOptions, list[Plan]] = {}
    for plan in judging.plans.values():
        groups.setdefault(plan.options, []).append(plan)
    for plans in groups.values():
        finding = build(judging, plans, host=any(p.size in runnable for p in plans))
        if finding is not None:
            return finding
    main = judging.builds.get(judging.plans[judging.size.name].options)
    if main is None:
        return Finding("skipped", "The plan launches no kernel of its own.")
    if main.host is not None:
        watching.start(judging)
    kernels = main.kernels.values()
    warnings = [d for d in main.cuda.diagnostics if d.severity == "warning"]
    worst = max((k.registers for k in kernels), default=0)
    spills = sum(k.spill_bytes for k in kernels)
    spilled = f", {spills} bytes spilled" if spills else ""
    return Finding(
        "warn" if spills else "pass",
        f"{main.cuda.version or 'NVRTC'} accepts it for {main.cuda.arch}: at most {worst} registers{spilled}.",
        {
            "cached": main.cuda.cached,
            "options": len(groups),
            "diagnostics": [
                {"line": d.line, "severity": d.severity, "message": d.message} for d in warnings[:20]
            ],
        },
    )


def build(judging: Judging, plans: list[Plan], *, host: bool) -> Finding | None:
    """Build what `plans` (of the same options) launch and keep it in `judging.builds`; a `Finding` where that fails.

    Raises:
        CannotJudge: there is no NVRTC here, or it died twice.
    """
    assert judging.source is not None
    options = plans[0].options
    known = judging.builds.get(options)
    wanted = dict.fromkeys(k for p in plans for k in p.kernels)
    if known is not None:
        if set(wanted) <= set(known.kernels) and (known.host is not None or not host):
            return _arguments(judging, plans, known)
        wanted = dict.fromkeys([*known.kernels, *wanted])
    if not wanted:
        return None  # fills or library steps only, which the audit refuses or lists
    cuda = _compile(judging, options, tuple(wanted), arch=judging.arch).cuda
    if isinstance(cuda, BuildFailure):
        if cuda.cause == "missing":
            raise CannotJudge(_sentence(cuda, "NVRTC is not installed; install nvidia-cuda-nvrtc."))
        if cuda.cause == "died":
            raise CannotJudge(_sentence(cuda, "The compiler died."))
        return failed(cuda.diagnostics, cause=cuda.cause, compiler=cuda.version)
    assert isinstance(cuda, CudaBuild)
    built = Built(cuda, None, {k.name: k for k in cuda.kernels})
    # One after the other: NVRTC takes a tenth of the host compiler's time, and while that works the audit can too.
    judging.start_audit(built)
    host_build = _compile(judging, options, tuple(wanted), host=True).host if host else None
    if isinstance(host_build, BuildFailure):
        # What NVRTC accepts is no fault of the candidate, whatever becomes of it here: the compiler is missing, the
        # host prelude lacks something, or this machine is too small or too busy.
        said = _sentence(host_build, "the host target cannot compile it")
        built.no_host = said if host_build.cause in ("missing", "died") else f"needs cuda: {said}"
    elif host_build is not None:
        built.host = host_build
    judging.keep(options, built)
    return _arguments(judging, plans, built)


def _compile(
    judging: Judging,
    options: CompileOptions,
    kernels: tuple[str, ...],
    *,
    arch: str | None = None,
    host: bool = False,
) -> Builds:
    """Both builds. A compiler that went away soon, for a reason that is not the candidate's, is asked once more."""
    for _ in range(2):
        builds = judging.bench.build(
            judging.source,
            options,
            kernels,
            arch=arch,
            host=host,
            host_as=judging.arch,
        )
        judging.checkpoint()
        died = [b for b in (builds.cuda, builds.host) if isinstance(b, BuildFailure) and b.cause == "died"]
        if not died or any(b.seconds > AGAIN_S for b in died):
            break
    return builds


def _arguments(judging: Judging, plans: list[Plan], built: Built) -> Finding | None:
    for plan in plans:
        if diagnostics := check_arguments(plan, tuple(built.kernels.values()), judging.limits):
            return failed(diagnostics, size=plan.size)
        if diagnostics := tuple(_too_many_at_once(plan, built)):
            return failed(diagnostics, size=plan.size)
    return None


def _too_many_at_once(plan: Plan, built: Built) -> Iterator[Diagnostic]:
    """Cooperative launches whose blocks cannot all run at once, on the largest device of the architecture."""
    for step in (step for half in plan.halves for step in half.steps if isinstance(step, Launch)):
        kernel = built.kernels.get(step.kernel)
        processors = MOST_PROCESSORS.get(built.cuda.arch.rstrip("af"))
        if not step.cooperative or kernel is None or processors is None:
            continue
        shared = kernel.shared_bytes + step.shared_bytes
        each = occupancy(built.cuda.arch, math.prod(step.block), kernel.registers, shared).blocks
        if (blocks := math.prod(step.grid)) > each * processors:
            yield Diagnostic(
                f"launch {step.kernel}: {blocks:,} blocks of a cooperative launch must all run at once; of this kernel "
                f"{each} fit on a multiprocessor, and no {built.cuda.arch} device has over {processors}. "
                "Launch fewer blocks, and loop over the work.",
                step.line,
            )


def _sentence(failure: BuildFailure, otherwise: str) -> str:
    if not failure.diagnostics:
        return otherwise
    first = failure.diagnostics[0]
    place = f"line {first.line}: " if first.line else ""
    return place + first.message.strip().splitlines()[0]
