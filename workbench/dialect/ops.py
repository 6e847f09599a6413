"""The library steps that a plan may ask for: functional, deterministic, non-aliasing aten operators.

The shape of each result is worked out here, without torch, so that plan and memory are known before anything runs.
Whoever executes a step calls `torch.ops.aten.<name>(*args, **kwargs)` and copies the result into a contiguous tensor
of the shape stated here. Two conventions: the leading tensors of the operators in `GATHERED` form one list, and a
keyword `dtype` is a dtype's name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workbench.core.tensors import TensorSpec
from workbench.dialect import op_contractions, op_pointwise  # noqa: F401  (their rules enter themselves)
from workbench.dialect.op_rules import RULES, OpError

__all__ = ["GATHERED", "OpError", "infer", "names", "normal_name"]

GATHERED = frozenset({"aten.cat", "aten.stack"})
"""Operators whose leading tensors form one list."""


def names() -> tuple[str, ...]:
    """The allowlist, sorted: ("aten.abs", ...)."""
    return tuple(sorted(f"aten.{name}" for name in RULES))


def infer(op: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
    """The results' specs.

    Args:
        op: "aten.mm" (see `normal_name`).
        args: TensorSpec for a tensor; int, float, bool, str, None or a tuple of ints as they stand.

    Raises:
        OpError: not on the allowlist, or arguments that the operator does not take.
    """
    rule = RULES.get(_short(op)) if isinstance(op, str) else None
    if rule is None or op != f"aten.{_short(op)}":
        raise OpError(f"{str(op)[:60]!r} is not on the allowlist: {', '.join(names())}.")
    values = list(args)
    if op in GATHERED:
        count = next((i for i, a in enumerate(values) if not isinstance(a, TensorSpec)), len(values))
        values = [values[:count], *values[count:]]
    try:
        return (rule(*values, **kwargs),)
    except OpError as error:
        raise OpError(f"{op}: {error}") from None
    except (TypeError, AttributeError, ValueError, IndexError) as error:
        text = str(error).replace(f"_{_short(op)}()", op)
        raise OpError(f"{op}: its arguments do not fit ({text[:200]}).") from None


def normal_name(op: str) -> str:
    """ "aten.mm" for "mm", "aten.mm" and "aten.mm.default"."""
    return f"aten.{_short(op)}"


def _short(op: str) -> str:
    return op.removeprefix("torch.ops.").removeprefix("aten.").removesuffix(".default")
