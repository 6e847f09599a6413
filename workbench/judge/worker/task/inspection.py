"""What is found out about a task by running it: randomness, side effects, aliases, exactness, structure.

Everything here runs at the judged size, which is small.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from workbench.core.errors import TaskError
from workbench.judge.worker.task import gradients
from workbench.judge.worker.task.analysis import analyse, widen_integers
from workbench.judge.worker.task.cases import CASES, STATE_CASES, TRANSFORMS, draw_inputs, redraw_state
from workbench.judge.worker.task.generator import draw_all
from workbench.judge.worker.task.gradients import Gradients
from workbench.judge.worker.task.imports import describe
from workbench.judge.worker.task.indices import index_outputs
from workbench.judge.worker.task.options import Options
from workbench.judge.worker.task.program import RUNNING, Instance, Program
from workbench.judge.worker.task.randomness import reseeded, seed_everything
from workbench.judge.worker.task.reference import Call, Reference, Values
from workbench.judge.worker.task.signature import is_scalar
from workbench.judge.worker.task.sizes import has_nans
from workbench.judge.worker.task.structure import Structure

NO_INPUT = "no input's structure allows it"
NO_STATE = "the module has no float parameters or buffers"
_SAMPLES = 2
_TINY_ELEMENTS = 1 << 14
"""Below so many elements at full size launch overhead is all that one would measure."""


@dataclasses.dataclass
class Findings:
    """What running the reference showed."""

    instance: Instance
    reference: Reference
    mutable: set[str]
    """Paths that the reference writes in place."""
    aliases: dict[int, str | None]
    """Output number to the path of the input that it is."""
    index: set[int]
    """Numbers of the outputs that hold positions."""
    has_exact: bool
    reference_words: str
    notes: list[str]
    unchecked: list[str]
    gradients: Gradients = dataclasses.field(default_factory=Gradients)
    skipped_cases: dict[str, str] = dataclasses.field(default_factory=dict)
    """Hard cases that are not made, and why."""

    @property
    def refused_cases(self) -> dict[str, str]:
        """Those of `skipped_cases` that could be made, but that the reference does not take."""
        return {n: why for n, why in self.skipped_cases.items() if why not in (NO_INPUT, NO_STATE)}


def inspect(
    program: Program, values: Mapping[str, int], *, mode: Literal["eval", "train"] | None
) -> Findings:
    """Run the reference from restored state and see what it does.

    Raises:
        TaskError: it raises, gives NaN or no tensors, or is random in every mode it may be judged in.
    """
    notes: list[str] = []
    reference, call = _settled(program, values, mode, notes)
    if any(has_nans(output) for output in call.outputs):
        raise TaskError(
            f"The reference of {program.file.file.name} gives NaN.",
            do="Correct the task: NaN cannot be compared.",
        )
    others = [leaf.key for leaf in call.leaves if not isinstance(leaf.value, torch.Tensor)]
    unchecked = [f"{key}: an output that is not a tensor" for key in others]
    mutable, side_effects = _mutated(reference, call)
    if side_effects:
        notes.append(f"side effects, not compared: {', '.join(sorted(side_effects))}")
    if mutable:
        notes.append(f"written in place: {', '.join(sorted(mutable))}")
    given = [reference.values(), *_more_inputs(reference)]
    exact = reference.validate_exact(given, mutable)
    words = "fp64, whole, on the CPU" if exact else f"eager, on the CPU: {reference.why_not_exact}"
    if not exact:
        unchecked.append(f"precision: {reference.why_not_exact}")
    loose = [n for n, v in vars(reference.instance.module).items() if isinstance(v, torch.Tensor)]
    if loose:
        notes.append(
            f"a candidate cannot read the module's global tensors ({', '.join(loose)}): make them inputs or buffers"
        )
    if program.redirected:
        notes.append("the task asks for CUDA; it ran on the CPU")
    index = index_outputs(reference.instance)
    if index:
        notes.append(
            f"positions, compared by the values they select: outputs {', '.join(map(str, sorted(index)))}"
        )
    found = gradients.find(reference, mutable | side_effects)
    return Findings(
        reference.instance, reference, mutable, _aliases(call), index, exact, words, notes, unchecked, found
    )


def _settled(
    program: Program, values: Mapping[str, int], mode: Literal["eval", "train"] | None, notes: list[str]
) -> tuple[Reference, Call]:
    """A reference whose runs agree, in the task's mode or in eval mode."""
    settled = _settled_as_it_is(program, values, notes)
    if settled is None and program.training and mode is None:
        program.training = False
        settled = _settled_as_it_is(program, values, notes)
        notes.append("random in train mode, so it is judged in eval mode")
    if settled is None:
        modes = f"in {mode} mode" if mode else "in train and in eval mode"
        raise TaskError(
            f"The reference of {program.file.file.name} is random: two runs on the same inputs differ {modes}.",
            do='Take the random numbers as an input, or declare mode = "eval" where that settles it.',
        )
    return settled


def _settled_as_it_is(
    program: Program, values: Mapping[str, int], notes: list[str]
) -> tuple[Reference, Call] | None:
    """Run under two random states. A module that keeps Python state between calls gets a fresh copy for each."""
    reference = Reference(program.instantiate(values))
    first, second = _seeded(reference, 11), _seeded(reference, 12)
    if not first.rebound and _same(first.outputs, second.outputs):
        return reference, first
    if not first.rebound and _same(second.outputs, _seeded(reference, 12).outputs):
        return None  # the seed makes the difference
    try:
        fresh = Reference(program.instantiate(values), fresh_module=True)
    except Exception:  # a module that cannot be copied cannot be told from a random one
        return None
    first, second = _seeded(fresh, 11), _seeded(fresh, 12)
    if not _same(first.outputs, second.outputs):
        return None
    notes.append(
        "the module keeps Python state between calls: each call gets a fresh copy, what it keeps is not compared"
    )
    return fresh, first


def _seeded(reference: Reference, seed: int) -> Call:
    with RUNNING:
        seed_everything(seed)
        return _run(reference)


def _run(reference: Reference, values: Values | None = None) -> Call:
    try:
        return reference.eager(values if values is not None else reference.values())
    except BaseException as error:
        program = reference.instance.program
        raise program.failure(f"`{program.file.class_name}.forward`", error) from None


def _same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    """Equal but for the order of sums, which threads may change."""
    if len(first) != len(second):
        return False
    for a, b in zip(first, second, strict=True):
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        if not (a.is_floating_point() or a.is_complex()):
            if not torch.equal(a, b):
                return False
        elif not torch.allclose(a.to(torch.complex128), b.to(torch.complex128), 1e-4, 1e-6, equal_nan=True):
            return False
    return True


def _mutated(reference: Reference, call: Call) -> tuple[set[str], set[str]]:
    """Paths written in place, and those of them that are statistics of a norm layer and so only side effects."""
    before = reference.values()
    changed: set[str] = set()
    for path, after in call.given.items():
        held = before.get(path)
        if isinstance(held, torch.Tensor) and path not in call.rebound and not _identical(held, after):
            changed.add(path)
    statistics = set()
    for prefix, module in reference.instance.model.named_modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            for name in ("running_mean", "running_var", "num_batches_tracked"):
                statistics.add(f"buffer:{prefix}.{name}" if prefix else f"buffer:{name}")
    return changed - statistics, changed & statistics


def _identical(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.shape != b.shape:
        return False
    same = a == b
    if a.is_floating_point():
        same |= a.isnan() & b.isnan()
    return bool(same.all())


def _aliases(call: Call) -> dict[int, str | None]:
    """Outputs that are the very input, parameter or buffer that went in."""
    places = {
        (t.data_ptr(), tuple(t.shape), t.stride(), t.dtype): path
        for path, t in call.given.items()
        if t.numel()
    }
    tensors = [leaf.value for leaf in call.leaves if isinstance(leaf.value, torch.Tensor)]
    found: dict[int, str | None] = {}
    for number, tensor in enumerate(tensors):
        key = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
        if key in places:
            found[number] = places[key]
    return found


def _more_inputs(reference: Reference) -> list[Values]:
    """Another draw of the task's own get_inputs(), with the state as it was made."""
    return [reference.values() | replay(reference.instance, seed) for seed in range(1, _SAMPLES)]


def replay(instance: Instance, seed: int) -> dict[str, Any]:
    """Inputs by path from the task's own get_inputs(), seeded.

    Raises:
        TaskError: it gives other shapes than before.
    """
    with RUNNING, reseeded(seed & 0xFFFFFFF):
        seed_everything(seed & 0x7FFFFFFF)
        args, kwargs = instance.get_inputs(seed & 0x7FFFFFFF)
    from workbench.judge.worker.task.signature import bind_inputs

    leaves, _ = bind_inputs(instance.model.forward, args, kwargs)
    found: dict[str, Any] = {}
    known = {leaf.key: leaf.value for leaf in instance.inputs}
    for leaf in leaves:
        before = known.get(leaf.key)
        if isinstance(leaf.value, torch.Tensor):
            given = before if isinstance(before, torch.Tensor) else None
            if given is None or (given.shape, given.dtype) != (leaf.value.shape, leaf.value.dtype):
                raise TaskError(
                    f"get_inputs() of {instance.program.file.file.name} returns another shape for {leaf.key} each time.",
                    do="Make it return the same shapes; declare sizes for others.",
                )
            found[f"input:{leaf.key}"] = leaf.value.detach().contiguous()
        elif is_scalar(leaf.value):
            # A scalar is part of the signature: candidates are planned with the first draw's value.
            found[f"input:{leaf.key}"] = before
    return found


def structures_of(instance: Instance) -> tuple[dict[str, Structure], bool]:
    """The structure of each input tensor by path, from three draws; True where they cannot be told."""
    first = {f"input:{leaf.key}": leaf.value.detach() for leaf in instance.tensors()}
    draws = [first, *(replay(instance, seed) for seed in (101, 202))]
    structures: dict[str, Structure] = {}
    for place, path in enumerate(first):
        structure = analyse([d[path] for d in draws], partial(_further, instance, path))
        for earlier, other in enumerate(list(first)[:place]):
            same = all(d[path].shape == d[other].shape and torch.equal(d[path], d[other]) for d in draws)
            if same and structure.kind not in ("constant", "bool"):
                structure.equals = earlier
                break
        structures[path] = structure
    return structures, False


def _further(instance: Instance, path: str, number: int) -> torch.Tensor:
    return replay(instance, 303 + number)[path]


def try_generator(found: Findings, bench: Any, options: Options, *, heavy: bool = False) -> None:
    """Run the reference on generated inputs and on each hard case, and drop what it refuses.

    Args:
        heavy: a run takes seconds, so hard cases are not tried.
    """
    from workbench.judge.worker.task.distributions import declare

    declare(bench.structures, options, found.notes)
    reference: Reference = bench.reference

    def values(case: str, seed: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(seed)
        drawn = draw_inputs(list(bench.structures.values()), case, generator)
        given = dict(reference.values()) | dict(zip(bench.structures, drawn, strict=True))
        if case in STATE_CASES:
            for state in reference.state:
                given[state.path] = redraw_state(state.path, reference.pristine[state.path], generator, case)
        return given

    why = "" if bench.replayed else _refusal(reference, values("random", 5))
    if not why and not bench.replayed:
        _widen(bench, reference, lambda: values("random", 5))
    if why:
        bench.replayed = True
        found.notes.append(
            f"inputs are drawn by the task's own get_inputs(): generated ones are refused ({why})"
        )
        found.unchecked.append(f"hard cases of the inputs: generated inputs are refused ({why})")
    transformable = any(s.transformable for s in bench.structures.values()) and not bench.replayed
    generator = torch.Generator().manual_seed(5)
    plain = draw_all(list(bench.structures.values()), generator)
    for case in CASES[1:]:
        if case in STATE_CASES:
            held = [s for s in reference.state if case == "parameters" or s.path.startswith("parameter:")]
            if not any(s.tensor.is_floating_point() for s in held):
                found.skipped_cases[case] = NO_STATE
                continue
        elif not transformable:
            found.skipped_cases[case] = NO_INPUT
            continue
        given = values(case, 5) if not bench.replayed else _parameters_only(reference, case)
        changed = [given[p] for p in bench.structures]
        if case in TRANSFORMS and all(map(_bitwise_equal, changed, plain)):
            found.skipped_cases[case] = NO_INPUT
            continue
        refused = "" if heavy else _refusal(reference, given)
        if refused:
            found.skipped_cases[case] = refused
            found.unchecked.append(f"hard case {case}: {refused}")
    if found.skipped_cases:
        # What simply has nothing to change is not worth a reader's line.
        said = "; ".join(f"{name}: {why}" for name, why in found.refused_cases.items())
        if said:
            found.notes.append(f"hard cases that do not apply: {said}")


def _widen(bench: Any, reference: Reference, values: Callable[[], dict[str, Any]]) -> None:
    """Let integers go up to the dimension that bounds them, where the reference takes that."""
    tensors = [t for t in reference.values().values() if isinstance(t, torch.Tensor)]
    extents = [n for t in tensors for n in t.shape]
    for path, structure in bench.structures.items():
        high = widen_integers(structure, extents, 3)
        if high is None:
            continue
        before, structure.high = structure.high, high
        given = values()
        given[path] = given[path].clone()
        given[path].reshape(-1)[:1] = high
        if _refusal(reference, given):
            structure.high = before


def _parameters_only(reference: Reference, case: str) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(5)
    given = dict(reference.values())
    for state in reference.state:
        given[state.path] = redraw_state(state.path, reference.pristine[state.path], generator, case)
    return given


def _bitwise_equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    if not torch.equal(a, b):
        return False
    return not a.is_floating_point() or torch.equal(torch.signbit(a), torch.signbit(b))


def _refusal(reference: Reference, values: Values) -> str:
    """Why the reference has no use for these values, or ""."""
    try:
        outputs = reference.eager(values).outputs
    except Exception as error:
        return f"the reference raises {describe(error)}"
    floats = [o for o in outputs if o.is_floating_point() and o.numel()]
    if floats and all(not bool(o.isfinite().any()) for o in floats):
        return "the reference gives nothing finite"
    if any(has_nans(o) and float(o.isnan().double().mean()) > 0.5 for o in floats):
        return "the reference gives mostly NaN"
    return ""


def notes_on(program: Program, bench: Any, found: Findings, *, heavy: bool = False) -> list[str]:
    """Triviality and what the inputs look like."""
    notes: list[str] = []
    reference: Reference = bench.reference
    base = dict(reference.values())
    outputs = _run(reference, base).outputs
    ignored = []
    generator = torch.Generator().manual_seed(23)
    for path, structure in bench.structures.items():
        if structure.kind == "constant" or heavy:
            continue
        other = draw_all([dataclasses.replace(structure, equals=None)], generator)[0]
        try:
            moved = reference.eager(base | {path: other}).outputs
        except Exception:
            continue
        if all(_identical(a, b) for a, b in zip(outputs, moved, strict=True)):
            ignored.append(path.removeprefix("input:"))
    tensors = [p for p, s in bench.structures.items() if s.kind != "constant"]
    if ignored and len(ignored) == len(tensors) and not found.reference.state:
        notes.append("trivial: the output is the same whatever the inputs are")
    elif ignored:
        notes.append(f"trivial: the reference ignores {', '.join(ignored)}")
    notes += [
        f"{path.removeprefix('input:')}: {structure.words()}"
        for path, structure in bench.structures.items()
        if structure.words() not in ("float, normal", "float, uniform", "float")
    ]
    return notes
