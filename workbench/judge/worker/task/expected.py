"""What one case must give: eager, in fp64, and in fp64 with its inputs moved a little."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import torch

from workbench.judge.worker.task.imports import describe
from workbench.judge.worker.task.indices import Chosen
from workbench.judge.worker.task.reference import Call, Derivative, Reference, Values


class _Values(NamedTuple):
    """What a call in fp64 gave."""

    results: list[torch.Tensor]
    mutated: Mapping[str, torch.Tensor]
    chosen_from: Mapping[int, Chosen]


class Expected:
    """What the reference gives for one case. fp64 and its perturbation are computed when they are first asked for.

    Attributes:
        eager: the outputs, flattened; then the gradients, where they are wanted.
        mutated: by path, what a mutable input or buffer holds after the call.
        chosen_from: by number of an output that holds positions, what they were found in.
        refused: why the double did not take a case that eager took, once `exact` was asked for; else "".
    """

    def __init__(
        self,
        reference: Reference,
        values: Values,
        mutable: Iterable[str],
        *,
        has_exact: bool,
        seed: int,
        gradients: tuple[str, ...] = (),
        positions: bool = False,
    ):
        """
        Args:
            gradients: paths of the gradients that are wanted; `values` then holds the incoming ones.
            positions: some output holds positions, and what they were found in is wanted.
        """
        self._positions = positions
        self._gradients = gradients
        self._reference, self._values, self._has_exact, self._seed = reference, values, has_exact, seed
        self._mutable = tuple(mutable)
        self.refused = ""
        try:
            call = reference.eager(
                values, self._derivative(values), positions=positions, written=self._mutable
            )
        except Exception as error:
            program = reference.instance.program
            raise program.failure(f"`{program.file.class_name}.forward`", error) from None
        self.eager: list[torch.Tensor] = self._all(call)
        self.mutated: Mapping[str, torch.Tensor] = call.written
        self.chosen_from = call.chosen_from

    def _derivative(self, values: Values) -> Derivative | None:
        if not self._gradients:
            return None
        incoming = {
            p: v for p, v in values.items() if p.startswith("gradient:") and isinstance(v, torch.Tensor)
        }
        return Derivative(self._gradients, incoming)

    def _all(self, call: Call) -> list[torch.Tensor]:
        return [*call.outputs, *(call.gradients[path] for path in self._gradients)]

    @functools.cached_property
    def _exact_call(self) -> _Values | None:
        if not self._has_exact:
            return None
        try:
            return self._values_of(self._run_exact(self._values))
        except Exception as error:
            self.refused = describe(error)
            return None

    def _values_of(self, call: Call) -> _Values:
        return _Values(self._all(call), call.written, call.chosen_from)

    def _run_exact(self, values: Values) -> Call:
        return self._reference.exact(
            values, self._derivative(values), positions=self._positions, written=self._mutable
        )

    def _run_moved(self, values: Values) -> Call | None:
        """None where the double does not take the moved inputs: then it is not known how far they move it."""
        try:
            return self._run_exact(values)
        except Exception:
            return None

    @property
    def exact(self) -> list[torch.Tensor] | None:
        """As `eager`, in fp64 (integers as they are); None where there is no fp64 reference."""
        return self._exact_call.results if self._exact_call is not None else None

    @property
    def exact_mutated(self) -> Mapping[str, torch.Tensor] | None:
        """As `mutated`, in fp64."""
        return self._exact_call.mutated if self._exact_call is not None else None

    @property
    def exact_chosen_from(self) -> Mapping[int, Chosen]:
        """As `chosen_from`, in fp64; empty where there is no fp64 reference."""
        return self._exact_call.chosen_from if self._exact_call is not None else {}

    @functools.cached_property
    def _perturbed_call(self) -> _Values | None:
        if not self._has_exact:
            return None
        generator = torch.Generator().manual_seed(self._seed ^ 0x5EED)
        moved = self._run_moved(self._moved(("input:", "gradient:"), lambda value: one_ulp(value, generator)))
        return self._values_of(moved) if moved is not None else None

    @property
    def perturbed(self) -> list[torch.Tensor] | None:
        """As `exact`, with every float input and incoming gradient moved up or down by one ulp of its own dtype."""
        return self._perturbed_call.results if self._perturbed_call is not None else None

    @property
    def perturbed_mutated(self) -> Mapping[str, torch.Tensor] | None:
        """As `exact_mutated`, with inputs moved as for `perturbed`."""
        return self._perturbed_call.mutated if self._perturbed_call is not None else None

    @property
    def perturbed_chosen_from(self) -> Mapping[int, Chosen]:
        """As `exact_chosen_from`, with inputs moved as for `perturbed`."""
        return self._perturbed_call.chosen_from if self._perturbed_call is not None else {}

    @functools.cached_property
    def kinks(self) -> tuple[list[torch.Tensor], list[torch.Tensor]] | None:
        """Smallest and largest fp64 values while every float input moves a little to either side, zeros too.

        Where a gradient jumps (relu at 0, abs at 0, equal maxima) any value between the two sides is one. None without
        an fp64 reference.
        """
        found = [self._all(call) for call in map(self._run_moved, self._sides()) if call is not None]
        if not self._has_exact or self.exact is None or len(found) < 2:
            return None
        stacked = [torch.stack(list(values)) for values in zip(self.exact, *found, strict=True)]
        return [s.amin(0) for s in stacked], [s.amax(0) for s in stacked]

    def _sides(self) -> Iterator[Values]:
        for sign in (1.0, -1.0) if self._has_exact and self._gradients else ():
            generator = torch.Generator().manual_seed(self._seed ^ 0x51DE)
            yield self._moved(("input:",), lambda value: _nudged(value, generator, sign))  # noqa: B023  (used at once)

    def _moved(self, roles: tuple[str, ...], move: Callable[[torch.Tensor], torch.Tensor]) -> Values:
        return {
            path: move(value)
            if path.startswith(roles) and isinstance(value, torch.Tensor) and value.is_floating_point()
            else value
            for path, value in self._values.items()
        }


def one_ulp(tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Every element moved to a neighbour in its dtype; zeros stay, since their structure may matter."""
    if tensor.dtype in (torch.float8_e4m3fn, torch.float8_e5m2):
        return tensor
    up = torch.rand(tensor.shape, generator=generator) < 0.5
    far = torch.where(up, torch.inf, -torch.inf).to(tensor.dtype)
    return torch.where(tensor == 0, tensor, torch.nextafter(tensor, far))


def _nudged(tensor: torch.Tensor, generator: torch.Generator, sign: float) -> torch.Tensor:
    """In fp64, every element moved by an ulp of its own dtype to a random side, or with `sign` -1 to the other; zeros
    by next to nothing."""
    wide = tensor.double()
    side = (torch.rand(tensor.shape, generator=generator, dtype=torch.float64) < 0.5).double() * 2 - 1
    scale = float(wide.abs().nan_to_num(0, 0, 0).amax()) if wide.numel() else 0.0
    step = torch.where(wide == 0, 2.0**-40 * (scale or 1.0), wide.abs() * torch.finfo(tensor.dtype).eps)
    return wide + sign * side * step
