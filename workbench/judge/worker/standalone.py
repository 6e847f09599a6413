"""A candidate as a program of its own: its plan at one size, compiled, with inputs drawn as for a verdict.

Nothing is judged and nothing is run. The files are written here, since inputs may be gigabytes, into a folder that who
asks has made. `profile.standalone` knows how they look; `--sanitize` and `workbench profile` ask for the same.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import wait
from pathlib import Path
from typing import Literal

import msgspec

from workbench import __version__
from workbench.core.build import BuildFailure, Kernel
from workbench.core.errors import TaskError, WorkbenchError
from workbench.core.messages import StandaloneWritten, WriteStandalone
from workbench.core.plan import (
    Diagnostic,
    Fill,
    Launch,
    LibraryStep,
    NotCovered,
    Plan,
    PlanFailure,
    PointersArg,
    ScalarArg,
    TensorArg,
    limits_for,
)
from workbench.core.task import SizeSpec
from workbench.dialect.backward import size_of
from workbench.dialect.check import check_arguments, check_outputs, pack_arguments
from workbench.dialect.source import CandidateSource, split
from workbench.judge.worker.parts import Parts
from workbench.judge.worker.runs import Layout, layout_of, root, tensor_bytes
from workbench.judge.worker.seeds import fresh_seed
from workbench.judge.worker.task.loaded import Case, LoadedTask
from workbench.profile.standalone import (
    Address,
    Addresses,
    Buffer,
    LaunchStep,
    Program,
    Saved,
    Scalar,
    Zero,
    write_files,
)
from workbench.profile.standalone.program import Argument, Step
from workbench.profile.standalone.quoting import identifier
from workbench.profile.standalone.texts import INPUTS, OUTPUTS
from workbench.runner.compiler.client import Builds

DRAWING = 5
"""Times its tensors' bytes that a draw may take: three looks at get_inputs(), the module's state and the draw."""
DRAW_S = 600.0
"""For drawing, clock time: gigabytes take minutes, a task that never comes back must not hold the judge."""
_SPARE_BYTES = 64 << 20
Whose = Literal["candidate", "request", "judge"]


class _Refused(Exception):
    """There is no such program; with what the compiler or the plan said."""

    def __init__(
        self, reason: str, diagnostics: tuple[Diagnostic, ...] = (), *, whose: Whose = "candidate"
    ) -> None:
        super().__init__(reason)
        self.diagnostics = diagnostics
        self.whose: Whose = whose


def write_standalone(
    request: WriteStandalone,
    task: LoadedTask,
    parts: Parts,
    *,
    arch: str,
    progress: Callable[[str], None] = lambda _: None,
) -> StandaloneWritten:
    """Write the program's files into `request.folder`; what it may have written where it is refused is the caller's."""
    try:
        return _write(request, task, parts, arch, progress)
    except _Refused as refused:
        return _not_written(request, str(refused), refused.whose, refused.diagnostics)
    except WorkbenchError as error:
        return _not_written(request, str(error), "judge")
    except OSError as error:
        return _not_written(request, f"{request.folder} could not be written: {error.strerror}.", "request")


def _not_written(
    request: WriteStandalone, reason: str, whose: Whose, diagnostics: tuple[Diagnostic, ...] = ()
) -> StandaloneWritten:
    return StandaloneWritten(
        candidate=request.candidate, written=False, stopped=reason, whose=whose, diagnostics=diagnostics
    )


def _write(
    request: WriteStandalone, task: LoadedTask, parts: Parts, arch: str, progress: Callable[[str], None]
) -> StandaloneWritten:
    size = _size(task, request.size)
    if request.case not in ("random", *task.cases()):
        raise _Refused(
            f"The task has no case {request.case!r}; it has {', '.join(task.cases())}.", whose="request"
        )
    progress("compiling")
    source, plan = _planned(request, task, parts, size, arch)
    kernels, cubin, compiler = _compiled(parts, source, plan, arch)
    layout = _Layout(plan, size, train=task.info.mode == "train")
    _room(Path(request.folder), layout.buffers, size)
    seed = fresh_seed() if request.seed is None else request.seed
    program = Program(
        task=task.info.name,
        candidate=os.path.basename(request.path) or request.candidate,
        sha256=source.sha256,
        workbench=__version__,
        size=size.name,
        values=dict(size.values),
        case=request.case,
        seed=seed,
        arch=arch,
        compiler=compiler,
        options=plan.options,
        kernels=kernels,
        buffers=tuple(layout.buffers),
        steps=tuple(layout.steps(kernels)),
        saved=tuple(layout.saved),
        backward_from=len(plan.steps) if plan.backward is not None else None,
        cubin=cubin,
        device=source.device,
        plan=source.plan,
    )
    folder = Path(request.folder)
    try:
        write_files(program, folder)
    except ValueError as error:
        raise _Refused(f"The compiler's answer cannot be written down: {error}.") from None
    progress("drawing the inputs")
    # A size that this target never runs is drawn all the same: it is only written down.
    drawn = msgspec.structs.replace(size, judged=True)
    backward = plan.backward is not None
    drawing = parts.pool.submit(task.draw, drawn, seed, request.case, backward=backward)
    if drawing not in wait([drawing], DRAW_S).done:
        raise _Refused(
            f"The task's inputs were not drawn within {DRAW_S:.0f} s; name a smaller --size.", whose="request"
        )
    case = drawing.result()
    _write_inputs(folder, layout, case)
    return StandaloneWritten(
        candidate=request.candidate,
        written=True,
        size=size.name,
        seed=seed,
        arch=arch,
        kernels=tuple(kernel.name for kernel in kernels),
        steps=len(program.steps),
        nbytes=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
    )


def _size(task: LoadedTask, name: str) -> SizeSpec:
    if not name:
        return task.sizes[0]
    found = next((size for size in task.sizes if size.name == name), None)
    if found is None:
        known = ", ".join(size.name for size in task.sizes)
        raise _Refused(f"The task has no size {name!r}; it has {known}.", whose="request")
    return found


def _planned(
    request: WriteStandalone, task: LoadedTask, parts: Parts, size: SizeSpec, arch: str
) -> tuple[CandidateSource, Plan]:
    source = split(request.source)
    if isinstance(source, PlanFailure):
        raise _refusal(source.diagnostics)
    answer = parts.evaluate(
        source, [size], limits=limits_for(arch), own_kernels_only=task.info.own_kernels_only
    )
    if isinstance(answer, PlanFailure):
        raise _refusal(answer.diagnostics)
    (plan,) = answer
    if isinstance(plan, NotCovered):
        raise _Refused(f"The plan does not cover the size {size.name}: {plan.reason}.")
    if wrong := check_outputs(plan, size):
        raise _refusal(wrong)
    for half in plan.halves:
        for step in half.steps:
            if isinstance(step, LibraryStep):
                raise _Refused(
                    f"Line {step.line} is a library step ({step.op}), which needs torch, so there is no program without it."
                )
    return source, plan


def _compiled(
    parts: Parts, source: CandidateSource, plan: Plan, arch: str
) -> tuple[tuple[Kernel, ...], bytes, str]:
    """The kernels in launch order, the cubin, and what compiled it."""
    if not plan.kernels:
        raise _Refused("The plan launches no kernel of its own, so there is nothing to profile or debug.")
    builds: Builds = parts.build(source, plan.options, plan.kernels, arch=arch, host=False)
    cuda = builds.cuda
    assert cuda is not None
    if isinstance(cuda, BuildFailure):
        if cuda.cause in ("missing", "died"):
            otherwise = "NVRTC is not installed; install nvidia-cuda-nvrtc."
            raise _refusal(
                cuda.diagnostics, otherwise if cuda.cause == "missing" else "The compiler died.", "judge"
            )
        raise _refusal(cuda.diagnostics)
    by_name = {kernel.name: kernel for kernel in cuda.kernels}
    kernels = tuple(by_name[name] for name in plan.kernels)
    if wrong := check_arguments(plan, kernels, limits_for(arch)):
        raise _refusal(wrong)
    return kernels, cuda.cubin, cuda.version


def _refusal(
    diagnostics: tuple[Diagnostic, ...],
    otherwise: str = "It failed without a message.",
    whose: Whose = "candidate",
) -> _Refused:
    errors = [d for d in diagnostics if d.severity == "error"] or list(diagnostics)
    if not errors:
        return _Refused(otherwise, whose=whose)
    place = f"line {errors[0].line}: " if errors[0].line else ""
    said = errors[0].message.strip().splitlines()
    return _Refused(place + (said[0] if said else otherwise), tuple(diagnostics), whose=whose)


class _Layout:
    """The buffers of forward and backward, in one memory: backward reads what forward left, as in training."""

    def __init__(self, plan: Plan, size: SizeSpec, *, train: bool) -> None:
        """
        Args:
            train: the running statistics of the module may be written, as by the reference.
        """
        self.buffers: list[Buffer] = []
        self.filled: list[str] = []
        """Paths of a case's values, in the order of the buffers that have a file."""
        self.saved: list[Saved] = []
        self._plan = plan
        self._by_path: dict[str, int] = {}
        forward = self._bound(plan, size, train)
        self._halves = [(plan, forward)]
        self._saves(plan, size, forward)
        for parameter in size.parameters:
            if parameter.tensor is not None and parameter.mutable and parameter.path in self._by_path:
                about = f"{parameter.name} after the call, {parameter.tensor}"
                self._save(
                    parameter.name, about, self._by_path[parameter.path], parameter.tensor.nbytes, "_after"
                )
        if plan.backward is not None:
            self._by_path |= {f"saved:{name}": forward[tensor] for name, tensor in plan.saved}
            backward_size = size_of(plan, size)
            backward = self._bound(plan.backward, backward_size, False)
            self._halves.append((plan.backward, backward))
            self._saves(plan.backward, backward_size, backward)

    def steps(self, kernels: tuple[Kernel, ...]) -> list[Step]:
        """Forward's steps, then backward's, with their arguments packed."""
        by_name = {kernel.name: kernel for kernel in kernels}
        found: list[Step] = []
        for plan, numbers in self._halves:
            for step in plan.steps:
                if isinstance(step, Fill):
                    found.append(Zero(buffer=numbers[step.tensor], line=step.line))
                elif isinstance(step, Launch):
                    found.append(_launch(step, by_name[step.kernel], numbers))
                else:
                    raise _Refused(f"Line {step.line} cannot be part of a program without torch.")
        return found

    def _bound(self, plan: Plan, size: SizeSpec, train: bool) -> dict[int, int]:
        """By tensor of `plan` its buffer here; makes those that are not there yet."""
        layout: Layout = layout_of(plan, size, frozenset())
        parameters = size.by_path()
        first = {
            buffer: tensor
            for tensor, buffer in reversed(layout.bindings.items())
            if root(plan, tensor) == tensor
        }
        numbers: list[int] = []
        for place, (spec, path) in enumerate(zip(layout.specs, layout.paths, strict=True)):
            if path is not None and path in self._by_path:
                numbers.append(self._by_path[path])
                continue
            number = len(self.buffers)
            numbers.append(number)
            tensor = plan.tensors[first[place]]
            role: str
            file, restored, role = "", False, "output" if tensor.role == "output" else "scratch"
            if path is not None:
                self._by_path[path] = number
                self.filled.append(path)
                file = f"{INPUTS}/{number}_{identifier(spec.name)}.bin"
                parameter = parameters[path]
                restored = parameter.mutable or (train and parameter.role == "buffer")
                role = parameter.role
            self.buffers.append(
                Buffer(
                    name=spec.name,
                    about=f"{role}, {tensor.spec}",
                    nbytes=spec.nbytes,
                    file=file,
                    restored=restored,
                )
            )
        return {tensor: numbers[buffer] for tensor, buffer in layout.bindings.items()}

    def _saves(self, plan: Plan, size: SizeSpec, numbers: dict[int, int]) -> None:
        for tensor, output in zip(plan.outputs, size.outputs, strict=True):
            about = f"{output.name}, {output.tensor}"
            self._save(output.name, about, numbers[root(plan, tensor)], output.tensor.nbytes)

    def _save(self, name: str, about: str, buffer: int, nbytes: int, tail: str = "") -> None:
        file = f"{OUTPUTS}/{len(self.saved)}_{identifier(name)}{tail}.bin"
        self.saved.append(Saved(name=name, about=about, buffer=buffer, nbytes=nbytes, file=file))


def _launch(step: Launch, kernel: Kernel, numbers: dict[int, int]) -> LaunchStep:
    try:
        packed = pack_arguments(step, kernel)
    except ValueError as error:
        raise _Refused(f"line {step.line}: {step.kernel}: {error}") from None
    arguments: list[Argument] = []
    for given, value, parameter in zip(step.args, packed, kernel.parameters, strict=True):
        if isinstance(value, bytes):
            assert isinstance(given, ScalarArg)
            arguments.append(Scalar(value, repr(given.value), parameter.type))
        elif isinstance(value, TensorArg):
            arguments.append(Address(numbers[value.tensor], parameter.type))
        elif isinstance(value, PointersArg):
            arguments.append(Addresses(tuple(numbers[t] for t in value.tensors), parameter.type))
        else:
            raise _Refused(f"line {step.line}: {step.kernel} has an argument that a program cannot have yet.")
    return LaunchStep(
        kernel=step.kernel,
        grid=step.grid,
        block=step.block,
        args=tuple(arguments),
        shared_bytes=step.shared_bytes,
        cluster=step.cluster,
        cooperative=step.cooperative,
        line=step.line,
    )


def _room(folder: Path, buffers: list[Buffer], size: SizeSpec) -> None:
    """Raises _Refused where the inputs fit neither the disk nor, while they are drawn, this machine's memory."""
    wanted = sum(buffer.nbytes for buffer in buffers if buffer.file)
    free = shutil.disk_usage(folder).free
    if wanted + _SPARE_BYTES > free:
        raise _Refused(
            f"The inputs at size {size.name} take {_bytes(wanted)} and the disk has {_bytes(free)} free; "
            "choose another disk or, with --size, a smaller size.",
            whose="request",
        )
    if size.judged:
        return
    drawn = DRAWING * sum(p.tensor.nbytes for p in size.parameters if p.tensor is not None)
    memory = _available()
    if memory is not None and drawn > memory:
        raise _Refused(
            f"To draw the inputs at size {size.name} takes about {_bytes(drawn)} of memory and {_bytes(memory)} is free; "
            "choose a smaller size with --size.",
            whose="request",
        )


def _available() -> int | None:
    """Bytes of memory that may be had, as Linux counts them; None where it does not say."""
    try:
        with open("/proc/meminfo") as file:
            found = next((line for line in file if line.startswith("MemAvailable:")), None)
    except OSError:
        return None
    return int(found.split()[1]) << 10 if found is not None else None


def _bytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def _write_inputs(folder: Path, layout: _Layout, case: Case) -> None:
    (folder / INPUTS).mkdir(exist_ok=True)
    files = (buffer for buffer in layout.buffers if buffer.file)
    for buffer, path in zip(files, layout.filled, strict=True):
        data = tensor_bytes(case.values[path])
        if data.nbytes != buffer.nbytes:
            raise TaskError(
                f"{buffer.name} was drawn with {data.nbytes} bytes and has {buffer.nbytes} in the signature.",
                do="Make get_inputs() return the same shapes each time.",
            )
        data.tofile(folder / buffer.file)
