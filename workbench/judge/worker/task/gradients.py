"""Which gradients a task has, and how the incoming ones are drawn.

A gradient is wanted of every float parameter that the module does not freeze, and of every float input; where
get_inputs() itself marks inputs with `requires_grad`, of those alone. What autograd does not reach from any output, and
what the module writes in place, has none.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from workbench.core.errors import TaskError
from workbench.core.task import SizeSpec
from workbench.judge.worker.task.cases import TRANSFORMS
from workbench.judge.worker.task.imports import describe
from workbench.judge.worker.task.reference import Derivative, Reference
from workbench.judge.worker.task.structure import Distribution, Structure

_TRANSFORMED = ("needle", "tiny", "small", "huge", "mixed", "zeros_signed")
GRADIENT_CASES = ("gradient_ones", *(f"gradient_{name}" for name in _TRANSFORMED))
"""Hard cases of the incoming gradients, on inputs that are only drawn: what `y.sum().backward()` gives, and the
transforms that inputs are put through."""


class Gradients(NamedTuple):
    """What autograd reaches in a task."""

    wanted: tuple[str, ...] = ()
    """Paths in signature order; of tied parameters the first, which gets the whole gradient."""
    incoming: tuple[int, ...] = ()
    """Numbers of the outputs that depend on one of them."""
    why: str = ""
    """Why there are none."""


def find(reference: Reference, mutable: set[str]) -> Gradients:
    """Run forward and backward once on the task's own draw."""
    values = reference.values()
    instance = reference.instance
    inputs = [leaf for leaf in instance.inputs if isinstance(leaf.value, torch.Tensor)]
    marked = [leaf for leaf in inputs if leaf.value.requires_grad]
    candidates = [f"input:{leaf.key}" for leaf in marked or inputs]
    tied: set[int] = set()
    for held in reference.state:
        if held.role == "parameter" and held.key not in instance.frozen and id(held.tensor) not in tied:
            tied.add(id(held.tensor))
            candidates.append(held.path)
    paths = tuple(path for path in candidates if path not in mutable and _differentiable(values[path]))
    if not paths:
        return Gradients(why="nothing that goes in is a floating-point number")
    try:
        call = reference.eager(values, Derivative(paths, None))
    except Exception as error:
        return Gradients(why=f"autograd fails: {describe(error)}")
    wanted = tuple(path for path in paths if path in call.gradients)
    incoming = tuple(n for n, output in enumerate(call.reached) if output)
    return Gradients(wanted, incoming, "" if wanted else "no output depends on anything differentiably")


def demanded(found: Gradients, name: str) -> None:
    """Raises:
    TaskError: the task asks for `backward`, but has no gradient.
    """
    if not found.wanted:
        raise TaskError(
            f"{name} sets `backward`, but has no gradient: {found.why}.",
            do="Take `backward` out, or mend forward.",
        )


def draw(size: SizeSpec, seed: int, case: str) -> dict[str, torch.Tensor]:
    """Incoming gradients by path, of a normal distribution, transformed where `case` is one of theirs.

    Drawn apart from the inputs: with or without `backward` a seed gives the same inputs.
    """
    generator = torch.Generator().manual_seed((seed ^ 0x6BAD) & ((1 << 63) - 1))
    found: dict[str, torch.Tensor] = {}
    for number in size.incoming:
        output = size.outputs[number]
        dtype: torch.dtype = getattr(torch, output.tensor.dtype)
        parts = (*output.tensor.shape, 2) if dtype.is_complex else output.tensor.shape
        real = torch.empty(0, dtype=dtype).real.dtype if dtype.is_complex else dtype
        drawn = torch.randn(parts, generator=generator, dtype=torch.float64).to(real)
        if case == "gradient_ones":
            drawn = torch.ones(parts, dtype=real)
        elif case in GRADIENT_CASES and drawn.numel():
            structure = Structure("float", tuple(parts), real)
            structure.distribution = Distribution("normal", -4.0, 4.0, 0.0, 1.0)
            drawn = TRANSFORMS[case.removeprefix("gradient_")](drawn, structure, generator)
        found[f"gradient:{output.name}"] = (
            torch.view_as_complex(drawn) if dtype.is_complex else drawn
        ).contiguous()
    return found


def _differentiable(value: object) -> bool:
    return isinstance(value, torch.Tensor) and (value.is_floating_point() or value.is_complex())
