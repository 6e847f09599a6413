"""Which outputs hold positions (argmax, topk, sort), and what they were chosen from: ties make several answers right."""

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


class Positions(TorchDispatchMode):
    """Remembers integer tensors that are positions, and what is only rearranged from them.

    Attributes:
        positions: by id; kept alive, so that no other tensor gets the id.
    """

    def __init__(self, *, keep: bool = False) -> None:
        """
        Args:
            keep: copy what is chosen from, for `chosen_from`.
        """
        super().__init__()
        self.positions: dict[int, torch.Tensor] = {}
        self._sources: dict[int, tuple[torch.Tensor, ...]] = {}
        self._keep = keep

    def chosen_from(self, output: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The tensors that the positions in `output` were found in, as they were then; () where there is none."""
        found = self.positions.get(id(output))
        if found is None:
            # Autograd may hand out another object for the same view.
            found = next((p for p in self.positions.values() if _place(p) == _place(output)), None)
        return self._sources.get(id(found), ())

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # see estimate.Work

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        # Before the call: what is chosen from may be what is written.
        before = [t.detach().clone() for t in _tensors(args)[:1]] if self._keep and name in _POSITIONS else []
        out = func(*args, **(kwargs or {}))
        carries = getattr(func, "is_view", False) or name in _CARRIES
        carried = [a for a in _tensors(args) if id(a) in self.positions] if carries else []
        if name in _POSITIONS or carried:
            sources = (*before, *(s for a in carried for s in self._sources.get(id(a), ())))
            for result in _found(name, _tensors(_flat(out))):
                if not result.is_floating_point() and result.dtype != torch.bool:
                    self.positions[id(result)] = result
                    self._sources[id(result)] = sources
        return out


def _place(tensor: torch.Tensor) -> tuple[Any, ...]:
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype


def _found(name: str, results: list[torch.Tensor]) -> list[torch.Tensor]:
    """Which results are positions: of two the second, beside the values that stand there; `max` alone gives a value."""
    if name in _POSITIONS and len(results) > 1:
        return results[1:]
    return [] if name in ("max", "min") else results


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
    tracker = Positions()
    values = [v.value.clone() if isinstance(v.value, torch.Tensor) else v.value for v in instance.inputs]
    try:
        with tracker:
            raw = instance.call(instance.model, iter(values))
    except Exception:
        return set()
    tensors = [leaf.value for leaf in output_leaves(raw) if isinstance(leaf.value, torch.Tensor)]
    return {n for n, t in enumerate(tensors) if id(t) in tracker.positions}
