"""The library steps that a plan may ask for: functional, deterministic, non-aliasing aten operators.

The shape of each result is worked out here, without torch, so that plan and memory are known before anything runs.
Whoever executes a step calls `torch.ops.aten.<name>(*args, **kwargs)` and copies the result into a contiguous tensor
of the shape stated here. Two conventions: the leading tensors of the operators in `GATHERED` form one list, and a
keyword `dtype` is a dtype's name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from workbench.core.tensors import FLOATING, TensorSpec, contiguous
from workbench.dialect.dtypes import canonical

GATHERED = frozenset({"aten.cat", "aten.stack"})
"""Operators whose leading tensors form one list."""


class OpError(Exception):
    """What is wrong with a `torch_op`, beginning with the operator's name."""


Rule = Callable[..., TensorSpec]
_RULES: dict[str, Rule] = {}


def names() -> tuple[str, ...]:
    """The allowlist, sorted: ("aten.abs", ...)."""
    return tuple(sorted(f"aten.{name}" for name in _RULES))


def infer(op: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
    """The results' specs.

    Args:
        op: "aten.mm"; "aten.mm.default" and "mm" mean the same.
        args: TensorSpec for a tensor; int, float, bool, str, None or a tuple of ints as they stand.

    Raises:
        OpError: not on the allowlist, or arguments that the operator does not take.
    """
    rule = _RULES.get(_short(op)) if isinstance(op, str) else None
    if rule is None or op != f"aten.{_short(op)}":
        raise OpError(f"{str(op)[:60]!r} is not on the allowlist: {', '.join(names())}.")
    values = list(args)
    if op in GATHERED:
        count = next((i for i, a in enumerate(values) if not isinstance(a, TensorSpec)), len(values))
        values = [values[:count], *values[count:]]
    try:
        return (rule(*values, **kwargs),)
    except OpError as error:
        raise OpError(f"{op}: {error}") from None
    except (TypeError, AttributeError, ValueError, IndexError) as error:
        text = str(error).replace("<lambda>()", op).replace(f"_{_short(op)}()", op)
        raise OpError(f"{op}: its arguments do not fit ({text[:200]}).") from None


def normal_name(op: str) -> str:
    """ "aten.mm" for "mm", "aten.mm" and "aten.mm.default"."""
    return f"aten.{_short(op)}"


def _short(op: str) -> str:
    return op.removeprefix("torch.ops.").removeprefix("aten.").removesuffix(".default")


def _rule(*names: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        _RULES.update(dict.fromkeys(names, rule))
        return rule

    return register


# --- shapes and dtypes ------------------------------------------------------------------------------------------


def _tensor(value: Any, what: str = "an argument") -> TensorSpec:
    if not isinstance(value, TensorSpec):
        raise OpError(f"{what} should be a tensor")
    return value


def _number(value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OpError(f"{value!r} should be a number")
    return value


def _axis(value: Any, rank: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -max(rank, 1) <= value < max(rank, 1):
        raise OpError(f"dim {value!r} is none of a tensor of {rank} dimensions")
    return value % max(rank, 1)


def _axes(value: Any, rank: int) -> tuple[int, ...]:
    if value is None or value == ():
        return tuple(range(rank))
    axes = tuple(_axis(v, rank) for v in (value if isinstance(value, tuple | list) else (value,)))
    if len(set(axes)) != len(axes):
        raise OpError(f"dim {list(axes)} names an axis twice")
    return axes


def _same_dtype(*specs: TensorSpec) -> str:
    if len({s.dtype for s in specs}) != 1:
        raise OpError(f"dtypes differ ({', '.join(map(str, specs))}); convert one by aten._to_copy")
    return specs[0].dtype


def _floating(spec: TensorSpec) -> str:
    if spec.dtype not in FLOATING:
        raise OpError(f"{spec} should be floating point")
    return spec.dtype


def _broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(s)) + s for s in shapes]
    result = []
    for extents in zip(*padded, strict=True):
        wide = {n for n in extents if n != 1}
        if len(wide) > 1:
            raise OpError(f"shapes {' and '.join(str(list(s)) for s in shapes)} do not broadcast")
        result.append(wide.pop() if wide else 1)
    return tuple(result)


def _mixed(a: Any, b: Any) -> tuple[tuple[int, ...], str]:
    """Shape and dtype of an elementwise operator on tensors, or a tensor and a number."""
    if isinstance(a, TensorSpec) and isinstance(b, TensorSpec):
        return _broadcast(a.shape, b.shape), _same_dtype(a, b)
    spec, scalar = (a, b) if isinstance(a, TensorSpec) else (_tensor(b, "one of the operands"), a)
    _number(scalar)
    if isinstance(scalar, float) and spec.dtype not in FLOATING:
        raise OpError(f"a float and {spec}: convert the tensor by aten._to_copy")
    if spec.dtype == "bool":
        raise OpError(f"a number and {spec}: convert the tensor by aten._to_copy")
    return spec.shape, spec.dtype


# --- elementwise ------------------------------------------------------------------------------------------------


@_rule(
    *(
        "exp",
        "exp2",
        "expm1",
        "log",
        "log2",
        "log1p",
        "sqrt",
        "rsqrt",
        "reciprocal",
        "sin",
        "cos",
        "tanh",
        "erf",
    ),
    *("sigmoid", "silu", "mish", "softplus", "hardswish", "hardsigmoid"),
)
def _floating_unary(x: TensorSpec) -> TensorSpec:
    return contiguous(_tensor(x).shape, _floating(x))


@_rule("abs", "neg", "relu", "clone", "floor", "ceil", "round", "sign")
def _unary(x: TensorSpec) -> TensorSpec:
    if _tensor(x).dtype == "bool":
        raise OpError(f"{x} should be numeric")
    return contiguous(x.shape, x.dtype)


@_rule("gelu")
def _gelu(x: TensorSpec, *, approximate: str = "none") -> TensorSpec:
    if approximate not in ("none", "tanh"):
        raise OpError('approximate should be "none" or "tanh"')
    return contiguous(_tensor(x).shape, _floating(x))


@_rule("leaky_relu", "elu")
def _sloped(x: TensorSpec, slope: float = 1.0) -> TensorSpec:
    _number(slope)
    return contiguous(_tensor(x).shape, _floating(x))


@_rule("add", "sub")
def _add(a: Any, b: Any, *, alpha: float = 1) -> TensorSpec:
    _number(alpha)
    return contiguous(*_mixed(_tensor(a, "the first operand"), b))


@_rule("mul")
def _mul(a: Any, b: Any) -> TensorSpec:
    return contiguous(*_mixed(_tensor(a, "the first operand"), b))


@_rule("div")
def _div(a: Any, b: Any) -> TensorSpec:
    _floating(_tensor(a, "the first operand"))
    return contiguous(*_mixed(a, b))


@_rule("pow")
def _pow(a: Any, b: Any) -> TensorSpec:
    _floating(_tensor(a, "the base"))
    return contiguous(*_mixed(a, b))


@_rule("maximum", "minimum")
def _extremum(a: TensorSpec, b: TensorSpec) -> TensorSpec:
    return contiguous(*_mixed(_tensor(a), _tensor(b)))


@_rule("eq", "ne", "lt", "le", "gt", "ge")
def _comparison(a: TensorSpec, b: Any) -> TensorSpec:
    return contiguous(_mixed(_tensor(a), b)[0], "bool")


@_rule("clamp")
def _clamp(x: TensorSpec, low: Any = None, high: Any = None, **named: Any) -> TensorSpec:
    if unknown := set(named) - {"min", "max"}:
        raise OpError(f"clamp takes no {', '.join(sorted(unknown))}")
    bounds = [b for b in (low, high, *named.values()) if b is not None]
    if not bounds:
        raise OpError("clamp needs a bound")
    for bound in bounds:
        _mixed(_tensor(x), _number(bound))
    return contiguous(x.shape, x.dtype)


@_rule("where")
def _where(condition: TensorSpec, a: TensorSpec, b: TensorSpec) -> TensorSpec:
    if _tensor(condition).dtype != "bool":
        raise OpError(f"the condition {condition} should be bool")
    return contiguous(_broadcast(condition.shape, _tensor(a).shape, _tensor(b).shape), _same_dtype(a, b))


@_rule("_to_copy")
def _to_copy(x: TensorSpec, *, dtype: str) -> TensorSpec:
    name = canonical(dtype)
    if name is None or name != dtype:
        raise OpError(f"dtype={dtype!r} is no dtype's full name")
    return contiguous(_tensor(x).shape, name)


# --- products ---------------------------------------------------------------------------------------------------


@_rule("mm")
def _mm(a: TensorSpec, b: TensorSpec) -> TensorSpec:
    (m, k), (k2, n) = _ranked(a, 2), _ranked(b, 2)
    _inner(a, b, k, k2)
    return contiguous((m, n), _same_dtype(a, b))


@_rule("bmm")
def _bmm(a: TensorSpec, b: TensorSpec) -> TensorSpec:
    (batch, m, k), (batch2, k2, n) = _ranked(a, 3), _ranked(b, 3)
    _inner(a, b, (batch, k), (batch2, k2))
    return contiguous((batch, m, n), _same_dtype(a, b))


@_rule("mv")
def _mv(a: TensorSpec, b: TensorSpec) -> TensorSpec:
    (m, k), (k2,) = _ranked(a, 2), _ranked(b, 1)
    _inner(a, b, k, k2)
    return contiguous((m,), _same_dtype(a, b))


@_rule("dot")
def _dot(a: TensorSpec, b: TensorSpec) -> TensorSpec:
    _inner(a, b, _ranked(a, 1), _ranked(b, 1))
    return contiguous((), _same_dtype(a, b))


@_rule("matmul")
def _matmul(a: TensorSpec, b: TensorSpec) -> TensorSpec:
    if not _tensor(a).shape or not _tensor(b).shape:
        raise OpError("operands need at least one dimension")
    left = a.shape if len(a.shape) > 1 else (1, *a.shape)
    right = b.shape if len(b.shape) > 1 else (*b.shape, 1)
    _inner(a, b, left[-1], right[-2])
    shape = (
        *_broadcast(left[:-2], right[:-2]),
        *(left[-2:-1] if len(a.shape) > 1 else ()),
        *(right[-1:] if len(b.shape) > 1 else ()),
    )
    return contiguous(shape, _same_dtype(a, b))


@_rule("addmm")
def _addmm(c: TensorSpec, a: TensorSpec, b: TensorSpec, *, beta: float = 1, alpha: float = 1) -> TensorSpec:
    return _added(c, _mm(a, b), beta, alpha)


@_rule("baddbmm")
def _baddbmm(c: TensorSpec, a: TensorSpec, b: TensorSpec, *, beta: float = 1, alpha: float = 1) -> TensorSpec:
    return _added(c, _bmm(a, b), beta, alpha)


def _added(c: TensorSpec, product: TensorSpec, beta: float, alpha: float) -> TensorSpec:
    _number(beta)
    _number(alpha)
    if _broadcast(_tensor(c).shape, product.shape) != product.shape:
        raise OpError(f"{c} does not broadcast to {product}")
    return contiguous(product.shape, _same_dtype(c, product))


@_rule("linear")
def _linear(x: TensorSpec, weight: TensorSpec, bias: TensorSpec | None = None) -> TensorSpec:
    n, k = _ranked(weight, 2)
    if not _tensor(x).shape:
        raise OpError("the input needs at least one dimension")
    _inner(x, weight, x.shape[-1], k)
    if bias is not None and _tensor(bias).shape != (n,):
        raise OpError(f"the bias {bias} should have the shape [{n}]")
    return contiguous((*x.shape[:-1], n), _same_dtype(x, weight, *([bias] if bias is not None else [])))


def _ranked(spec: Any, rank: int) -> tuple[int, ...]:
    if len(_tensor(spec).shape) != rank:
        raise OpError(f"{spec} should have {rank} dimensions")
    return spec.shape  # type: ignore[no-any-return]


def _inner(a: TensorSpec, b: TensorSpec, left: Any, right: Any) -> None:
    if left != right:
        raise OpError(f"{a} and {b} do not fit together")


@_rule("conv1d", "conv2d", "conv3d")
def _convolution(
    x: TensorSpec,
    weight: TensorSpec,
    bias: TensorSpec | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> TensorSpec:
    rank = len(_tensor(x).shape) - 2
    if rank < 1 or len(_tensor(weight).shape) != rank + 2:
        raise OpError(f"{x} and {weight} should both be (batch, channels, ...) with as many dimensions")
    out_channels, in_channels, *kernel = weight.shape
    if (
        not isinstance(groups, int)
        or groups < 1
        or x.shape[1] != in_channels * groups
        or out_channels % groups
    ):
        raise OpError(f"{x} and {weight} do not fit together with groups={groups!r}")
    if bias is not None and _tensor(bias).shape != (out_channels,):
        raise OpError(f"the bias {bias} should have the shape [{out_channels}]")
    steps = [
        _each(v, rank, what) for v, what in ((stride, "stride"), (padding, "padding"), (dilation, "dilation"))
    ]
    if min(steps[0] + steps[2]) < 1 or min(steps[1]) < 0:
        raise OpError("stride and dilation should be at least 1, padding at least 0")
    extents = []
    for n, k, s, p, d in zip(x.shape[2:], kernel, *steps, strict=True):
        extent = (n + 2 * p - d * (k - 1) - 1) // s + 1
        if extent < 1:
            raise OpError(f"the kernel {list(kernel)} is larger than the padded input {list(x.shape[2:])}")
        extents.append(extent)
    dtype = _same_dtype(x, weight, *([bias] if bias is not None else []))
    return contiguous((x.shape[0], out_channels, *extents), dtype)


def _each(value: Any, rank: int, what: str) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, tuple | list) else (value,) * rank
    values = values * rank if len(values) == 1 else values
    if len(values) != rank or any(isinstance(v, bool) or not isinstance(v, int) for v in values):
        raise OpError(f"{what}={value!r} should be an int or {rank} of them")
    return values


# --- reductions -------------------------------------------------------------------------------------------------


def _reduced(x: TensorSpec, dim: Any, keepdim: Any, dtype: str) -> TensorSpec:
    axes = _axes(dim, len(x.shape))
    kept = ((1 if i in axes else n) for i, n in enumerate(x.shape) if keepdim or i not in axes)
    return contiguous(tuple(kept), dtype)


@_rule("sum")
def _sum(x: TensorSpec, dim: Any = None, keepdim: bool = False) -> TensorSpec:
    return _reduced(x, dim, keepdim, _tensor(x).dtype if x.dtype in FLOATING else "int64")


@_rule("mean", "logsumexp")
def _mean(x: TensorSpec, dim: Any = None, keepdim: bool = False) -> TensorSpec:
    return _reduced(x, dim, keepdim, _floating(_tensor(x)))


@_rule("amax", "amin")
def _amax(x: TensorSpec, dim: Any = (), keepdim: bool = False) -> TensorSpec:
    if math.prod(_tensor(x).shape) == 0:
        raise OpError(f"{x} has no elements")
    return _reduced(x, dim, keepdim, x.dtype)


@_rule("argmax", "argmin")
def _argmax(x: TensorSpec, dim: Any = None, keepdim: bool = False) -> TensorSpec:
    if math.prod(_tensor(x).shape) == 0:
        raise OpError(f"{x} has no elements")
    return _reduced(x, None if dim is None else _axis(dim, len(x.shape)), keepdim, "int64")


@_rule("softmax", "log_softmax")
def _softmax(x: TensorSpec, dim: int) -> TensorSpec:
    _axis(dim, len(_tensor(x).shape))
    return contiguous(x.shape, _floating(x))


@_rule("layer_norm")
def _layer_norm(
    x: TensorSpec, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> TensorSpec:
    shape = tuple(normalized_shape)
    _number(eps)
    if not shape or _tensor(x).shape[-len(shape) :] != shape:
        raise OpError(f"{x} does not end with {list(shape)}")
    extra = [_tensor(t) for t in (weight, bias) if t is not None]
    if any(t.shape != shape for t in extra):
        raise OpError(f"weight and bias should have the shape {list(shape)}")
    _floating(x)
    return contiguous(x.shape, _same_dtype(x, *extra))


# --- layout -----------------------------------------------------------------------------------------------------


@_rule("transpose_copy")
def _transpose(x: TensorSpec, first: int, second: int) -> TensorSpec:
    shape = list(_tensor(x).shape)
    i, j = _axis(first, len(shape)), _axis(second, len(shape))
    if shape:
        shape[i], shape[j] = shape[j], shape[i]
    return contiguous(tuple(shape), x.dtype)


@_rule("permute_copy")
def _permute(x: TensorSpec, dims: Any) -> TensorSpec:
    axes = tuple(_axis(d, len(_tensor(x).shape)) for d in dims)
    if sorted(axes) != list(range(len(x.shape))):
        raise OpError(f"dims {list(dims)} should name each axis of {x} once")
    return contiguous(tuple(x.shape[a] for a in axes), x.dtype)


@_rule("cat")
def _cat(tensors: list[TensorSpec], dim: int = 0) -> TensorSpec:
    if not tensors:
        raise OpError("there is nothing to join")
    first = tensors[0]
    axis = _axis(dim, len(first.shape))
    if not first.shape or any(_rest(t, axis) != _rest(first, axis) for t in tensors):
        raise OpError(f"{', '.join(map(str, tensors[:8]))} differ in more than dim {axis}")
    shape = list(first.shape)
    shape[axis] = sum(t.shape[axis] for t in tensors)
    return contiguous(tuple(shape), _same_dtype(*tensors))


def _rest(spec: TensorSpec, axis: int) -> tuple[Any, ...]:
    return len(spec.shape), spec.shape[:axis], spec.shape[axis + 1 :]


@_rule("stack")
def _stack(tensors: list[TensorSpec], dim: int = 0) -> TensorSpec:
    if not tensors or any(t.shape != tensors[0].shape for t in tensors):
        raise OpError("tensors of one shape are needed")
    axis = _axis(dim, len(tensors[0].shape) + 1)
    shape = (*tensors[0].shape[:axis], len(tensors), *tensors[0].shape[axis:])
    return contiguous(shape, _same_dtype(*tensors))


@_rule("tril", "triu")
def _triangle(x: TensorSpec, diagonal: int = 0) -> TensorSpec:
    if len(_tensor(x).shape) < 2 or not isinstance(diagonal, int):
        raise OpError(f"{x} should have at least 2 dimensions, and diagonal be an int")
    return contiguous(x.shape, x.dtype)


@_rule("embedding")
def _embedding(weight: TensorSpec, indices: TensorSpec) -> TensorSpec:
    _, width = _ranked(weight, 2)
    if _tensor(indices).dtype not in ("int64", "int32"):
        raise OpError(f"the indices {indices} should be int64 or int32")
    return contiguous((*indices.shape, width), weight.dtype)


@_rule("index_select")
def _index_select(x: TensorSpec, dim: int, index: TensorSpec) -> TensorSpec:
    (count,) = _ranked(index, 1)
    axis = _axis(dim, len(_tensor(x).shape))
    if index.dtype not in ("int64", "int32"):
        raise OpError(f"the index {index} should be int64 or int32")
    return contiguous((*x.shape[:axis], count, *x.shape[axis + 1 :]), x.dtype)
