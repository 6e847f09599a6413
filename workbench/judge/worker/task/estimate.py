"""How much work a reference does, counted while it runs: elements written, operations, bytes that must move.

The counts come from a dispatch mode, so they are the same for real tensors and for meta tensors, which allocate
nothing. The operations are torch's own (`torch.utils.flop_counter`): matrix products, convolutions, attention.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from workbench.core.task import Output, Parameter
from workbench.judge.worker.task.limits import TooLarge


class Work(TorchDispatchMode):
    """Counts while it is active.

    Attributes:
        elements: elements of all results that were written (views are free).
        flops: operations, a multiply-add being two.
        operations: calls of ATen's functions.
    """

    def __init__(self, *, limit_elements: int | None = None, limit_operations: int | None = None) -> None:
        super().__init__()
        self.elements = 0
        self.flops = 0
        self.operations = 0
        self._most_operations = limit_operations
        self._limit = limit_elements

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch's default wraps the method in a decorator that imports torch._dynamo: 1.3 s

    @property
    def total(self) -> int:
        """Elements plus multiply-adds: what a simulated kernel has to go through, roughly."""
        return self.elements + self.flops // 2

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.operations += 1
        if self._most_operations is not None and self.operations > self._most_operations:
            raise TooLarge("it calls too many operations to be tried without data")
        if self._limit is not None and args and isinstance(args[0], list | torch.Size):
            self._refuse(args[0])  # a factory's size, seen before it allocates
        out = func(*args, **kwargs)
        if not getattr(func, "is_view", False):
            for result in out if isinstance(out, tuple | list) else (out,):
                if isinstance(result, torch.Tensor):
                    self.elements += result.numel()
        count = _flop_registry().get(getattr(func, "_overloadpacket", None))
        if count is not None:
            self.flops += int(count(*args, **kwargs, out_val=out))
        return out

    def _refuse(self, size: Iterable[Any]) -> None:
        extents = list(size)
        if all(type(n) is int for n in extents) and math.prod(extents) > (self._limit or 0):
            raise TooLarge(f"a tensor of shape {tuple(extents)}")


def _flop_registry() -> dict[Any, Any]:
    from torch.utils.flop_counter import flop_registry

    return flop_registry


def bytes_moved(parameters: Iterable[Parameter], outputs: Iterable[Output]) -> int:
    """Each input, parameter and buffer read once, each output and each mutable tensor written once, bytes."""
    tensors = [(p.tensor.nbytes, p.mutable) for p in parameters if p.tensor is not None]
    moved = sum(nbytes * (2 if mutable else 1) for nbytes, mutable in tensors)
    return moved + sum(o.tensor.nbytes for o in outputs if o.input is None)
