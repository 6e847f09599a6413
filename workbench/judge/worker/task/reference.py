"""A task's module, as it is and in fp64, called on given values.

Every call works on fresh copies of inputs, parameters and buffers, so in-place modules and running statistics
never leak from one call to the next.
"""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import nn

from workbench.core.errors import TaskError
from workbench.core.task import Scalar
from workbench.judge.worker.task.imports import describe
from workbench.judge.worker.task.indices import Chosen, Positions
from workbench.judge.worker.task.lifting import lift_module, lift_tensor, lifted
from workbench.judge.worker.task.program import RUNNING, Instance
from workbench.judge.worker.task.signature import (
    Leaf,
    StateTensor,
    identifier,
    is_scalar,
    module_tensors,
    output_leaves,
)

Values = Mapping[str, torch.Tensor | Scalar]
_TOLERANCE = {torch.float16: 3e-2, torch.bfloat16: 1e-1, torch.float64: 1e-6}
"""How far eager may be from fp64, of the output's scale, for the two to be the same function; else 1e-3."""


class Call(NamedTuple):
    """One run of the reference."""

    outputs: list[torch.Tensor]
    """Contiguous copies, in flattened order."""
    leaves: list[Leaf]
    """As the module gave them."""
    given: dict[str, torch.Tensor]
    """The copies that the module got, by path; those of parameters and buffers are the module's own, which the next
    call changes."""
    rebound: frozenset[str] = frozenset()
    """Parameters and buffers that the module put another tensor in the place of."""
    gradients: Mapping[str, torch.Tensor] = MappingProxyType({})
    """By path, of what a `Derivative` asked for and autograd reaches; contiguous."""
    reached: tuple[bool, ...] = ()
    """By output: whether autograd goes back from it (only with a `Derivative`)."""
    chosen_from: Mapping[int, Chosen] = MappingProxyType({})
    """By output that holds positions: what they were found in (only where that was asked for)."""
    written: Mapping[str, torch.Tensor] = MappingProxyType({})
    """By path, of what was asked for: contiguous copies of what it held after the call."""


class Derivative(NamedTuple):
    """Which gradients a call is asked for."""

    wanted: tuple[str, ...]
    incoming: Mapping[str, torch.Tensor] | None
    """By output ("gradient:out" is that of the output called "out"), of its shape; None: ones, to see what is reached."""


class Reference:
    """A module at one size and its double; a call costs about what the module costs.

    Attributes:
        fresh_module: the module keeps Python state between calls, so each call gets a deep copy.
        why_not_exact: "" or why there is no fp64 reference.
    """

    def __init__(self, instance: Instance, *, fresh_module: bool = False) -> None:
        self.instance = instance
        self.fresh_module = fresh_module
        self.state = module_tensors(instance.model)
        self.pristine = {s.path: s.tensor.detach().contiguous().clone() for s in self.state}
        self.why_not_exact = ""
        self._model = instance.model
        self._untouched = copy.deepcopy(instance.model) if fresh_module else None

    def values(self) -> dict[str, torch.Tensor | Scalar]:
        """The first draw of inputs, and the state as it was made."""
        given: dict[str, torch.Tensor | Scalar] = {}
        for leaf in self.instance.inputs:
            if isinstance(leaf.value, torch.Tensor):
                given[f"input:{leaf.key}"] = leaf.value.detach().contiguous()
            elif is_scalar(leaf.value):
                given[f"input:{leaf.key}"] = leaf.value
        given.update(self.pristine)
        return given

    def eager(
        self,
        values: Values,
        derivative: Derivative | None = None,
        *,
        positions: bool = False,
        written: Sequence[str] = (),
    ) -> Call:
        """The module as it is; with `derivative` forward and backward, as in training; with `positions` what is
        chosen from is kept; `written` are paths of which the values after the call are kept.

        Raises:
            whatever the module raises.
        """
        if self._untouched is not None:
            model = copy.deepcopy(self._untouched)
            state = module_tensors(model)
        else:
            model, state = self._model, self.state
        return self._call(
            model, state, values, torch.Tensor.clone, derivative, positions=positions, written=written
        )

    def exact(
        self,
        values: Values,
        derivative: Derivative | None = None,
        *,
        positions: bool = False,
        written: Sequence[str] = (),
    ) -> Call:
        """The module in double precision; as `eager` otherwise.

        Raises:
            whatever the module raises.
        """
        model = self._double
        if self.fresh_module:
            model = copy.deepcopy(model)
        state = module_tensors(model)
        return self._call(
            model, state, values, lift_tensor, derivative, lifted, positions=positions, written=written
        )

    @property
    def untouched(self) -> nn.Module:
        """A copy of the module, with its parameters and buffers as they were made."""
        model = copy.deepcopy(self._untouched if self._untouched is not None else self._model)
        with torch.no_grad():
            for held in module_tensors(model):
                held.tensor.copy_(self.pristine[held.path])
        return model

    @functools.cached_property
    def _double(self) -> nn.Module:
        return lift_module(self._untouched if self._untouched is not None else self._model)

    def _call(
        self,
        model: nn.Module,
        state: Iterable[StateTensor],
        values: Values,
        copied: Callable[[torch.Tensor], torch.Tensor],
        derivative: Derivative | None = None,
        context: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
        *,
        positions: bool,
        written: Sequence[str],
    ) -> Call:
        with RUNNING:
            held = list(state)
            try:
                call = self._call_alone(model, held, values, copied, derivative, context, positions)
                # Before another thread's call may write to the same module.
                after = {path: call.given[path].detach().contiguous().clone() for path in written}
                return call._replace(written=after)
            finally:
                wanted = derivative.wanted if derivative is not None else ()
                for one in held:
                    if one.path in wanted:
                        one.tensor.requires_grad_(False)

    def _call_alone(
        self,
        model: nn.Module,
        state: list[StateTensor],
        values: Values,
        copied: Callable[[torch.Tensor], torch.Tensor],
        derivative: Derivative | None,
        context: Callable[[], contextlib.AbstractContextManager[None]],
        positions: bool,
    ) -> Call:
        wanted = derivative.wanted if derivative is not None else ()
        sources: dict[str, torch.Tensor] = {}
        given: dict[str, torch.Tensor] = {}
        with torch.no_grad():
            for held in state:
                value = values.get(held.path)
                if isinstance(value, torch.Tensor):
                    held.tensor.copy_(value)
                    given[held.path] = held.tensor
                if held.path in wanted:
                    sources[held.path] = held.tensor.requires_grad_(True)
        leaves: list[Any] = []
        for leaf in self.instance.inputs:
            value = values.get(f"input:{leaf.key}", leaf.value)
            if isinstance(value, torch.Tensor):
                given[f"input:{leaf.key}"] = value = copied(value)
                if f"input:{leaf.key}" in wanted:
                    sources[f"input:{leaf.key}"] = value.requires_grad_(True)
            leaves.append(value)
        tracker = Positions(keep=True) if positions else None
        with context(), tracker or contextlib.nullcontext():
            raw = self.instance.call(model, iter(leaves), gradients=derivative is not None)
        found = output_leaves(raw)
        check_tensors(found, self.instance.program.file.file.name)
        gradients: dict[str, torch.Tensor] = {}
        if derivative is not None:
            with context(), self.instance.program.running():
                gradients = _gradients(found, sources, derivative)
        tensors = [leaf.value.detach() for leaf in found if isinstance(leaf.value, torch.Tensor)]
        after = {s.path: s.tensor for s in module_tensors(model)}
        rebound = frozenset(s.path for s in state if after.get(s.path) is not s.tensor)
        reached = tuple(_reached(leaf) for leaf in found if isinstance(leaf.value, torch.Tensor))
        chosen_from: dict[int, Chosen] = {}
        if tracker is not None:
            chosen_from = {n: s for n, t in enumerate(tensors) if (s := tracker.chosen_from(t))}
        copies = [t.contiguous().clone() for t in tensors]
        return Call(copies, found, given, rebound, gradients, reached, chosen_from)

    def _lowest(self, values: Values) -> float:
        """The tolerance of the coarsest dtype that eager computes in: half weights round a single output, too."""
        dtypes = [v.dtype for v in values.values() if isinstance(v, torch.Tensor)]
        if self.instance.program.autocast is not None:
            dtypes.append(self.instance.program.autocast)
        return max((_TOLERANCE.get(d, 0.0) for d in dtypes), default=0.0)

    def validate_exact(self, samples: Iterable[Values], written: Iterable[str] = ()) -> bool:
        """Whether the double computes the same function as eager; `why_not_exact` says why it does not.

        Args:
            written: paths of what the module writes in place, whose values are compared too.
        """
        paths = sorted(written)
        try:
            for values in samples:
                calls = self.eager(values, written=paths), self.exact(values, written=paths)
                eager, exact = ([*c.outputs, *c.written.values()] for c in calls)
                names = [f"output {n}" for n in range(len(calls[0].outputs))]
                names += [f"{p.partition(':')[2]}, as written in place," for p in paths]
                why = _difference(names, eager, exact, self._lowest(values))
                if why:
                    self.why_not_exact = why
                    return False
        except Exception as error:
            self.why_not_exact = f"the module does not run in fp64 ({describe(error)})"
            return False
        return True


def _reached(leaf: Leaf) -> bool:
    value = leaf.value
    return bool(value.requires_grad and (value.is_floating_point() or value.is_complex()))


def _gradients(
    outputs: list[Leaf], sources: Mapping[str, torch.Tensor], derivative: Derivative
) -> dict[str, torch.Tensor]:
    """Autograd's gradients of the outputs that it reaches; zeros where a known gradient does not come this time."""
    reached = [leaf for leaf in outputs if isinstance(leaf.value, torch.Tensor) and _reached(leaf)]
    incoming: list[torch.Tensor] = []
    for leaf in reached:
        if derivative.incoming is None:
            incoming.append(torch.ones_like(leaf.value))
        else:
            incoming.append(derivative.incoming[f"gradient:{identifier(leaf.key)}"].to(leaf.value.dtype))
    if not reached:
        return {}
    found = torch.autograd.grad(
        [leaf.value for leaf in reached], list(sources.values()), incoming, allow_unused=True
    )
    gradients: dict[str, torch.Tensor] = {}
    for (path, source), gradient in zip(sources.items(), found, strict=True):
        if gradient is None and derivative.incoming is None:
            continue
        whole = torch.zeros_like(source) if gradient is None else gradient
        gradients[path] = whole.detach().contiguous().clone()
    return gradients


def _difference(names: list[str], eager: list[torch.Tensor], exact: list[torch.Tensor], lowest: float) -> str:
    """Why `exact` is not the function that `eager` is, or "". `lowest`: of the tolerances of what goes in."""
    if len(eager) != len(exact):
        return "the module gives another number of outputs in fp64"
    for name, a, b in zip(names, eager, exact, strict=True):
        if a.shape != b.shape:
            return f"{name} has another shape in fp64"
        if a.is_floating_point() != b.is_floating_point():
            return f"{name} has another kind of dtype in fp64"
        if not (a.is_floating_point() or a.is_complex()):
            if float((a != b).double().mean()) > 0.01:
                return f"{name} differs in fp64 in more than 1 % of its elements"
            continue
        if b.is_floating_point() and b.dtype != torch.float64:
            return f"{name} stays {b.dtype} in fp64"
        wide = a.to(b.dtype)
        both = wide.isfinite() & b.isfinite()
        if float((wide.isfinite() != b.isfinite()).double().mean()) > 0.01:
            return f"{name} is finite in one of eager and fp64 only"
        scale = float(b[both].abs().max()) if bool(both.any()) else 0.0
        allowed = max(_TOLERANCE.get(a.dtype, 1e-3), lowest) * scale
        if float(((wide - b).abs() > allowed)[both].double().mean() if bool(both.any()) else 0.0) > 0.01:
            return f"{name} differs between eager and fp64 by more than rounding"
    return ""


def check_tensors(leaves: list[Leaf], name: str) -> None:
    """Raises:
    TaskError: the reference returns no tensors, or something that no kernel could.
    """
    tensors = [leaf for leaf in leaves if isinstance(leaf.value, torch.Tensor)]
    if not tensors:
        kinds = ", ".join(sorted({type(leaf.value).__name__ for leaf in leaves})) or "None"
        raise TaskError(
            f"The reference of {name} returns no tensor but {kinds}.", do="Return a tensor from forward."
        )
    for leaf in tensors:
        if leaf.value.layout != torch.strided or leaf.value.is_quantized or leaf.value.is_nested:
            raise TaskError(
                f"The reference of {name} returns a tensor that is not dense ({leaf.key}).",
                do="Return dense tensors.",
            )
