"""The values that a plan passes: what is a shape, an extent, a scalar, a knob's value, and what is said where one is not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from workbench.core.plan import ScalarArg
from workbench.dialect.dtypes import DType

MAX_TEXT = 1000
"""Characters of a kernel name, a define, a knob's string."""


class PlanError(Exception):
    """What a plan got wrong: one or two sentences, with the fix where one is likely."""


def check_scalar(argument: ScalarArg, where: str) -> None:
    """A scalar's value is of its kind and fits it.

    Raises:
        PlanError: it does not.
    """
    value, kind = argument.value, argument.kind
    if kind == "bool":
        good = isinstance(value, bool)
    elif kind in ("float", "f32", "f64"):
        good = isinstance(value, float)
    else:
        bits = 32 if kind == "i32" else 64
        good = is_int(value) and -(1 << (bits - 1)) <= value < (1 << bits)
        if is_int(value) and not good:
            raise PlanError(f"{where}: {value} does not fit {bits} bits.")
    if not good:
        raise PlanError(f"{where}: {shown(value)} is no {kind}.")


def define_text(name: str, value: Any) -> str:
    """The text of a macro: "256", "1" for True, "__half" for a dtype."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, DType):
        text = value.ctype
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise PlanError(f"compile: {name}={value} has no C++ literal; pass INFINITY or NAN as a string.")
        text = repr(value)
    elif isinstance(value, int | str):
        text = str(value)
    else:
        raise PlanError(f"compile: {name}={shown(value)} should be a number, a bool, a string or a dtype.")
    if len(text) > MAX_TEXT or not text.isprintable():
        raise PlanError(f"compile: the text of {name} should be one line of at most {MAX_TEXT} characters.")
    return text


def plain(argument: Any) -> Any:
    """A scalar argument's value; anything else as it stands."""
    return argument.value if isinstance(argument, ScalarArg) else argument


def is_int(value: Any) -> bool:
    """An int that is no bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def sane_value(value: Any) -> bool:
    """A knob's value that any file, log and screen can hold."""
    if isinstance(value, str):
        return len(value) <= MAX_TEXT and value.isprintable()
    if isinstance(value, float):
        return math.isfinite(value)
    return not is_int(value) or -(1 << 63) <= value < (1 << 63)


def among(value: Any, choices: Sequence[Any]) -> bool:
    """Whether the value is one of the choices, of the same type (1, 1.0 and True are three values)."""
    return any(type(value) is type(c) and value == c for c in choices)


def shown(value: Any) -> str:
    """A value for a message, short whatever it is."""
    try:
        text = repr(value)
    except Exception:
        text = type(value).__name__
    return text if len(text) <= 80 else text[:77] + "..."


def checked_shape(shape: Any, what: str, *, free: bool = False) -> tuple[int, ...]:
    """A tensor's shape as ints; with `free` one of them may be -1."""
    extents = (shape,) if is_int(shape) else shape
    if not isinstance(extents, tuple | list):
        raise PlanError(f"{what}: the shape {shown(shape)} should be an int or a tuple of ints.")
    if len(extents) > 16:
        raise PlanError(f"{what}: {len(extents)} dimensions; at most 16.")
    for n in extents:
        if not is_int(n):
            hint = " Use // for a whole quotient." if isinstance(n, float) else ""
            raise PlanError(f"{what}: {shown(n)} in the shape is no int.{hint}")
        if n < 0 and not (free and n == -1):
            raise PlanError(f"{what}: {n} in the shape is negative.")
        if n >= 1 << 48:
            raise PlanError(f"{what}: {n:,} in the shape is larger than any memory.")
    if free and sum(n == -1 for n in extents) > 1:
        raise PlanError(f"{what}: only one -1 can be worked out.")
    return tuple(extents)


def checked_extent(value: Any, what: str) -> tuple[int, int, int]:
    """An int, or one to three of them, as x, y, z."""
    extents = (value,) if not isinstance(value, tuple | list) else tuple(value)
    if not 1 <= len(extents) <= 3:
        raise PlanError(f"launch: {what} has {len(extents)} dimensions; x, (x, y) or (x, y, z) is meant.")
    for n in extents:
        if not is_int(n):
            hint = " Use cdiv(a, b) or a // b." if isinstance(n, float) else ""
            raise PlanError(f"launch: {shown(n)} in {what} is no int.{hint}")
        if n < 1:
            raise PlanError(
                f"launch: {what}={shown(value)}; each extent is at least 1 (skip an empty launch by `if`)."
            )
    x, y, z = (*extents, 1, 1)[:3]
    return x, y, z


def within(
    extent: tuple[int, int, int], limit: tuple[int, int, int], what: str, unit: str, kernel: str
) -> None:
    """Refuse an extent over the device's limit in some axis."""
    for axis, n, most in zip("xyz", extent, limit, strict=True):
        if n > most:
            raise PlanError(f"launch {kernel}: {what}.{axis}={n:,} {unit}; at most {most:,} are allowed.")
