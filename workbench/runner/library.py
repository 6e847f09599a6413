"""Library steps (`torch_op`): the one module of the runner that imports torch, in the process that holds a candidate.

The process is confined as any other; torch is imported before that, and sees only the call's buffers.
"""

from __future__ import annotations

import ctypes
from typing import Any

from workbench.dialect.ops import GATHERED
from workbench.runner.host.messages import LibraryCall, TensorView


def prepare() -> None:
    """Import torch and touch what it loads lazily, while files can still be read."""
    import torch

    torch.set_num_threads(1)
    a = torch.ones(8, 8)
    torch.ops.aten.mm(a, a)
    torch.ops.aten.addmm(a, a, a)
    torch.ops.aten.convolution(
        torch.ones(1, 1, 4, 4), torch.ones(1, 1, 3, 3), None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1
    )
    torch.ops.aten._softmax(a, 1, False)
    torch.ops.aten.sum(a.to(torch.bfloat16))
    torch.ops.aten.mm(a.to(torch.bfloat16), a.to(torch.bfloat16))


def _tensor(view: TensorView) -> Any:
    import torch

    dtype = getattr(torch, view.dtype)
    if view.nbytes == 0:
        return torch.empty(view.shape, dtype=dtype)
    # Of the buffer itself, not a copy: an operator must see what earlier steps wrote.
    memory = (ctypes.c_uint8 * view.nbytes).from_address(view.address)
    return torch.frombuffer(memory, dtype=dtype).view(view.shape)


def run(step: LibraryCall) -> str:
    """Run one operator and copy its results into the outputs; the reason where it failed, else ""."""
    import torch

    try:
        namespace, name = step.op.split(".", 1)
        operator = getattr(getattr(torch.ops, namespace), name.split(".")[0])
        if "." in name:
            operator = getattr(operator, name.split(".", 1)[1])
        arguments = [_argument(a) for a in step.args]
        if step.op in GATHERED:
            tensors = sum(isinstance(a, TensorView) for a in step.args)
            arguments = [arguments[:tensors], *arguments[tensors:]]
        with torch.no_grad():
            results = operator(*arguments, **{k: _keyword(k, v) for k, v in step.kwargs.items()})
        if isinstance(results, torch.Tensor):
            results = (results,)
        results = [r for r in results if isinstance(r, torch.Tensor)]
        if len(results) < len(step.outputs):
            return f"{step.op} gave {len(results)} tensors, the plan expects {len(step.outputs)}"
        for result, output in zip(results, step.outputs, strict=False):
            if tuple(result.shape) != output.shape or str(result.dtype) != f"torch.{output.dtype}":
                return f"{step.op} gave {result.dtype}{list(result.shape)}, the plan expects {output.dtype}{list(output.shape)}"
            _tensor(output).copy_(result)
    except Exception as error:  # whatever an operator raises is the plan's failure, in its words
        return f"{step.op}: {type(error).__name__}: {error}"
    return ""


def _argument(value: Any) -> Any:
    if isinstance(value, TensorView):
        return _tensor(value)
    if isinstance(value, tuple):
        return list(value)
    return value


def _keyword(name: str, value: Any) -> Any:
    import torch

    # The plan names a dtype by its full name without the prefix ("float32").
    return getattr(torch, value) if name == "dtype" and isinstance(value, str) else _argument(value)
