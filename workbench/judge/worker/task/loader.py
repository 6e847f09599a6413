"""Loads a task: executes its file, finds what the judge must know, and hands out a `LoadedTask`."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable, Mapping

import torch

from workbench.core.errors import TaskError
from workbench.core.task import SizeSpec, TaskInfo
from workbench.core.verdict import Target
from workbench.judge.worker.task import gradients, inspection
from workbench.judge.worker.task.distributions import declare
from workbench.judge.worker.task.estimate import Work
from workbench.judge.worker.task.imports import fingerprint, locate
from workbench.judge.worker.task.limits import (
    HEAVY_WORK,
    HOST_ELEMENTS_LAST,
    HOST_ELEMENTS_LIMIT,
    HOST_WORK_LIMIT,
    TooLarge,
)
from workbench.judge.worker.task.loaded import Bench, LoadedTask, size_spec
from workbench.judge.worker.task.options import Options, read_options
from workbench.judge.worker.task.planning import SizePlan, plan_sizes
from workbench.judge.worker.task.program import Program
from workbench.judge.worker.task.reference import Reference
from workbench.judge.worker.task.sizes import attempt

Progress = Callable[[str], None]
_DRAWS = 3


def load_task(path: str, *, target: Target, revision: int, progress: Progress = lambda _: None) -> LoadedTask:
    """Load the task at `path`: a .py file, a folder or "pkg.module:Class".

    Args:
        target: "host" runs everything on the CPU and allocates no large size.
        revision: of the session; only carried along.
        progress: told in words what is being done.

    Raises:
        TaskError: the task cannot be loaded or judged; one sentence says why and what to do.
    """
    if target != "host":
        raise TaskError("This build judges on the host target only.", do="Run with --target host.")
    progress("reading the task")
    # Judged sizes are small: waking a second thread costs more than it saves, and much more on a busy machine.
    torch.set_num_threads(1)
    file = locate(path)
    file.prepare()
    program = Program(file)
    options = _options(program)
    program.training = options.mode != "eval"
    program.autocast = options.autocast
    progress("finding sizes")
    plan = plan_sizes(program, options)
    progress("running the reference")
    found = _inspected(program, plan, options)
    if options.backward:
        gradients.demanded(found.gradients, program.file.file.name)
    progress("reading the structure of inputs")
    work = 0
    judged: list[SizeSpec] = []
    benches: list[Bench] = []
    for name, values in plan.judged:
        first = not benches
        instance = found.instance if first else program.instantiate(values)
        tried = attempt(program, values, "cpu", keep=True, limit=HOST_ELEMENTS_LAST)
        # Operations of some CPU kernels (LSTM) are only counted on the meta device.
        counted = attempt(program, values, "meta")
        tried = tried._replace(flops=max(tried.flops, counted.flops))
        if tried.why:
            plan.unchecked.append(f"size {name}: {tried.why}")
            continue
        assert tried.instance is not None
        spec = size_spec(name, values, tried, judged=True, found=found)
        tried.instance.release()
        reference = (
            found.reference if first else Reference(instance, fresh_module=found.reference.fresh_module)
        )
        structures, replayed = inspection.structures_of(instance)
        bench = Bench(spec, reference, structures, replayed)
        work = work or tried.work
        judged.append(spec)
        benches.append(bench)
    heavy = work > HEAVY_WORK
    if heavy:
        torch.set_num_threads(os.cpu_count() or 1)
    if work > HOST_WORK_LIMIT:
        million = work // 1_000_000
        plan.notes.append(f"large for the host: {million} million multiply-adds and elements a call")
    inspection.try_generator(found, benches[0], options, heavy=heavy)
    for bench in benches[1:]:
        declare(bench.structures, options, [])
        bench.replayed = bench.replayed or benches[0].replayed
    task = _assemble(program, options, plan, found, judged, benches, heavy=heavy)
    progress("ready")
    return task


def _inspected(program: Program, plan: SizePlan, options: Options) -> inspection.Findings:
    name, values = plan.judged[0]
    try:
        return inspection.inspect(program, values, mode=options.mode)
    except TaskError as error:
        if name == "full":
            raise
        raise TaskError(f"At size {name!r}: {error.what}", do=error.do) from None


def _options(program: Program) -> Options:
    """The module's options; its own tensors may be too large to be made here."""
    try:
        with Work(limit_elements=HOST_ELEMENTS_LIMIT):
            module = program.module({})
    except TooLarge:
        module = program.module({}, "meta")
    options = read_options(module, program.file.file.name)
    program.defaults = {k: v for k, v in vars(module).items() if type(v) is int}
    program.file.release(module)
    return options


def _assemble(
    program: Program,
    options: Options,
    plan: SizePlan,
    found: inspection.Findings,
    judged: list[SizeSpec],
    benches: list[Bench],
    *,
    heavy: bool,
) -> LoadedTask:
    known = [size_spec(n, v, a, judged=False, found=found) for n, v, a in plan.known]
    for _, _, kept in plan.known:
        if kept.instance is not None:
            kept.instance.release()
    unchecked = list(plan.unchecked)
    unchecked += [
        f"size {s.name} ({_words(s.values)}): too large for the host, so planned and compiled but never run: a kernel "
        "that leaves work out or goes another way at that size is not seen"
        for s in known
    ]
    if plan.derived:
        unchecked = [u for u in unchecked if not u.startswith(("size full: too large", "size full ("))]
        unchecked.append(f"the full size: judged at a derived small one ({_words(judged[0].values)})")
    free = sorted({k for v in plan.declared.values() for k in v}) if not plan.derived else []
    sources = program.file.sources()
    files = [*sources, *program.files.used]
    info = TaskInfo(
        name=program.file.name,
        path=str(program.file.file),
        fingerprint=fingerprint(files, program.file.root),
        environment=environment(),
        source=program.file.source,
        sources=tuple(map(str, files)),
        sizes=(*judged, *known),
        derived_small=plan.derived,
        free_dims=tuple(k for k in free if len({v[k] for v in plan.declared.values()}) > 1),
        mode="train" if program.training else "eval",
        precision=options.precision,
        own_kernels_only=options.own_kernels_only,
        backward=options.backward,
        reference=found.reference_words,
        notes=tuple(plan.notes + found.notes + inspection.notes_on(program, benches[0], found, heavy=heavy)),
        unchecked=tuple(unchecked + found.unchecked),
    )
    return LoadedTask(program, options, info, benches, found)


def environment() -> str:
    """Hash of what verdicts of the host target depend on besides the task."""
    from workbench import __version__

    parts = (__version__, torch.__version__, platform.python_version(), platform.machine(), "host")
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _words(values: Mapping[str, int]) -> str:
    return ", ".join(f"{k}={v}" for k, v in values.items()) or "as it stands"
