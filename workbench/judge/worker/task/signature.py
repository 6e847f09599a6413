"""Names for everything that goes into and comes out of a module: pytrees, state, plain attributes.

A candidate's plan matches its parameters by these names (docs/dialect.md). Containers are flattened here and not
by torch.utils._pytree, which knows dataclasses only when they were registered.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import re
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from workbench.core.task import Parameter, Scalar
from workbench.core.tensors import TensorSpec, contiguous

Rebuild = Callable[[Iterator[Any]], Any]
_MAX_TUPLE = 8
"""Longest tuple of integers among a module's attributes whose elements get names (a kernel size, a stride)."""


class Leaf(NamedTuple):
    """One leaf of a pytree: its key ("batch.mask") and its value."""

    key: str
    value: Any


class StateTensor(NamedTuple):
    """A tensor that a module holds."""

    role: str
    """"parameter" or "buffer"."""
    key: str
    tensor: torch.Tensor

    @property
    def path(self) -> str:
        return f"{self.role}:{self.key}"


def flatten(value: Any, key: str = "") -> tuple[list[Leaf], Rebuild]:
    """The leaves of nested lists, tuples, dicts and dataclasses in order, and what puts new leaves in their places."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in dataclasses.fields(value)]
        return _flatten_parts(key, names, [getattr(value, n) for n in names], _dataclass_maker(value, names))
    if isinstance(value, Mapping):
        keys = list(value)
        return _flatten_parts(key, keys, [value[k] for k in keys], _mapping_maker(value, keys))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return _flatten_parts(key, list(value._fields), list(value), lambda parts: type(value)(*parts))
    if isinstance(value, list | tuple):
        make = type(value) if type(value) in (list, tuple, torch.Size) else tuple
        return _flatten_parts(key, list(range(len(value))), list(value), make)
    return [Leaf(key, value)], lambda leaves: next(leaves)


def _flatten_parts(
    key: str, names: list[Any], parts: list[Any], make: Callable[[list[Any]], Any]
) -> tuple[list[Leaf], Rebuild]:
    leaves: list[Leaf] = []
    rebuilds: list[Rebuild] = []
    for name, part in zip(names, parts, strict=True):
        inner, rebuild = flatten(part, f"{key}.{name}" if key else str(name))
        leaves += inner
        rebuilds.append(rebuild)
    return leaves, lambda values: make([rebuild(values) for rebuild in rebuilds])


def _dataclass_maker(original: Any, names: list[str]) -> Callable[[list[Any]], Any]:
    def make(parts: list[Any]) -> Any:
        result = copy.copy(original)
        for name, part in zip(names, parts, strict=True):
            object.__setattr__(result, name, part)
        return result

    return make


def _mapping_maker(original: Mapping[Any, Any], keys: list[Any]) -> Callable[[list[Any]], Any]:
    def make(parts: list[Any]) -> Any:
        pairs = dict(zip(keys, parts, strict=True))
        if type(original) is dict:
            return pairs
        result = copy.copy(original)
        for name, part in pairs.items():
            result[name] = part  # type: ignore[index]  # a copy of a mapping that can be set, or it raises
        return result

    return make


def identifier(key: str) -> str:
    """A key as a Python identifier: "layers.0.weight" is "layers_0_weight"."""
    name = re.sub(r"\W", "_", key)
    return name if name and not name[0].isdigit() else f"_{name}"


def bind_inputs(forward: Callable, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Leaf], Rebuild]:
    """Name the inputs as `forward` calls them; the rebuild gives back (args, kwargs)."""
    names = _positional_names(forward, len(args))
    leaves: list[Leaf] = []
    rebuilds: list[Rebuild] = []
    for name, value in [*zip(names, args, strict=True), *kwargs.items()]:
        inner, rebuild = flatten(value, name)
        leaves += inner
        rebuilds.append(rebuild)
    count = len(args)

    def rebuild_all(values: Iterator[Any]) -> tuple[list[Any], dict[str, Any]]:
        parts = [rebuild(values) for rebuild in rebuilds]
        return parts[:count], dict(zip(kwargs, parts[count:], strict=True))

    return leaves, rebuild_all


def _positional_names(forward: Callable, count: int) -> list[str]:
    names: list[str] = []
    rest = "args"
    try:
        parameters = list(inspect.signature(forward).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    for parameter in parameters:
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            names.append(parameter.name)
        elif parameter.kind is parameter.VAR_POSITIONAL:
            rest = parameter.name
    return [names[n] if n < len(names) else f"{rest}.{n - len(names)}" for n in range(count)]


def accepts(function: Callable) -> set[str]:
    """Names of the parameters that `function` takes by keyword."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    try:
        return {n for n, p in inspect.signature(function).parameters.items() if p.kind in kinds}
    except (TypeError, ValueError):
        return set()


def binds(function: Any, args: list[Any]) -> bool:
    """Whether `function(*args)` is at least the right number of arguments."""
    try:
        inspect.signature(function).bind(*args)
    except (TypeError, ValueError):
        return False
    return True


def is_scalar(value: Any) -> bool:
    return value is None or type(value) in (int, float, bool, str)


def module_tensors(model: nn.Module) -> list[StateTensor]:
    """Parameters, buffers (also those not in the state_dict), then tensors that are plain attributes.

    A tied tensor comes once for each of its keys, as in the state_dict.
    """
    found = [StateTensor("parameter", k, p) for k, p in model.named_parameters(remove_duplicate=False)]
    found += [StateTensor("buffer", k, b) for k, b in model.named_buffers(remove_duplicate=False)]
    known = {id(state.tensor) for state in found}
    for prefix, module in model.named_modules():
        for name, value in vars(module).items():
            if name.startswith("_") or isinstance(value, nn.Module):
                continue
            for key, leaf in _tensors_in(value, f"{prefix}.{name}" if prefix else name):
                if id(leaf) not in known:
                    known.add(id(leaf))
                    found.append(StateTensor("buffer", key, leaf))
    return found


def _tensors_in(value: Any, key: str, depth: int = 0) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield key, value
    elif isinstance(value, list | tuple) and depth < 2:
        for index, element in enumerate(value):
            yield from _tensors_in(element, f"{key}.{index}", depth + 1)
    elif isinstance(value, dict) and depth < 2:
        for name, element in value.items():
            yield from _tensors_in(element, f"{key}.{name}", depth + 1)


def module_scalars(model: nn.Module) -> list[tuple[str, Scalar]]:
    """Plain scalar attributes of a module and its parts, of their config objects, and short tuples of integers."""
    found: list[tuple[str, Scalar]] = []
    for prefix, module in model.named_modules():
        for name, value in vars(module).items():
            if name.startswith("_") or name == "training":
                continue
            key = f"{prefix}.{name}" if prefix else name
            found += _scalars_of(key, value)
            if _is_config(value):
                fields = vars(value) if not isinstance(value, dict) else value
                for field, inner in fields.items():
                    if isinstance(field, str) and not field.startswith("_"):
                        found += _scalars_of(f"{key}.{field}", inner)
    return found


def _scalars_of(key: str, value: Any) -> list[tuple[str, Scalar]]:
    if is_scalar(value) and value is not None:
        return [(key, value)]
    if (
        isinstance(value, tuple | list)
        and 0 < len(value) <= _MAX_TUPLE
        and all(type(v) is int for v in value)
    ):
        return [(f"{key}.{index}", element) for index, element in enumerate(value)]
    return []


def _is_config(value: Any) -> bool:
    if isinstance(value, dict):
        return True
    if isinstance(value, type | nn.Module | torch.Tensor | types.ModuleType) or callable(value):
        return False
    return hasattr(value, "__dict__") and not type(value).__module__.startswith("torch")


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def spec_of(tensor: torch.Tensor) -> TensorSpec:
    """As candidates get it: contiguous, whatever the task's own strides."""
    return contiguous(tuple(tensor.shape), dtype_name(tensor.dtype))


def parameters_of(
    inputs: list[Leaf], state: list[StateTensor], scalars: list[tuple[str, Scalar]]
) -> list[Parameter]:
    """The signature: inputs, then parameters and buffers, then attributes."""
    found: list[Parameter] = []
    for key, value in inputs:
        if isinstance(value, torch.Tensor):
            found.append(Parameter(identifier(key), key, "input", spec_of(value)))
        elif is_scalar(value):
            found.append(Parameter(identifier(key), key, "input", None, value))
    for role, key, tensor in state:
        kind: Any = role
        found.append(Parameter(identifier(key), key, kind, spec_of(tensor)))
    found += [Parameter(identifier(key), key, "attribute", None, value) for key, value in scalars]
    return found


def output_leaves(raw: Any) -> list[Leaf]:
    """The flattened outputs, named "out", "out.0" or "out.hidden"; None is left out."""
    leaves, _ = flatten(raw, "out")
    return [leaf for leaf in leaves if leaf.value is not None]
