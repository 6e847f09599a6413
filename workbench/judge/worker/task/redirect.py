"""Runs a task on another device than the one it asks for.

On the host target a task that says `.cuda()`, `device="cuda"` or `torch.device("cuda")` runs on the CPU instead.
The same means, with "meta", finds the shapes of a size that is far too large to be allocated here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode

from workbench.judge.worker.task.recurrent import is_recurrent, recurrent

_DRAWS = frozenset({torch.rand, torch.randn})
_TRANSFERS = frozenset({torch.Tensor.cuda, torch.Tensor.cpu})


class Redirect(TorchFunctionMode):
    """Sends whatever names a CUDA device (with "meta": any device) to `device`.

    Attributes:
        used: whether anything was redirected.
    """

    def __init__(self, device: str = "cpu") -> None:
        super().__init__()
        self.device = torch.device(device)
        self.used = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _DRAWS and self.device.type == "meta":
            # Without data there is nothing to draw; torch's own way imports torch._dynamo: two seconds.
            func, kwargs = torch.empty, {k: v for k, v in (kwargs or {}).items() if k != "generator"}
        if func in _TRANSFERS:
            self.used |= func is torch.Tensor.cuda
            return args[0].to(self.device)
        if self.device.type == "meta" and is_recurrent(func, args):
            return recurrent(func, args)
        kwargs = {key: self._moved(value) for key, value in (kwargs or {}).items()}
        if func is torch.Tensor.type and args[1:] and isinstance(args[1], str) and "torch.cuda." in args[1]:
            self.used = True
            args = (args[0], args[1].replace("torch.cuda.", "torch."), *args[2:])
        elif any(isinstance(value, str | torch.device) for value in args):
            args = tuple(self._moved(value) for value in args)
        return func(*args, **kwargs)

    def _moved(self, value: Any) -> Any:
        if isinstance(value, str):
            wanted = value.split(":")[0]
            if wanted != "cuda" and not (self.device.type == "meta" and wanted == "cpu"):
                return value
        elif not isinstance(value, torch.device) or (value.type != "cuda" and self.device.type != "meta"):
            return value
        self.used |= str(value).startswith("cuda")
        return self.device


@contextlib.contextmanager
def redirected(mode: Redirect) -> Iterator[Redirect]:
    """Everything inside runs on `mode.device`; functions of torch.cuda that only wait or select do nothing."""

    def idle() -> Callable[..., None]:
        # A function of its own for each name: torch._dynamo refuses one object under several names.
        def note(*_: Any, **__: Any) -> None:
            mode.used = True

        return note

    with contextlib.ExitStack() as stack:
        for name in ("synchronize", "set_device", "empty_cache", "reset_peak_memory_stats"):
            stack.enter_context(mock.patch.object(torch.cuda, name, idle()))
        stack.enter_context(mock.patch.object(torch, "set_default_device", idle()))
        stack.enter_context(
            mock.patch.object(torch.amp.autocast_mode.autocast, "__init__", _autocast_on_cpu(mode))
        )
        stack.enter_context(mode)
        if mode.device.type == "meta":
            stack.enter_context(torch.device("meta"))
        yield mode


_AUTOCAST_INIT = torch.amp.autocast_mode.autocast.__init__


def _autocast_on_cpu(mode: Redirect) -> Callable[..., None]:
    """torch.autocast("cuda") switches itself off without a GPU; the CPU's autocast computes much the same."""

    def init(
        self: Any,
        device_type: str,
        dtype: torch.dtype | None = None,
        enabled: bool = True,
        cache_enabled: Any = None,
    ) -> None:
        if device_type == "cuda":
            mode.used = True
            device_type, dtype = "cpu", dtype or torch.float16
        _AUTOCAST_INIT(self, device_type, dtype, enabled, cache_enabled)

    return init


def wants_cuda(error: BaseException) -> bool:
    """Whether an exception came of asking for a CUDA device that is not there."""
    text = str(error)
    return isinstance(error, RuntimeError | AssertionError | ValueError) and (
        "CUDA" in text or "cuda" in text or "NVIDIA" in text
    )
