"""How one ATen operation is written: as `F.linear(x, w)` or `a + b` where that is the very operation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**", "gt": ">", "lt": "<", "ge": ">="} | {
    "le": "<=",
    "eq": "==",
    "ne": "!=",
    "bitwise_and": "&",
    "bitwise_or": "|",
    "__and__": "&",
    "__or__": "|",
}
_METHODS = frozenset(
    [
        "view",
        "reshape",
        "transpose",
        "permute",
        "unsqueeze",
        "squeeze",
        "expand",
        "contiguous",
        "flatten",
        "unflatten",
        "to",
        "mean",
        "sum",
        "amax",
        "amin",
        "masked_fill",
        "clone",
        "chunk",
        "split",
        "repeat",
        "t",
        "expand_as",
        "type_as",
        "select",
        "narrow",
        "float",
        "half",
        "double",
        "abs",
        "exp",
        "log",
        "sqrt",
        "rsqrt",
        "clamp",
        "clamp_min",
        "clamp_max",
        "argmax",
        "argmin",
        "topk",
        "sort",
        "cumsum",
        "cumprod",
        "norm",
        "var",
        "std",
        "max",
        "min",
        "prod",
    ]
)
_FUNCTIONAL = frozenset(
    [
        "linear",
        "relu",
        "silu",
        "gelu",
        "elu",
        "selu",
        "celu",
        "leaky_relu",
        "hardtanh",
        "hardsigmoid",
        "hardswish",
        "mish",
        "softplus",
        "softsign",
        "relu6",
        "logsigmoid",
        "max_pool1d",
        "max_pool2d",
        "max_pool3d",
        "avg_pool1d",
        "avg_pool2d",
        "avg_pool3d",
        "adaptive_avg_pool1d",
        "adaptive_avg_pool2d",
        "adaptive_avg_pool3d",
        "adaptive_max_pool1d",
        "conv1d",
        "conv2d",
        "conv3d",
        "dropout",
        "pad",
        "one_hot",
        "pixel_shuffle",
        "scaled_dot_product_attention",
        "cosine_similarity",
        "glu",
        "prelu",
        "threshold",
        "hardshrink",
        "softshrink",
    ]
)


_DEFAULTS = frozenset(
    {
        ("pin_memory", "False"),
        ("layout", "torch.strided"),
        ("device", 'torch.device("cpu")'),
        ("dtype", "None"),
    }
)
"""Keywords that the graph spells out and a person would not."""
_REDUCTIONS = ("none", "mean", "sum")


class Step(NamedTuple):
    """One call of the graph: texts of its arguments, and the arguments themselves."""

    target: Any
    args: list[str]
    kwargs: dict[str, str]
    raw: tuple[Any, ...]

    @property
    def name(self) -> str:
        return str(self.target._schema.name).removeprefix("aten::")


def plain(step: Step) -> str:
    """As torch.ops: always right."""
    return f"torch.ops.{step.target}({_arguments(step.args, step.kwargs)})"


def spelled(step: Step) -> str:
    """As a person would write it; checked afterwards by running the text."""
    name = step.name
    step = step._replace(kwargs={k: v for k, v in step.kwargs.items() if (k, v) not in _DEFAULTS})
    if name in _SPECIAL and (text := _SPECIAL[name](step)) is not None:
        return text
    if name in _INFIX and len(step.args) == 2 and not step.kwargs:
        return f"{_operand(step.args[0])} {_INFIX[name]} {_operand(step.args[1])}"
    if not str(step.target._schema.name).startswith("aten::"):
        return plain(step)
    is_tensor = bool(step.args) and hasattr(step.raw[0], "op")
    if is_tensor and (name in _METHODS or (name.endswith("_") and hasattr(torch.Tensor, name))):
        return f"{_operand(step.args[0])}.{name}({_arguments(step.args[1:], step.kwargs)})"
    if name in _FUNCTIONAL:
        return f"F.{name}({_arguments(step.args, step.kwargs)})"
    if callable(getattr(torch, name, None)) and not name.startswith("_"):
        return f"torch.{name}({_arguments(step.args, step.kwargs)})"
    return plain(step)


def _arguments(args: list[str], kwargs: Mapping[str, str]) -> str:
    return ", ".join([*args, *(f"{k}={v}" for k, v in kwargs.items())])


def _operand(text: str) -> str:
    return f"({text})" if text.startswith("-") else text


def _layer_norm(step: Step) -> str:
    return f"F.layer_norm({_arguments(step.args[:5], step.kwargs)})"


def _group_norm(step: Step) -> str:
    return f"F.group_norm({_arguments(step.args[:5], step.kwargs)})"


def _batch_norm(step: Step) -> str | None:
    if len(step.args) < 8:
        return None
    x, weight, bias, mean, var, training, momentum, eps = step.args[:8]
    order = [x, mean, var, weight, bias]
    return f"F.batch_norm({', '.join(order)}, training={training}, momentum={momentum}, eps={eps})"


def _embedding(step: Step) -> str | None:
    if len(step.args) == 2 and not step.kwargs:
        return f"F.embedding({step.args[1]}, {step.args[0]})"
    return None


def _softmax(step: Step) -> str:
    return f"torch.{step.name}({_arguments(step.args, step.kwargs)})"


def _slice(step: Step) -> str | None:
    x = step.args[0]
    values = [*step.raw[1:]]
    if not all(v is None or isinstance(v, int) for v in values) or step.kwargs:
        return None
    axis = values[0] if values else 0
    if axis is None or axis < 0:
        return None
    start = str(values[1]) if len(values) > 1 and values[1] not in (None, 0) else ""
    stop = str(values[2]) if len(values) > 2 and values[2] is not None and values[2] < 2**62 else ""
    step_text = f":{values[3]}" if len(values) > 3 and values[3] != 1 else ""
    return f"{x}[{', '.join([':'] * axis + [f'{start}:{stop}{step_text}'])}]"


def _cat(step: Step) -> str:
    name = "cat" if step.name in ("cat", "concat") else step.name
    return f"torch.{name}({_arguments(step.args, step.kwargs)})"


def _neg(step: Step) -> str:
    return f"-{step.args[0]}"


def _dropout(step: Step) -> str | None:
    if len(step.args) != 3:
        return None
    return f"F.dropout({step.args[0]}, p={step.args[1]}, training={step.args[2]})"


def _to(step: Step) -> str | None:
    """One dtype, however it was asked for."""
    given = [*step.args[1:], *step.kwargs.values()]
    dtypes = [a for a in given if a.startswith("torch.") and not a.startswith("torch.device")]
    if len(dtypes) == 1 and all(a in (*dtypes, "None", "False", 'torch.device("cpu")') for a in given):
        return f"{_operand(step.args[0])}.to({dtypes[0]})"
    return None


def _loss(step: Step) -> str | None:
    """Losses of (input, target, reduction); other forms are left as they are."""
    if step.kwargs or len(step.args) not in (2, 3):
        return None
    reduction = _REDUCTIONS[int(step.args[2])] if len(step.args) == 3 and step.args[2] in "012" else "mean"
    ending = f', reduction="{reduction}"' if reduction != "mean" else ""
    return f"F.{step.name}({step.args[0]}, {step.args[1]}{ending})"


def _cross_entropy(step: Step) -> str | None:
    if step.kwargs:
        return None
    given = dict(zip(("weight", "reduction", "ignore_index", "label_smoothing"), step.args[2:], strict=False))
    if given.get("reduction", "1") not in ("0", "1", "2"):
        return None
    if "reduction" in given:
        given["reduction"] = f'"{_REDUCTIONS[int(given["reduction"])]}"'
    usual = {"weight": "None", "reduction": '"mean"', "ignore_index": "-100", "label_smoothing": "0.0"}
    rest = {k: v for k, v in given.items() if v != usual[k]}
    return f"F.cross_entropy({_arguments(step.args[:2], rest)})"


_SPECIAL: dict[str, Callable[[Step], str | None]] = {
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "batch_norm": _batch_norm,
    "embedding": _embedding,
    "softmax": _softmax,
    "log_softmax": _softmax,
    "slice": _slice,
    "cat": _cat,
    "stack": _cat,
    "neg": _neg,
    "dropout": _dropout,
    "to": _to,
    "cross_entropy_loss": _cross_entropy,
    "mse_loss": _loss,
    "l1_loss": _loss,
    "smooth_l1_loss": _loss,
    "huber_loss": _loss,
}


def value_text(value: Any, names: Mapping[Any, str]) -> str:
    """A literal or a name, as it stands in the text."""
    if hasattr(value, "op") and hasattr(value, "graph"):
        return names[value]
    if isinstance(value, list | tuple):
        return f"[{', '.join(value_text(v, names) for v in value)}]"
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if isinstance(value, torch.device):
        return f'torch.device("{value}")'
    return repr(value)
