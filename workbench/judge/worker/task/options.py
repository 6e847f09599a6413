"""The optional names of a task, read and checked: a wrong one is said at load, not ignored."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable
from typing import Any, Literal

import torch

from workbench.core.errors import TaskError

_AUTOCAST = {
    "bf16": torch.bfloat16,
    "bfloat16": torch.bfloat16,
    "fp16": torch.float16,
    "float16": torch.float16,
}


@dataclasses.dataclass(frozen=True)
class Options:
    """What a task asks for beyond KernelBench's form."""

    sizes: Any = None
    weights: dict[str, float] = dataclasses.field(default_factory=dict)
    tolerance: dict[str, float] = dataclasses.field(default_factory=dict)
    """"rtol" and "atol"; empty takes the judge's own."""
    own_kernels_only: bool = False
    backward: bool = False
    """Candidates must compute the gradients too."""
    mode: Literal["eval", "train"] | None = None
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    autocast: torch.dtype | None = None
    baselines: dict[str, Callable] = dataclasses.field(default_factory=dict)
    check: Callable | None = None
    input_distributions: Callable | None = None


def read_options(module: types.ModuleType, name: str) -> Options:
    """The optional names of a task's module.

    Raises:
        TaskError: one of them has a value that it cannot have.
    """
    given = vars(module)

    def wrong(key: str, do: str) -> TaskError:
        return TaskError(f"`{key}` of {name} is {given[key]!r:.80}.", do=do)

    def function(key: str) -> Callable | None:
        value = given.get(key)
        if value is not None and not callable(value):
            raise wrong(key, "Make it a function.")
        return value

    own = given.get("own_kernels_only", False)
    if not isinstance(own, bool):
        raise wrong("own_kernels_only", "Set it to True or False.")
    backward = given.get("backward", False)
    if not isinstance(backward, bool):
        # A function of that name is the task's own.
        backward = False
    weights = given.get("weights", {})
    # `weights` may well be a task's own tensor; only a dict of numbers by size is ours.
    if not isinstance(weights, dict) or not all(
        isinstance(k, str) and type(v) in (int, float) for k, v in weights.items()
    ):
        weights = {}
    baselines = given.get("baselines", {})
    if not isinstance(baselines, dict) or not all(callable(f) for f in baselines.values()):
        raise wrong("baselines", 'Write baselines = {"name": function}.')
    mode, precision = given.get("mode"), given.get("precision")
    return Options(
        sizes=given.get("sizes") if isinstance(given.get("sizes"), dict) else None,
        weights={k: float(v) for k, v in weights.items()},
        tolerance=_tolerance(given.get("tolerance"), wrong),
        own_kernels_only=own,
        backward=backward,
        # Modules have globals called `mode` too ("bilinear"): only these two words are ours.
        mode=mode if mode in ("eval", "train") else None,
        precision=precision if precision in ("fp32", "tf32", "bf16") else "fp32",
        autocast=_autocast(given.get("autocast"), wrong),
        baselines=dict(baselines),
        check=function("check"),
        input_distributions=function("input_distributions"),
    )


def _tolerance(value: Any, wrong: Callable[[str, str], TaskError]) -> dict[str, float]:
    if value is None:
        return {}
    do = 'Write tolerance = 1e-3, (rtol, atol) or {"rtol": 1e-3, "atol": 1e-3}.'
    if type(value) in (int, float):
        value = {"rtol": value, "atol": value}
    elif isinstance(value, tuple | list) and len(value) == 2:
        value = dict(zip(("rtol", "atol"), value, strict=True))
    if not isinstance(value, dict) or not value or set(value) - {"rtol", "atol"}:
        raise wrong("tolerance", do)
    if not all(type(v) in (int, float) and 0 <= v < 1e6 for v in value.values()):
        raise wrong("tolerance", do)
    return {k: float(v) for k, v in value.items()}


def _autocast(value: Any, wrong: Callable[[str, str], TaskError]) -> torch.dtype | None:
    if value is None or value is False:
        return None
    if value is True:
        return torch.bfloat16
    if value in (torch.bfloat16, torch.float16):
        return value
    if isinstance(value, str) and value in _AUTOCAST:
        return _AUTOCAST[value]
    raise wrong("autocast", 'Set it to "bf16" or "fp16".')
