"""A hostile answer made trustworthy: each plan is built again, step by step, from what the answer says.

Only a plan that the same checks produce again, equal in every field, is accepted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.core.plan import (
    Diagnostic,
    Fill,
    Knob,
    Launch,
    LaunchLimits,
    LibraryStep,
    NotCovered,
    Plan,
    PlanFailure,
    PlanTensor,
)
from workbench.core.task import SizeSpec
from workbench.dialect.builder import PlanBuilder
from workbench.dialect.values import PlanError

MAX_DIAGNOSTICS = 20
MAX_MESSAGE = 8000
MAX_LINE = 4 << 20


class ForgeryError(Exception):
    """The answer is not one that an honest evaluation could give."""


def rebuild(
    plan: Plan, size: SizeSpec, limits: LaunchLimits, knobs: Mapping[str, Any], own_kernels_only: bool
) -> Plan:
    """The same plan, built here.

    Raises:
        ForgeryError: it cannot be built, or comes out different.
    """
    builder = PlanBuilder(size, limits, own_kernels_only=own_kernels_only)
    try:
        _tensors_and_steps(builder, plan)
        builder.compile(dict(plan.options.defines), plan.options.fast_math, plan.options.max_registers)
        if unknown := set(knobs) - plan.values.keys():
            raise ForgeryError(f"the knob {min(unknown)} is not set")
        for knob in plan.knobs:
            builder.tune(knob.name, knob.default, knob.choices, knobs.get(knob.name))
        for name, number in plan.saved:
            builder.save(name, number)
        backward = None
        if plan.backward is not None:
            if not size.gradients:
                raise ForgeryError("a backward where there is no gradient")
            half = builder.backward()
            _tensors_and_steps(half, plan.backward)
            backward = half.finish(plan.backward.outputs, _line(plan.backward.line))
        built = builder.finish(plan.outputs, _line(plan.line), backward)
    except PlanError as error:
        raise ForgeryError(str(error)) from None
    if built != plan or not _same_types(built, plan):
        raise ForgeryError("the plan is not the one that its steps make")
    return built


def _tensors_and_steps(builder: PlanBuilder, plan: Plan) -> None:
    steps = iter(plan.steps)
    pending = next(steps, None)

    def step_until(count: int) -> None:
        """Steps that need no tensor beyond the first `count`; those that make tensors run when their turn comes."""
        nonlocal pending
        while pending is not None and len(builder.tensors) == count:
            if isinstance(pending, Launch):
                if _needs(pending) > count:
                    return
                _launch(builder, pending)
            elif isinstance(pending, LibraryStep):
                if not pending.outputs or min(pending.outputs) != count:
                    return
                builder.library(pending.op, pending.args, pending.kwargs, _line(pending.line))
            else:
                return
            pending = next(steps, None)

    while True:
        count = len(builder.tensors)
        step_until(count)
        if len(builder.tensors) != count:
            continue
        if count >= len(plan.tensors):
            break
        tensor = plan.tensors[count]
        if tensor.origin == "op":
            raise ForgeryError("a tensor is the result of no step")
        if tensor.origin == "zeros":
            if not isinstance(pending, Fill) or pending.tensor != count:
                raise ForgeryError("a tensor of zeros is filled by no step, or too late")
            pending = next(steps, None)
        _tensor(builder, tensor)
        if len(builder.tensors) != count + 1:
            raise ForgeryError("a tensor of the signature twice")
    if pending is not None:
        raise ForgeryError("a step cannot be where it is")


def _needs(step: Launch) -> int:
    numbers = [0]
    for argument in step.args:
        numbers += getattr(argument, "tensors", ()) or (getattr(argument, "tensor", -1),)
    return max(numbers) + 1 if step.args else 0


def _tensor(builder: PlanBuilder, tensor: PlanTensor) -> None:
    line = _line(tensor.line)
    if tensor.origin == "signature":
        builder.signature(tensor.path or "", line)
    elif tensor.origin == "view":
        base = tensor.base
        if base is None or not 0 <= base < len(builder.tensors):
            raise ForgeryError("a view of no tensor")
        builder.view(base, tensor.spec.shape, line)
    else:
        builder.allocate(tensor.spec.shape, tensor.spec.dtype, line, zeros=tensor.origin == "zeros")


def _launch(builder: PlanBuilder, step: Launch) -> None:
    builder.launch(
        step.kernel,
        step.grid,
        step.block,
        step.args,
        step.shared_bytes,
        step.cluster,
        step.cooperative,
        _line(step.line),
    )


def _line(line: int) -> int:
    if not 0 <= line <= MAX_LINE:
        raise ForgeryError("a line outside of the file")
    return line


def _same_types(built: Plan, plan: Plan) -> bool:
    """Python holds 1, 1.0 and True equal; a kernel does not."""
    return repr(built) == repr(plan)


def not_covered(answer: NotCovered, size: SizeSpec) -> NotCovered:
    """The reason, made fit to print."""
    return NotCovered(size.name, clean(answer.reason)[:1000], min(max(answer.line, 0), MAX_LINE))


def failure(answer: PlanFailure) -> PlanFailure:
    """The diagnostics, made fit to print; only what a child can honestly say of itself is kept as the cause."""
    diagnostics = tuple(
        Diagnostic(
            clean(d.message)[:MAX_MESSAGE] or "The plan failed.",
            min(max(d.line, 0), MAX_LINE),
            min(max(d.column, 0), MAX_LINE),
        )
        for d in answer.diagnostics[:MAX_DIAGNOSTICS]
    )
    said = diagnostics or (Diagnostic("The plan failed without a word."),)
    return PlanFailure(said, "memory" if answer.cause == "memory" else "plan")


def clean(text: str) -> str:
    """Without terminal control, bidirectional overrides and lone surrogates; line breaks and tabs stay."""
    return re.sub(
        r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", "\ufffd", text
    )


def knobs_of(plans: Sequence[Plan | NotCovered]) -> tuple[Knob, ...]:
    """Every knob of the evaluated sizes, each once."""
    found: dict[str, Knob] = {}
    for plan in plans:
        if isinstance(plan, Plan):
            found.update({k.name: k for k in plan.knobs})
    return tuple(found.values())
