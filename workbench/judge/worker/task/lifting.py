"""A module in double precision, explicit downcasts inside it included.

`x.float()` or `torch.zeros(n, dtype=torch.float32)` inside a module would round the exact reference to single
precision; a function mode turns them into double. Whether the result is the same function is not believed but
tried against eager (`reference`).
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

LIFTED = {
    torch.float32: torch.float64,
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.complex64: torch.complex128,
}
_DOWNCASTS = frozenset({torch.Tensor.float, torch.Tensor.half, torch.Tensor.bfloat16})
_TYPES: dict[Any, Any] = {
    f"torch.{name}Tensor": "torch.DoubleTensor" for name in ("Float", "Half", "BFloat16")
}
_TYPES |= {kind: torch.DoubleTensor for kind in (torch.FloatTensor, torch.HalfTensor, torch.BFloat16Tensor)}


class Lift(TorchFunctionMode):
    """Every floating dtype that is asked for by name, and the default one, becomes double.

    torch.set_default_dtype would do for the default, but it holds for the whole process, and the judge's other
    threads compare tensors meanwhile.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _DOWNCASTS:
            return args[0].to(torch.float64)
        kwargs = {key: _lifted(value) for key, value in (kwargs or {}).items()}
        if any(isinstance(value, torch.dtype | str | type) for value in args):
            args = tuple(_lifted(value) for value in args)
        refused = False
        result = None
        try:
            result = func(*args, **kwargs)
        except RuntimeError as error:
            # A tensor that is no input, parameter or buffer (a global of the task's module) is still single.
            if "dtype" not in str(error):
                raise
            refused = True
        return self._again(func, args, kwargs, result) if refused or _is_single(result) else result

    def _again(self, func: Any, args: Any, kwargs: dict[str, Any], result: Any) -> Any:
        """A call that gave single precision, or refused mixed precision, with its operands or its dtype lifted."""
        if result is not None and any(result is a for a in args):
            return result  # written in place: its dtype is its own
        operands = [a for a in (*args, *kwargs.values()) if isinstance(a, torch.Tensor)]
        if operands:
            for integers in (False, True):  # mostly positions; two that are divided give the default dtype
                given = tuple(_lifted_operand(a, integers) for a in args)
                named = {key: _lifted_operand(value, integers) for key, value in kwargs.items()}
                if not integers and all(_lifted_operand(a, False) is a for a in operands):
                    continue
                result = func(*given, **named)
                if not _is_single(result):
                    break
            return result
        if func is torch.Tensor.__new__ or "out" in kwargs:
            return result
        try:
            return func(*args, **{**kwargs, "dtype": torch.float64})
        except TypeError:
            return result.double() if isinstance(result, torch.Tensor) else result


def _lifted(value: Any) -> Any:
    if isinstance(value, torch.dtype):
        return LIFTED.get(value, value)
    return _TYPES.get(value, value) if isinstance(value, str | type) else value


def _is_single(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype == torch.float32


def _lifted_operand(value: Any, integers: bool) -> Any:
    if not isinstance(value, torch.Tensor) or value.dtype == torch.bool or value.is_complex():
        return value
    return value.double() if value.is_floating_point() or integers else value


@contextlib.contextmanager
def lifted() -> Iterator[None]:
    """Every downcast lifted, autocast off."""
    with Lift(), torch.autocast("cpu", enabled=False):
        yield


def lift_tensor(tensor: torch.Tensor) -> torch.Tensor:
    """A copy in double precision; integers and booleans stay what they are."""
    dtype = LIFTED.get(tensor.dtype)
    if dtype is None and tensor.is_floating_point():
        dtype = torch.float64
    return tensor.to(dtype, copy=True) if dtype is not None else tensor.clone()


def lift_module(model: nn.Module) -> nn.Module:
    """A deep copy in double precision, tensors that are plain attributes included.

    Raises:
        whatever deepcopy raises for a module that cannot be copied.
    """
    lifted_model = copy.deepcopy(model)
    known: dict[int, torch.Tensor] = {}
    for module in lifted_model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                # In place, so that tied parameters stay tied.
                parameter.data = _once(parameter.data, known, parameter)
                module._parameters[name] = parameter
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = _once(buffer, known, buffer)
        for name, value in list(vars(module).items()):
            if name.startswith("_") or isinstance(value, nn.Module):
                continue
            if isinstance(value, torch.dtype):
                setattr(module, name, LIFTED.get(value, value))
            elif isinstance(value, torch.Tensor | list | tuple | dict):
                module.__dict__[name] = _lift_nested(value, known)
    return lifted_model


def _once(tensor: torch.Tensor, known: dict[int, torch.Tensor], key: torch.Tensor) -> torch.Tensor:
    if id(key) not in known:
        known[id(key)] = lift_tensor(tensor)
    return known[id(key)]


def _lift_nested(value: Any, known: dict[int, torch.Tensor]) -> Any:
    if isinstance(value, nn.Parameter):
        return value
    if isinstance(value, torch.Tensor):
        return _once(value, known, value)
    if type(value) in (list, tuple):
        return type(value)(_lift_nested(v, known) for v in value)
    if type(value) is dict:
        return {k: _lift_nested(v, known) for k, v in value.items()}
    return value
