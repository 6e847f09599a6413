"""Which outputs hold positions (argmax, topk, sort), and what they were chosen from: ties make several answers right."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from workbench.judge.worker.task.program import Instance
from workbench.judge.worker.task.signature import output_leaves

_RANKED = frozenset(["argsort", "topk", "sort"])
"""What these select from a row they select once."""
_PLANES = {
    "max_pool2d_with_indices": 2,
    "max_pool3d_with_indices": 3,
    "adaptive_max_pool2d": 2,
    "adaptive_max_pool3d": 3,
    "fractional_max_pool2d": 2,
    "fractional_max_pool3d": 3,
}
"""How many of the last axes the positions count through."""
_POSITIONS = frozenset(
    [
        *_RANKED,
        *_PLANES,
        "argmax",
        "argmin",
        "max",
        "min",
        "kthvalue",
        "median",
        "nanmedian",
        "mode",
        "cummax",
        "cummin",
        "_cummax_helper",
    ]
)
_CARRIES = frozenset(
    [
        "clone",
        "_to_copy",
        "cat",
        "stack",
        "index_select",
        "gather",
        "copy_",
        "squeeze",
        "unsqueeze",
        "flip",
        "roll",
    ]
)


class Table(NamedTuple):
    """What positions were chosen from, as it was then."""

    values: torch.Tensor
    """A row for each choice: shape (rows, values to choose from)."""
    distinct: bool
    """No value of a row is selected twice (topk, sort)."""


class Chosen(NamedTuple):
    """What each element of an output that holds positions was chosen from."""

    tables: tuple[Table, ...]
    rows: torch.Tensor
    """Of the output's shape, int64: a row's number, counted through all tables; -1: not known."""


class Positions(TorchDispatchMode):
    """Remembers integer tensors that are positions, and what is only rearranged from them.

    Attributes:
        positions: by id; kept alive, so that no other tensor gets the id.
    """

    def __init__(self, *, keep: bool = False) -> None:
        """
        Args:
            keep: copy what is chosen from, for `chosen_from`.
        """
        super().__init__()
        self.positions: dict[int, torch.Tensor] = {}
        self._tables: list[Table] = []
        self._rows: dict[int, torch.Tensor] = {}
        """By id of a tensor of positions, and laid out as it is: see `Chosen.rows`."""
        self._keep = keep

    def chosen_from(self, output: torch.Tensor) -> Chosen | None:
        """What the positions in `output` were found in; None where that is not known of any."""
        found = self.positions.get(id(output))
        if found is None:
            # Autograd may hand out another object for the same view.
            found = next((p for p in self.positions.values() if _place(p) == _place(output)), None)
        rows = self._rows.get(id(found))
        if rows is None:
            return None
        tables: list[Table] = []
        numbers = torch.full_like(rows, -1)
        start = count = 0
        for table in self._tables:
            here = (rows >= start) & (rows < start + len(table.values))
            if bool(here.any()):
                numbers = torch.where(here, rows - start + count, numbers)
                tables.append(table)
                count += len(table.values)
            start += len(table.values)
        return Chosen(tuple(tables), numbers.contiguous()) if tables else None

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # see estimate.Work

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        # Before the call: what is chosen from may be what is written.
        source = _source(name, _named(func, args, kwargs)) if self._keep and name in _POSITIONS else None
        out = func(*args, **kwargs)
        carries = getattr(func, "is_view", False) or name in _CARRIES
        carried = [a for a in _tensors(args) if id(a) in self.positions] if carries else []
        if name in _POSITIONS or carried:
            results = _tensors(_flat(out))
            rows = (
                self._rearranged(func, name, args, kwargs, len(results)) if self._keep and carried else None
            )
            for place, result in enumerate(results):
                if not _holds_positions(name, place, results):
                    continue
                self.positions[id(result)] = result
                if self._keep:
                    known = rows[place] if rows is not None else self._entered(source, result)
                    self._rows[id(result)] = _laid_out(known, result)
        return out

    def _entered(
        self, source: tuple[Table, torch.Tensor] | None, result: torch.Tensor
    ) -> torch.Tensor | None:
        """The rows of new positions; what they were chosen from enters the list."""
        if source is None:
            return None
        table, numbers = source
        if numbers.dim() != result.dim():  # without the axis that was chosen along
            if numbers.numel() != result.numel():
                return None
            numbers = numbers.reshape(result.shape)
        rows = numbers.expand(result.shape) + sum(len(t.values) for t in self._tables)
        self._tables.append(table)
        return rows

    def _rearranged(
        self, func: Any, name: str, args: Any, kwargs: Any, count: int
    ) -> list[torch.Tensor | None]:
        """The rows of rearranged positions, `count` tensors: rearranged in the same way."""

        def rows_of(value: Any) -> Any:
            if isinstance(value, list | tuple):
                return [rows_of(v) for v in value]
            known = self._rows.get(id(value))
            return known if known is not None else torch.full_like(value, -1, dtype=torch.int64)

        if name in ("_to_copy", "copy_"):  # another dtype, and what is there already
            return [rows_of(args[1 if name == "copy_" else 0])] * count
        try:
            found = _tensors(_flat(func(rows_of(args[0]), *args[1:], **kwargs)))
        except Exception:  # then nobody knows, and a tie is none
            found = []
        return [*found] if len(found) == count else [None] * count


def _place(tensor: torch.Tensor) -> tuple[Any, ...]:
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype


def _named(func: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    """The arguments of a call by name, those that were left out too."""
    arguments = func._schema.arguments
    found = {a.name: a.default_value for a in arguments if a.has_default_value()}
    found.update(zip((a.name for a in arguments), args, strict=False))
    return found | kwargs


def _source(name: str, arguments: dict[str, Any]) -> tuple[Table, torch.Tensor] | None:
    """What positions are about to be chosen from, and a row's number for each choice, of a shape like the values' with
    one element along the axes that are chosen along."""
    values = arguments.get("self")
    if not isinstance(values, torch.Tensor) or values.numel() == 0:
        return None
    values = values.detach()
    dim = arguments.get("dim")
    if name in _PLANES:
        axes = _PLANES[name]
        if values.dim() < axes:
            return None
        rows = values.reshape(-1, math.prod(values.shape[-axes:]))
        shape = (*values.shape[:-axes], *[1] * axes)
    elif dim is None or values.dim() == 0:
        rows, shape = values.reshape(1, -1), ()
    else:
        last = values.movedim(dim, -1)
        rows = last.reshape(-1, last.shape[-1])
        shape = tuple(1 if axis == dim % values.dim() else n for axis, n in enumerate(values.shape))
    return Table(rows.clone(), name in _RANKED), torch.arange(len(rows)).reshape(shape)


def _laid_out(rows: torch.Tensor | None, result: torch.Tensor) -> torch.Tensor:
    """`rows`, or -1, with the strides of `result`: what views take apart must lie alike."""
    found = torch.full_like(result, -1, dtype=torch.int64)
    return found if rows is None else found.copy_(rows)


def _holds_positions(name: str, place: int, results: list[torch.Tensor]) -> bool:
    """Whether this result of a call is positions: of two the second, beside the values that stand there; `max`,
    `median` and their like alone give a value."""
    if results[place].is_floating_point() or results[place].dtype == torch.bool:
        return False
    if name in _POSITIONS and len(results) > 1:
        return place > 0
    return name not in ("max", "min", "median", "nanmedian")


def _flat(out: Any) -> list[Any]:
    return list(out) if isinstance(out, tuple | list) else [out]


def _tensors(values: Any) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, tuple | list):
            found += [v for v in value if isinstance(v, torch.Tensor)]
    return found


def index_outputs(instance: Instance) -> set[int]:
    """Numbers of the outputs that hold positions."""
    tracker = Positions()
    values = [v.value.clone() if isinstance(v.value, torch.Tensor) else v.value for v in instance.inputs]
    try:
        with tracker:
            raw = instance.call(instance.model, iter(values))
    except Exception:
        return set()
    tensors = [leaf.value for leaf in output_leaves(raw) if isinstance(leaf.value, torch.Tensor)]
    return {n for n, t in enumerate(tensors) if id(t) in tracker.positions}
