"""`input_distributions()`: how a task itself wants its inputs drawn.

It returns a dict from an input's name to one of
    ("uniform", low, high)   ("normal", mean, std)   ("integers", low, high)   ("unique", low, high)   ("constant",)
The integers' range includes both ends; unique ones come once at most along the last axis (or the one where
get_inputs() showed it). An input that is not named keeps the structure that was found.
"""

from __future__ import annotations

from typing import Any

from workbench.core.errors import TaskError
from workbench.judge.worker.task.options import Options
from workbench.judge.worker.task.signature import identifier
from workbench.judge.worker.task.structure import Distribution, Structure

_FORMS = '("uniform", low, high), ("normal", mean, std), ("integers", low, high), ("unique", low, high) or ("constant",)'


def declare(structures: dict[str, Structure], options: Options, notes: list[str]) -> None:
    """Put what the task declares in place of what was found.

    Raises:
        TaskError: the declaration names no input or is not one of the forms.
    """
    if options.input_distributions is None:
        return
    try:
        declared = options.input_distributions()
    except Exception as error:
        raise TaskError(
            f"`input_distributions()` raises {type(error).__name__}: {error}.", do="Correct it."
        ) from None
    if not isinstance(declared, dict):
        raise TaskError("`input_distributions()` returns no dict.", do='Return {"x": ("uniform", 0, 1)}.')
    by_name = {identifier(path.removeprefix("input:")): path for path in structures}
    by_name |= {path.removeprefix("input:"): path for path in structures}
    for name, form in declared.items():
        if name not in by_name:
            known = ", ".join(sorted({p.removeprefix("input:") for p in structures})) or "none"
            raise TaskError(
                f"`input_distributions()` names {name!r}, which is no input tensor.",
                do=f"Inputs are: {known}.",
            )
        _set(structures[by_name[name]], name, form)
    notes.append(f"drawn as the task declares: {', '.join(map(str, declared))}")


def _set(structure: Structure, name: str, form: Any) -> None:
    kind, numbers = (form[0], list(form[1:])) if isinstance(form, tuple | list) and form else (form, [])
    right = all(type(n) in (int, float) for n in numbers) and len(numbers) == (0 if kind == "constant" else 2)
    if kind not in ("uniform", "normal", "integers", "unique", "constant") or not right:
        raise TaskError(f"`input_distributions()` draws {name} as {form!r}.", do=f"Write {_FORMS}.")
    if kind == "constant":
        if structure.constant is None:
            raise TaskError(
                f"`input_distributions()` calls {name} constant, but get_inputs() changes it.",
                do="Take it out.",
            )
        return
    low, high = numbers
    if kind == "unique" and (structure.dtype.is_floating_point or not structure.shape):
        raise TaskError(
            f"`input_distributions()` calls {name} unique.", do="Only tensors of integers can be."
        )
    if kind == "unique" and high - low + 1 < structure.shape[structure.distinct_axis]:
        raise TaskError(
            f"`input_distributions()` draws {name} as {form!r}, too few for {structure.shape[structure.distinct_axis]} "
            "different integers.",
            do="Widen the range.",
        )
    structure.constant = None
    if kind in ("integers", "unique"):
        structure.unique, structure.permutation = kind == "unique", False
        structure.kind = "float" if structure.dtype.is_floating_point else "integer"
        structure.integral = structure.dtype.is_floating_point
        structure.low, structure.high = int(low), int(high)
    elif not structure.dtype.is_floating_point:
        raise TaskError(
            f"`input_distributions()` draws the integers of {name} as {kind}.", do=f"Write {_FORMS}."
        )
    elif kind == "uniform":
        structure.kind, structure.integral = "float", False
        mean, std = (low + high) / 2, (high - low) / 12**0.5
        structure.distribution = Distribution("uniform", low, high, mean, std)
    else:
        structure.kind, structure.integral = "float", False
        structure.distribution = Distribution("normal", low - 4 * high, low + 4 * high, low, high)
