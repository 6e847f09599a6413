"""Which outputs hold positions (argmax, topk, sort): ties make several answers right."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from workbench.judge.worker.task.program import Instance
from workbench.judge.worker.task.signature import output_leaves

_POSITIONS = frozenset(
    [
        "argmax",
        "argmin",
        "argsort",
        "topk",
        "sort",
        "max",
        "min",
        "kthvalue",
        "median",
        "nanmedian",
        "mode",
        "cummax",
        "cummin",
        "_cummax_helper",
        "max_pool2d_with_indices",
        "max_pool3d_with_indices",
        "adaptive_max_pool2d",
        "adaptive_max_pool3d",
        "fractional_max_pool2d",
        "fractional_max_pool3d",
        "aminmax",
    ]
)
_CARRIES = frozenset(
    [
        "clone",
        "_to_copy",
        "cat",
        "stack",
        "index_select",
        "gather",
        "copy_",
        "squeeze",
        "unsqueeze",
        "flip",
        "roll",
    ]
)


class _Tracker(TorchDispatchMode):
    """Remembers integer tensors that are positions, and what is only rearranged from them."""

    def __init__(self) -> None:
        super().__init__()
        self.positions: dict[int, torch.Tensor] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # see estimate.Work

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func._schema.name.removeprefix("aten::")
        carries = getattr(func, "is_view", False) or name in _CARRIES
        if name in _POSITIONS or (carries and any(id(a) in self.positions for a in _tensors(args))):
            for result in _tensors(out if isinstance(out, tuple | list) else [out]):
                if not result.is_floating_point() and result.dtype != torch.bool:
                    if name in ("max", "min") and len(_tensors(args)) and len(_flat(out)) < 2:
                        continue  # the largest value of an integer tensor, not its place
                    self.positions[id(result)] = result
        return out


def _flat(out: Any) -> list[Any]:
    return list(out) if isinstance(out, tuple | list) else [out]


def _tensors(values: Any) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, tuple | list):
            found += [v for v in value if isinstance(v, torch.Tensor)]
    return found


def index_outputs(instance: Instance) -> set[int]:
    """Numbers of the outputs that hold positions."""
    tracker = _Tracker()
    values = [v.value.clone() if isinstance(v.value, torch.Tensor) else v.value for v in instance.inputs]
    try:
        with tracker:
            raw = instance.call(instance.model, iter(values))
    except Exception:
        return set()
    tensors = [leaf.value for leaf in output_leaves(raw) if isinstance(leaf.value, torch.Tensor)]
    return {n for n, t in enumerate(tensors) if id(t) in tracker.positions}
