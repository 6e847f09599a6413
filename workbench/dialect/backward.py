"""`backward`: its signature, how its gradients are named and returned, and the checks of both.

To the rest of the workbench backward is a plan of its own (`Plan.backward`) over a signature of its own: everything that
forward may ask for (read only), what forward saved, and the incoming gradients; its outputs are the gradients.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from workbench.core.plan import Diagnostic, LibraryStep, Plan, PlanTensor, PointersArg, TensorArg
from workbench.core.task import Output, Parameter, SizeSpec

GRADIENT_OF = "gradient of "
"""How a gradient is called in messages: "gradient of layers_0_weight"."""


def backward_size(
    size: SizeSpec, tensors: Sequence[PlanTensor], saved: Iterable[tuple[str, int]]
) -> SizeSpec:
    """The signature of `backward` at one size.

    Args:
        size: forward's signature.
        tensors: of the forward plan.
        saved: name and number of each tensor that forward saved. One of the signature's, saved under its own name, is
            left out: backward has it already.
    """
    # What forward writes in place is written once: backward reads it as forward left it.
    parameters = [Parameter(p.name, p.key, p.role, p.tensor, p.value) for p in size.parameters]
    for name, number in saved:
        path = tensors[number].path
        if path is None or all(p.path != path or p.name != name for p in parameters):
            parameters.append(Parameter(name, name, "saved", tensors[number].spec))
    parameters += [
        Parameter(f"grad_{size.outputs[n].name}", size.outputs[n].name, "gradient", size.outputs[n].tensor)
        for n in size.incoming
    ]
    by_path = size.by_path()
    outputs = [
        Output(GRADIENT_OF + p.name, p.tensor) for p in map(by_path.get, size.gradients) if p and p.tensor
    ]
    return SizeSpec(size.name, dict(size.values), tuple(parameters), tuple(outputs))


def size_of(plan: Plan, size: SizeSpec) -> SizeSpec:
    """`backward_size` of a whole plan."""
    return backward_size(size, plan.tensors, plan.saved)


def check_backward(plan: Plan, size: SizeSpec) -> tuple[Diagnostic, ...]:
    """What is wrong with the gradients and the saved tensors of a plan that has `backward`."""
    backward = plan.backward
    if backward is None:
        return ()
    found = list(_unwritten(plan))
    wanted = size_of(plan, size).outputs
    expected = ", ".join(f"{o.name}: {o.tensor}" for o in wanted)
    if len(backward.outputs) != len(wanted):
        count = len(backward.outputs)
        message = f"backward returns {count} gradient{'s' * (count != 1)}; wanted are {expected}."
        return (*found, Diagnostic(message, backward.line))
    for number, output in zip(backward.outputs, wanted, strict=True):
        tensor = backward.tensors[number]
        place = tensor.line or backward.line
        root = tensor if tensor.base is None else backward.tensors[tensor.base]
        same = tensor.spec.shape == output.tensor.shape and tensor.spec.dtype == output.tensor.dtype
        if not same:
            others = [
                o.name
                for o in wanted
                if (o.tensor.shape, o.tensor.dtype) == (tensor.spec.shape, tensor.spec.dtype)
            ]
            hint = f" It would fit {others[0]}: the order is the signature's." if others else ""
            found.append(
                Diagnostic(f"The {output.name} is {tensor.spec}; it should be {output.tensor}.{hint}", place)
            )
        elif root.path is not None and not root.path.startswith("gradient:"):
            what = f"{root.path.partition(':')[2]} itself"
            found.append(Diagnostic(f"The {output.name} is {what}; allocate it with empty_like.", place))
    return tuple(found)


def _unwritten(plan: Plan) -> Iterable[Diagnostic]:
    """Saved memory that no step of forward was given, so that nothing can be in it."""
    handed: set[int] = set()
    for step in plan.steps:
        arguments = getattr(step, "args", ())
        numbers = [a.tensor for a in arguments if isinstance(a, TensorArg)]
        numbers += [n for a in arguments if isinstance(a, PointersArg) for n in a.tensors]
        numbers += step.outputs if isinstance(step, LibraryStep) else ()
        handed |= {_root(plan, n) for n in numbers}
    for name, number in plan.saved:
        root = _root(plan, number)
        if plan.tensors[root].origin == "empty" and root not in handed:
            message = f"save: nothing is ever written to {name}: no step of forward is given it."
            yield Diagnostic(message, plan.tensors[number].line or plan.line)


def _root(plan: Plan, number: int) -> int:
    base = plan.tensors[number].base
    return number if base is None else base
