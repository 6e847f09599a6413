"""Is an output right? Elementwise against the reference, on the elements where the reference itself can be trusted.

An element counts where eager's result is finite and agrees with the fp64 reference; at most 1 % of a case may be
excluded (docs/judge.md). What depends on the reference alone (`Bar`) is computed ahead, while the compiler works.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from workbench.core.task import Output
from workbench.judge.worker.fills import fills
from workbench.judge.worker.ties import Choice, same_selection

TOLERANCE: dict[torch.dtype, float] = {
    torch.float64: 1e-7,
    torch.float32: 1e-3,
    torch.float16: 1e-2,
    torch.bfloat16: 4e-2,
    torch.float8_e4m3fn: 0.13,
    torch.float8_e5m2: 0.26,
}
"""Relative to an element and to its row's rms. This gate finds what is wrong; `precision` finds what is inaccurate."""

MAX_EXCLUDED = 0.01
CONDITION_SLACK = 16.0
"""An ill-conditioned element may be off by this many times what eager, or one ulp of the inputs, changes its row."""

Tensor = torch.Tensor
Sides = Callable[[], tuple[Tensor, Tensor] | None]
"""Asked for only when something looks wrong: the values between which a gradient lies where it jumps."""


def no_sides() -> None:
    """An output has no kinks."""


Tolerance = Mapping[str, float]
"""A task's own "rtol" and "atol"; empty takes the judge's."""


@dataclass(frozen=True)
class Bar:
    """What one output of one case must meet."""

    output: Output
    eager: Tensor
    target: Tensor
    """float64 from the fp64 reference (or eager's, where there is none); the integers themselves otherwise."""
    exact: bool
    """`target` is the fp64 reference."""
    tolerance: float
    allowed: Tensor | None
    """Largest |got - target|, float64, of target's shape; None for integers, which must be equal."""
    counted: Tensor | None
    """Which elements count; None: all."""
    excluded: int
    filled: Tensor | None = None
    """Which elements are a constant filled in (see `fills`), of which the others' tolerance takes nothing."""
    choice: Choice | None = None
    """What an index output was chosen from, where that is known."""

    @property
    def usable(self) -> bool:
        return self.excluded <= MAX_EXCLUDED * max(self.target.numel(), 1)


@dataclass(frozen=True)
class Mismatch:
    """The worst element of an output that is wrong."""

    output: str
    index: tuple[int, ...]
    expected: float | int | bool
    got: float | int | bool
    allowed: float
    wrong: int
    counted: int
    constant_ratio: float | None
    """got / expected where that is nearly the same everywhere: a wrong scale."""

    def evidence(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "output": self.output,
            "index": list(self.index),
            "expected": _plain(self.expected),
            "got": _plain(self.got),
            "allowed_difference": _plain(self.allowed),
            "wrong_elements": self.wrong,
            "elements": self.counted,
        }
        if self.constant_ratio is not None:
            found["constant_ratio"] = self.constant_ratio
        return found

    def sentence(self) -> str:
        place = f"{self.output}[{', '.join(map(str, self.index))}]" if self.index else self.output
        many = (
            f"{self.wrong} of {self.counted} elements are wrong"
            if self.counted > 1
            else "the result is wrong"
        )
        ratio = (
            f"; every element is about {self.constant_ratio:.4g} times too large"
            if self.constant_ratio
            else ""
        )
        return f"{place} is {_short(self.got)}, expected {_short(self.expected)}; {many}{ratio}"


@dataclass(frozen=True)
class Refused:
    """The task's own `check(expected, actual)` said no."""

    message: str
    index: tuple[int, ...] = ()

    def evidence(self) -> dict[str, Any]:
        return {"check": self.message}

    def sentence(self) -> str:
        return f"the task's own check says no{': ' if self.message else ''}{self.message}"


def bars(
    outputs: Sequence[Output],
    eager: Sequence[Tensor],
    exact: Sequence[Tensor] | None,
    tolerance: Tolerance,
    *,
    at_least: float = 0.0,
) -> list[Bar]:
    """One `Bar` for each output. `tolerance` is the task's own; `at_least`: the least relative one otherwise."""
    references = exact if exact is not None else [None] * len(eager)
    return [
        _bar(output, e, x, tolerance, at_least)
        for output, e, x in zip(outputs, eager, references, strict=True)
    ]


def index_bar(
    bar: Bar, exact: Tensor | None, perturbed: Callable[[], Tensor | None], choice: Choice | None
) -> Bar:
    """The bar of an index output.

    Args:
        bar: as `bars` makes it.
        exact: the output in fp64, where there is an fp64 reference.
        perturbed: the same on inputs moved by one ulp; asked for only where it is not known of every element what it
            was chosen from.
        choice: what the reference chose from, where that is known.
    """
    if exact is None or exact.shape != bar.eager.shape:
        return replace(bar, choice=choice)
    counted = bar.eager == exact
    known = choice.known if choice is not None else torch.zeros_like(counted)
    if not bool(known.all()) and (moved := perturbed()) is not None and moved.shape == exact.shape:
        counted &= known | (moved == exact)
    if choice is not None:
        # Among near-ties eager's choice is as good as fp64's, but not where eager chose what overflowed.
        trusted = choice.same(bar.eager, bar.eager, distinct=False)
        counted = (counted | choice.same(exact, bar.eager)) & (trusted | ~known)
    excluded = int(counted.numel() - counted.sum())
    return replace(bar, counted=counted if excluded else None, excluded=excluded, choice=choice)


def mismatch(
    bar: Bar,
    actual: Tensor,
    *,
    perturbed: Callable[[], Tensor | None] = lambda: None,
    sides: Sides = no_sides,
    selected_from: Sequence[Tensor] = (),
) -> Mismatch | None:
    """The worst wrong element of `actual`, or None where all that count are right.

    Args:
        actual: of the output's shape and dtype, as the judge read it from its own memory.
        perturbed: the fp64 reference on inputs moved by one ulp; asked for only when something looks wrong.
        sides: see `Sides`.
        selected_from: tensors that an index output may point into, where the bar does not know; ties compare by the
            values selected.
    """
    if bar.allowed is None:
        return _integer_mismatch(bar, actual, selected_from)
    found = _wrong_floats(bar, actual, perturbed, sides)
    if found is None:
        return None
    wrong, got, difference, allowed = found
    excess = torch.where(wrong, torch.nan_to_num(difference / allowed.clamp_min(1e-300), nan=1e300), -1.0)
    at = int(excess.flatten().argmax())
    ratio = _constant_ratio(got, bar)
    return Mismatch(
        bar.output.name,
        unravel(at, tuple(wrong.shape)),
        float(bar.target.flatten()[at]),
        float(got.flatten()[at]),
        float(allowed.flatten()[at]),
        int(wrong.sum()),
        int(bar.counted.sum()) if bar.counted is not None else wrong.numel(),
        ratio,
    )


def wrong_elements(
    bar: Bar,
    actual: Tensor,
    *,
    perturbed: Callable[[], Tensor | None] = lambda: None,
    sides: Sides = no_sides,
    selected_from: Sequence[Tensor] = (),
) -> Tensor | None:
    """Which elements `mismatch` (see there for the arguments) finds wrong, a bool tensor of `bar.target`'s shape;
    None: not one."""
    if bar.allowed is None:
        return _wrong_integers(bar, actual, selected_from)
    found = _wrong_floats(bar, actual, perturbed, sides)
    return found[0] if found is not None else None


def _wrong_floats(
    bar: Bar, actual: Tensor, perturbed: Callable[[], Tensor | None], sides: Sides
) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
    """Where it is wrong, what was got, how far it is off, and how far it may be."""
    assert bar.allowed is not None
    got = _real(actual).double()
    difference = (got - bar.target).abs_().masked_fill_(got == bar.target, 0.0)  # infinity - infinity is NaN
    wrong = ~(difference <= bar.allowed)  # written so that NaN is wrong
    if bar.counted is not None:
        wrong &= bar.counted
    if not bool(wrong.any()):
        return None
    allowed = bar.allowed + _row_slack(bar, perturbed())
    wrong &= ~(difference <= allowed)
    if bool(wrong.any()) and (between := sides()) is not None:
        # At a kink each value between the two sides is a right one: relu's gradient at 0 is 0 for some, 1 for others.
        low, high = (_real(side).double() for side in between)
        wrong &= ~((got >= low - bar.allowed) & (got <= high + bar.allowed))
    return (wrong, got, difference, allowed) if bool(wrong.any()) else None


def _bar(output: Output, eager: Tensor, exact: Tensor | None, tolerance: Tolerance, at_least: float) -> Bar:
    if not (eager.is_floating_point() or eager.is_complex()):
        counted = (eager == exact) if exact is not None and exact.shape == eager.shape else None
        if counted is not None and bool(counted.all()):
            counted = None
        excluded = 0 if counted is None else int((~counted).sum())
        return Bar(output, eager, eager, exact is not None, 0.0, None, counted, excluded)
    relative = (
        tolerance.get("rtol", 0.0) if tolerance else max(TOLERANCE.get(_real(eager).dtype, 1e-3), at_least)
    )
    mine = _real(eager).double()
    target = _real(exact).double() if exact is not None else mine
    if exact is not None:
        # A constant like finfo(dtype).min is another number in fp64; what eager can hold is wanted.
        target = torch.where(
            mine.isfinite() & target.isfinite() & (target.abs() > torch.finfo(_real(eager).dtype).max),
            mine,
            target,
        )
    size = target.abs()
    rms = _row_rms(size)
    allowed = size * relative + tolerance.get("atol", 0.0) if tolerance else (size + rms).mul_(relative)
    return _counting(Bar(output, eager, target, exact is not None, relative, allowed, None, 0))


def _counting(bar: Bar, meant: Tensor | None = None) -> Bar:
    """With what counts by what it allows, and the infinities that are `meant`."""
    assert bar.allowed is not None
    mine = _real(bar.eager).double()
    counted = torch.isfinite(mine)
    if bar.exact:
        # The finest that half the tolerance can tell: what eager itself gets wrong cannot be asked of a candidate.
        counted &= bar.target.isfinite() & ((mine - bar.target).abs_() <= bar.allowed * 0.5)
    if meant is not None:
        counted |= meant
        excluded = int(counted.numel() - counted.sum())
        return replace(bar, counted=counted if excluded else None, excluded=excluded)
    excluded = int(counted.numel() - counted.sum())
    found = replace(bar, counted=counted if excluded else None, excluded=excluded)
    infinite = mine.isinf() & (mine == bar.target)
    if found.usable or not bar.exact or not bool(infinite.any()):
        return found
    # So many are infinite in fp64 too that they are what is meant (a causal mask of -inf): nothing else will do there.
    return _counting(replace(bar, allowed=bar.allowed.masked_fill(infinite, 0.0)), infinite)


def _row_rms(size: Tensor) -> Tensor:
    rows = torch.nan_to_num(size, nan=0.0, posinf=0.0)
    return rows.square().mean(-1, keepdim=True).sqrt_() if rows.dim() else rows


def without_fills(bar: Bar, perturbed: Callable[[], Tensor | None], tolerance: Tolerance) -> Bar:
    """The bar of a float output, with nothing allowed for what is computed because of a constant that stands beside it.

    In rows with fills the scale is that of the rest of the row, or of the tensor where that is larger: of a row that is
    nearly full of them too little may be left.

    Args:
        perturbed: as for `mismatch`; asked for only where something looks like a fill.
        tolerance: as for `bars`.
    """
    if bar.allowed is None or not bar.exact or not bar.target.dim():
        return bar

    def moved() -> Tensor | None:
        found = perturbed()
        return _real(found) if found is not None else None

    found = fills(_real(bar.eager), bar.target, moved)
    if found is None:
        return bar
    marked = replace(bar, filled=found)
    if tolerance:
        return marked  # as much as the task says, wherever it stands
    size = bar.target.abs()
    rest = size.nan_to_num(nan=0.0, posinf=0.0).masked_fill(found, 0.0)
    left = (~found).sum(-1, keepdim=True).clamp_min(1)
    scale = (rest.square().sum(-1, keepdim=True) / left).sqrt_()
    overall = float((rest.square().sum() / (~found).sum()).sqrt())
    scale = torch.minimum(_row_rms(size), scale.clamp_min(overall))
    allowed = torch.where(found, bar.allowed, (size + scale) * bar.tolerance)
    finer = _counting(replace(marked, allowed=allowed))
    return finer if finer.usable or not bar.usable else marked


def moved_to(bar: Bar, perturbed: Tensor) -> Tensor:
    """The fp64 reference on inputs moved by one ulp, where it stays what the dtype can hold; else `bar.target`.

    An ulp may lead out of where the reference is a number (the root of 1 - m): that says nothing of a candidate.
    """
    moved = _real(perturbed).double()
    return torch.where(moved.abs() <= torch.finfo(_real(bar.eager).dtype).max, moved, bar.target)


def _row_slack(bar: Bar, perturbed: Tensor | None) -> Tensor:
    """What conditioning explains, by row: zero where the reference hardly moves."""
    moved = (_real(bar.eager).double() - bar.target).abs_()
    if perturbed is not None:
        moved = torch.fmax(moved, (moved_to(bar, perturbed) - bar.target).abs_())
    moved = torch.nan_to_num(moved, nan=0.0, posinf=0.0)
    if bar.counted is not None:
        moved = torch.where(bar.counted, moved, 0.0)
    if not (moved.dim() and moved.numel()):
        return CONDITION_SLACK * moved
    slack = moved.amax(-1, keepdim=True)
    if bar.filled is not None:
        rest = moved.masked_fill(bar.filled, 0.0).amax()
        slack = torch.where(bar.filled, slack, torch.minimum(slack, rest))
    return CONDITION_SLACK * slack


def _wrong_integers(bar: Bar, actual: Tensor, selected_from: Sequence[Tensor]) -> Tensor | None:
    wrong = actual != bar.target
    if bar.counted is not None:
        wrong &= bar.counted
    if bar.output.index and bool(wrong.any()):
        # Beside the source that is known, any tensor of a fitting shape (a mask of two values) would excuse any choice.
        same = (
            bar.choice.same(actual, bar.target)
            if bar.choice is not None
            else same_selection(actual, bar.target, selected_from)
        )
        if same is not None:
            wrong &= ~same
    return wrong if bool(wrong.any()) else None


def _integer_mismatch(bar: Bar, actual: Tensor, selected_from: Sequence[Tensor]) -> Mismatch | None:
    wrong = _wrong_integers(bar, actual, selected_from)
    if wrong is None:
        return None
    at = int(wrong.flatten().to(torch.uint8).argmax())
    expected, got = bar.target.flatten()[at].item(), actual.flatten()[at].item()
    counted = int(bar.counted.sum()) if bar.counted is not None else wrong.numel()
    return Mismatch(
        bar.output.name, unravel(at, tuple(wrong.shape)), expected, got, 0.0, int(wrong.sum()), counted, None
    )


def _constant_ratio(got: Tensor, bar: Bar) -> float | None:
    """got / expected where it is the same to 1 % for nearly all elements, and not 1."""
    if got.numel() < 8:
        return None
    large = bar.target.abs() > bar.target.abs().mean() * 0.1
    ratios = (got / bar.target)[large & torch.isfinite(got)]
    if ratios.numel() < 8:
        return None
    middle = float(ratios.median())
    steady = float(((ratios - middle).abs() <= 0.01 * abs(middle)).double().mean())
    return middle if steady > 0.99 and abs(middle - 1) > 1e-3 and middle != 0 else None


def _real(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def unravel(at: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The index of the element that is number `at` in row-major order."""
    index: list[int] = []
    for extent in reversed(shape):
        index.append(at % extent)
        at //= extent
    return tuple(reversed(index))


def _plain(value: float | int | bool) -> float | int | bool | str:
    """JSON has no NaN and no infinity."""
    if isinstance(value, float) and value - value != 0:
        return str(value)
    return value


def _short(value: float | int | bool) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
