"""The words in which the shape rules of library steps are written, and the table that they are entered in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workbench.core.tensors import FLOATING, TensorSpec

Rule = Callable[..., TensorSpec]
"""From an operator's arguments (tensors as specs) to its result's spec; raises OpError for what it does not take."""
RULES: dict[str, Rule] = {}
"""By the operator's name without "aten."."""


class OpError(Exception):
    """What is wrong with a `torch_op`, beginning with the operator's name."""


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Enter a rule under each of these names."""

    def register(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, rule))
        return rule

    return register


def tensor(value: Any, what: str = "an argument") -> TensorSpec:
    """The spec, where a tensor is meant."""
    if not isinstance(value, TensorSpec):
        raise OpError(f"{what} should be a tensor")
    return value


def number(value: Any) -> int | float:
    """The number, where one is meant."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OpError(f"{value!r} should be a number")
    return value


def axis_of(value: Any, rank: int) -> int:
    """An axis counted from the front."""
    if isinstance(value, bool) or not isinstance(value, int) or not -max(rank, 1) <= value < max(rank, 1):
        raise OpError(f"dim {value!r} is none of a tensor of {rank} dimensions")
    return value % max(rank, 1)


def axes_of(value: Any, rank: int) -> tuple[int, ...]:
    """Axes counted from the front; None and () mean all."""
    if value is None or value == ():
        return tuple(range(rank))
    axes = tuple(axis_of(v, rank) for v in (value if isinstance(value, tuple | list) else (value,)))
    if len(set(axes)) != len(axes):
        raise OpError(f"dim {list(axes)} names an axis twice")
    return axes


def same_dtype(*specs: TensorSpec) -> str:
    """The dtype that all share; nothing is promoted."""
    if len({s.dtype for s in specs}) != 1:
        raise OpError(f"dtypes differ ({', '.join(map(str, specs))}); convert one by aten._to_copy")
    return specs[0].dtype


def floating(spec: TensorSpec) -> str:
    """The dtype, where a floating one is meant."""
    if spec.dtype not in FLOATING:
        raise OpError(f"{spec} should be floating point")
    return spec.dtype


def broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape to which all broadcast."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(s)) + s for s in shapes]
    result = []
    for extents in zip(*padded, strict=True):
        wide = {n for n in extents if n != 1}
        if len(wide) > 1:
            raise OpError(f"shapes {' and '.join(str(list(s)) for s in shapes)} do not broadcast")
        result.append(wide.pop() if wide else 1)
    return tuple(result)


def ranked(spec: Any, rank: int) -> tuple[int, ...]:
    """The shape, where this many dimensions are meant."""
    shape = tensor(spec).shape
    if len(shape) != rank:
        raise OpError(f"{spec} should have {rank} dimensions")
    return shape
