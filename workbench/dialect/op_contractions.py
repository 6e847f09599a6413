"""Shape rules of products, convolutions and reductions."""

from __future__ import annotations

import math
from typing import Any

from workbench.core.tensors import FLOATING, TensorSpec, contiguous
from workbench.dialect.op_rules import (
    OpError,
    axes_of,
    axis_of,
    broadcast,
    floating,
    number,
    ranked,
    rule,
    same_dtype,
    tensor,
)

# --- products


@rule("mm")
def _mm(a: TensorSpec, b: TensorSpec) -> TensorSpec:
    (m, k), (k2, n) = ranked(a, 2), ranked(b, 2)
    _inner(a, b, k, k2)
    return contiguous((m, n), same_dtype(a, b))


@rule("bmm")
def _bmm(a: TensorSpec, b: TensorSpec) -> TensorSpec:
    (batch, m, k), (batch2, k2, n) = ranked(a, 3), ranked(b, 3)
    _inner(a, b, (batch, k), (batch2, k2))
    return contiguous((batch, m, n), same_dtype(a, b))


@rule("mv")
def _mv(a: TensorSpec, b: TensorSpec) -> TensorSpec:
    (m, k), (k2,) = ranked(a, 2), ranked(b, 1)
    _inner(a, b, k, k2)
    return contiguous((m,), same_dtype(a, b))


@rule("dot")
def _dot(a: TensorSpec, b: TensorSpec) -> TensorSpec:
    _inner(a, b, ranked(a, 1), ranked(b, 1))
    return contiguous((), same_dtype(a, b))


@rule("matmul")
def _matmul(a: TensorSpec, b: TensorSpec) -> TensorSpec:
    if not tensor(a).shape or not tensor(b).shape:
        raise OpError("operands need at least one dimension")
    left = a.shape if len(a.shape) > 1 else (1, *a.shape)
    right = b.shape if len(b.shape) > 1 else (*b.shape, 1)
    _inner(a, b, left[-1], right[-2])
    shape = (
        *broadcast(left[:-2], right[:-2]),
        *(left[-2:-1] if len(a.shape) > 1 else ()),
        *(right[-1:] if len(b.shape) > 1 else ()),
    )
    return contiguous(shape, same_dtype(a, b))


@rule("addmm")
def _addmm(c: TensorSpec, a: TensorSpec, b: TensorSpec, *, beta: float = 1, alpha: float = 1) -> TensorSpec:
    return _added(c, _mm(a, b), beta, alpha)


@rule("baddbmm")
def _baddbmm(c: TensorSpec, a: TensorSpec, b: TensorSpec, *, beta: float = 1, alpha: float = 1) -> TensorSpec:
    return _added(c, _bmm(a, b), beta, alpha)


def _added(c: TensorSpec, product: TensorSpec, beta: float, alpha: float) -> TensorSpec:
    number(beta)
    number(alpha)
    if broadcast(tensor(c).shape, product.shape) != product.shape:
        raise OpError(f"{c} does not broadcast to {product}")
    return contiguous(product.shape, same_dtype(c, product))


@rule("linear")
def _linear(x: TensorSpec, weight: TensorSpec, bias: TensorSpec | None = None) -> TensorSpec:
    n, k = ranked(weight, 2)
    if not tensor(x).shape:
        raise OpError("the input needs at least one dimension")
    _inner(x, weight, x.shape[-1], k)
    if bias is not None and tensor(bias).shape != (n,):
        raise OpError(f"the bias {bias} should have the shape [{n}]")
    return contiguous((*x.shape[:-1], n), same_dtype(x, weight, *([bias] if bias is not None else [])))


def _inner(a: TensorSpec, b: TensorSpec, left: Any, right: Any) -> None:
    if left != right:
        raise OpError(f"{a} and {b} do not fit together")


@rule("conv1d", "conv2d", "conv3d")
def _convolution(
    x: TensorSpec,
    weight: TensorSpec,
    bias: TensorSpec | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> TensorSpec:
    rank = len(tensor(x).shape) - 2
    if rank < 1 or len(tensor(weight).shape) != rank + 2:
        raise OpError(f"{x} and {weight} should both be (batch, channels, ...) with as many dimensions")
    out_channels, in_channels, *kernel = weight.shape
    if (
        not isinstance(groups, int)
        or groups < 1
        or x.shape[1] != in_channels * groups
        or out_channels % groups
    ):
        raise OpError(f"{x} and {weight} do not fit together with groups={groups!r}")
    if bias is not None and tensor(bias).shape != (out_channels,):
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
    dtype = same_dtype(x, weight, *([bias] if bias is not None else []))
    return contiguous((x.shape[0], out_channels, *extents), dtype)


def _each(value: Any, rank: int, what: str) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, tuple | list) else (value,) * rank
    values = values * rank if len(values) == 1 else values
    if len(values) != rank or any(isinstance(v, bool) or not isinstance(v, int) for v in values):
        raise OpError(f"{what}={value!r} should be an int or {rank} of them")
    return values


# --- reductions


def _reduced(x: TensorSpec, dim: Any, keepdim: Any, dtype: str) -> TensorSpec:
    axes = axes_of(dim, len(x.shape))
    kept = ((1 if i in axes else n) for i, n in enumerate(x.shape) if keepdim or i not in axes)
    return contiguous(tuple(kept), dtype)


@rule("sum")
def _sum(x: TensorSpec, dim: Any = None, keepdim: bool = False) -> TensorSpec:
    return _reduced(x, dim, keepdim, tensor(x).dtype if x.dtype in FLOATING else "int64")


@rule("mean", "logsumexp")
def _mean(x: TensorSpec, dim: Any = None, keepdim: bool = False) -> TensorSpec:
    return _reduced(x, dim, keepdim, floating(tensor(x)))


@rule("amax", "amin")
def _amax(x: TensorSpec, dim: Any = (), keepdim: bool = False) -> TensorSpec:
    if math.prod(tensor(x).shape) == 0:
        raise OpError(f"{x} has no elements")
    return _reduced(x, dim, keepdim, x.dtype)


@rule("argmax", "argmin")
def _argmax(x: TensorSpec, dim: Any = None, keepdim: bool = False) -> TensorSpec:
    if math.prod(tensor(x).shape) == 0:
        raise OpError(f"{x} has no elements")
    return _reduced(x, None if dim is None else axis_of(dim, len(x.shape)), keepdim, "int64")


@rule("softmax", "log_softmax")
def _softmax(x: TensorSpec, dim: int) -> TensorSpec:
    axis_of(dim, len(tensor(x).shape))
    return contiguous(x.shape, floating(x))


@rule("layer_norm")
def _layer_norm(
    x: TensorSpec, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> TensorSpec:
    shape = tuple(normalized_shape)
    number(eps)
    if not shape or tensor(x).shape[-len(shape) :] != shape:
        raise OpError(f"{x} does not end with {list(shape)}")
    extra = [tensor(t) for t in (weight, bias) if t is not None]
    if any(t.shape != shape for t in extra):
        raise OpError(f"weight and bias should have the shape {list(shape)}")
    floating(x)
    return contiguous(x.shape, same_dtype(x, *extra))
