"""Shape rules of elementwise operators, and of those that move elements."""

from __future__ import annotations

from typing import Any

from workbench.core.tensors import FLOATING, TensorSpec, contiguous
from workbench.dialect.dtypes import canonical
from workbench.dialect.op_rules import (
    OpError,
    axis_of,
    broadcast,
    floating,
    number,
    ranked,
    rule,
    same_dtype,
    tensor,
)

# --- elementwise


def _mixed(a: Any, b: Any) -> tuple[tuple[int, ...], str]:
    """Shape and dtype of an elementwise operator on tensors, or a tensor and a number."""
    if isinstance(a, TensorSpec) and isinstance(b, TensorSpec):
        return broadcast(a.shape, b.shape), same_dtype(a, b)
    spec, scalar = (a, b) if isinstance(a, TensorSpec) else (tensor(b, "one of the operands"), a)
    number(scalar)
    if isinstance(scalar, float) and spec.dtype not in FLOATING:
        raise OpError(f"a float and {spec}: convert the tensor by aten._to_copy")
    if spec.dtype == "bool":
        raise OpError(f"a number and {spec}: convert the tensor by aten._to_copy")
    return spec.shape, spec.dtype


@rule(
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
    return contiguous(tensor(x).shape, floating(x))


@rule("abs", "neg", "relu", "clone", "floor", "ceil", "round", "sign")
def _unary(x: TensorSpec) -> TensorSpec:
    if tensor(x).dtype == "bool":
        raise OpError(f"{x} should be numeric")
    return contiguous(x.shape, x.dtype)


@rule("gelu")
def _gelu(x: TensorSpec, *, approximate: str = "none") -> TensorSpec:
    if approximate not in ("none", "tanh"):
        raise OpError('approximate should be "none" or "tanh"')
    return contiguous(tensor(x).shape, floating(x))


@rule("leaky_relu", "elu")
def _sloped(x: TensorSpec, slope: float = 1.0) -> TensorSpec:
    number(slope)
    return contiguous(tensor(x).shape, floating(x))


@rule("add", "sub")
def _add(a: Any, b: Any, *, alpha: float = 1) -> TensorSpec:
    number(alpha)
    return contiguous(*_mixed(tensor(a, "the first operand"), b))


@rule("mul")
def _mul(a: Any, b: Any) -> TensorSpec:
    return contiguous(*_mixed(tensor(a, "the first operand"), b))


@rule("div")
def _div(a: Any, b: Any) -> TensorSpec:
    floating(tensor(a, "the first operand"))
    return contiguous(*_mixed(a, b))


@rule("pow")
def _pow(a: Any, b: Any) -> TensorSpec:
    floating(tensor(a, "the base"))
    return contiguous(*_mixed(a, b))


@rule("maximum", "minimum")
def _extremum(a: TensorSpec, b: TensorSpec) -> TensorSpec:
    return contiguous(*_mixed(tensor(a), tensor(b)))


@rule("eq", "ne", "lt", "le", "gt", "ge")
def _comparison(a: TensorSpec, b: Any) -> TensorSpec:
    return contiguous(_mixed(tensor(a), b)[0], "bool")


@rule("clamp")
def _clamp(x: TensorSpec, low: Any = None, high: Any = None, **named: Any) -> TensorSpec:
    if unknown := set(named) - {"min", "max"}:
        raise OpError(f"clamp takes no {', '.join(sorted(unknown))}")
    bounds = [b for b in (low, high, *named.values()) if b is not None]
    if not bounds:
        raise OpError("clamp needs a bound")
    for bound in bounds:
        _mixed(tensor(x), number(bound))
    return contiguous(x.shape, x.dtype)


@rule("where")
def _where(condition: TensorSpec, a: TensorSpec, b: TensorSpec) -> TensorSpec:
    if tensor(condition).dtype != "bool":
        raise OpError(f"the condition {condition} should be bool")
    return contiguous(broadcast(condition.shape, tensor(a).shape, tensor(b).shape), same_dtype(a, b))


@rule("_to_copy")
def _to_copy(x: TensorSpec, *, dtype: str) -> TensorSpec:
    name = canonical(dtype)
    if name is None or name != dtype:
        raise OpError(f"dtype={dtype!r} is no dtype's full name")
    return contiguous(tensor(x).shape, name)


# --- layout


@rule("transpose_copy")
def _transpose(x: TensorSpec, first: int, second: int) -> TensorSpec:
    shape = list(tensor(x).shape)
    i, j = axis_of(first, len(shape)), axis_of(second, len(shape))
    if shape:
        shape[i], shape[j] = shape[j], shape[i]
    return contiguous(tuple(shape), x.dtype)


@rule("permute_copy")
def _permute(x: TensorSpec, dims: Any) -> TensorSpec:
    axes = tuple(axis_of(d, len(tensor(x).shape)) for d in dims)
    if sorted(axes) != list(range(len(x.shape))):
        raise OpError(f"dims {list(dims)} should name each axis of {x} once")
    return contiguous(tuple(x.shape[a] for a in axes), x.dtype)


@rule("cat")
def _cat(tensors: list[TensorSpec], dim: int = 0) -> TensorSpec:
    if not tensors:
        raise OpError("there is nothing to join")
    first = tensors[0]
    axis = axis_of(dim, len(first.shape))
    if not first.shape or any(_rest(t, axis) != _rest(first, axis) for t in tensors):
        raise OpError(f"{', '.join(map(str, tensors[:8]))} differ in more than dim {axis}")
    shape = list(first.shape)
    shape[axis] = sum(t.shape[axis] for t in tensors)
    return contiguous(tuple(shape), same_dtype(*tensors))


def _rest(spec: TensorSpec, axis: int) -> tuple[Any, ...]:
    return len(spec.shape), spec.shape[:axis], spec.shape[axis + 1 :]


@rule("stack")
def _stack(tensors: list[TensorSpec], dim: int = 0) -> TensorSpec:
    if not tensors or any(t.shape != tensors[0].shape for t in tensors):
        raise OpError("tensors of one shape are needed")
    axis = axis_of(dim, len(tensors[0].shape) + 1)
    shape = (*tensors[0].shape[:axis], len(tensors), *tensors[0].shape[axis:])
    return contiguous(shape, same_dtype(*tensors))


@rule("tril", "triu")
def _triangle(x: TensorSpec, diagonal: int = 0) -> TensorSpec:
    if len(tensor(x).shape) < 2 or not isinstance(diagonal, int):
        raise OpError(f"{x} should have at least 2 dimensions, and diagonal be an int")
    return contiguous(x.shape, x.dtype)


@rule("embedding")
def _embedding(weight: TensorSpec, indices: TensorSpec) -> TensorSpec:
    _, width = ranked(weight, 2)
    if tensor(indices).dtype not in ("int64", "int32"):
        raise OpError(f"the indices {indices} should be int64 or int32")
    return contiguous((*indices.shape, width), weight.dtype)


@rule("index_select")
def _index_select(x: TensorSpec, dim: int, index: TensorSpec) -> TensorSpec:
    (count,) = ranked(index, 1)
    axis = axis_of(dim, len(tensor(x).shape))
    if index.dtype not in ("int64", "int32"):
        raise OpError(f"the index {index} should be int64 or int32")
    return contiguous((*x.shape[:axis], count, *x.shape[axis + 1 :]), x.dtype)
