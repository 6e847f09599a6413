"""The shapes and dtypes that the planner works out without torch are those that torch gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from workbench.core.tensors import contiguous
from workbench.dialect import ops

T = "float32"
CASES: list[tuple[str, list[Any], dict[str, Any]]] = [
    # A tensor is written as its shape in a list, with a dtype in front where it is not float32.
    ("mm", [[3, 4], [4, 5]], {}),
    ("bmm", [[2, 3, 4], [2, 4, 5]], {}),
    ("mv", [[3, 4], [4]], {}),
    ("dot", [[4], [4]], {}),
    ("matmul", [[4], [4]], {}),
    ("matmul", [[3, 4], [4]], {}),
    ("matmul", [[4], [4, 5]], {}),
    ("matmul", [[7, 1, 3, 4], [2, 4, 5]], {}),
    ("matmul", [[4], [6, 4, 5]], {}),
    ("matmul", [[6, 5, 4], [4]], {}),
    ("addmm", [[5], [3, 4], [4, 5]], {"beta": 0.5, "alpha": 2.0}),
    ("baddbmm", [[2, 1, 5], [2, 3, 4], [2, 4, 5]], {}),
    ("linear", [[2, 3, 4], [5, 4], [5]], {}),
    ("linear", [[4], [5, 4]], {}),
    ("conv1d", [[2, 4, 9], [6, 2, 3], None, (2,), (1,), (2,), 2], {}),
    ("conv2d", [[2, 3, 9, 8], [6, 3, 3, 2], [6], (2, 1), (1, 0), (1, 2), 1], {}),
    ("conv3d", [[1, 2, 5, 5, 5], [4, 2, 3, 3, 3], None, (1, 1, 1), (0, 0, 0)], {}),
    ("add", [[3, 1], [4]], {"alpha": 2}),
    ("sub", [[3], 2], {}),
    ("mul", [["int32", 3], 2], {}),
    ("mul", [["float16", 3], 2.5], {}),
    ("div", [[3, 4], [4]], {}),
    ("pow", [[3], 2], {}),
    ("maximum", [["int64", 3, 1], ["int64", 1, 4]], {}),
    ("eq", [[3], [3]], {}),
    ("gt", [["int32", 3], 1], {}),
    ("where", [["bool", 3, 1], [4], [3, 4]], {}),
    ("clamp", [[3], 0.0, 1.0], {}),
    ("clamp", [[3]], {"min": 0.0}),
    ("gelu", [[3]], {"approximate": "tanh"}),
    ("leaky_relu", [[3], 0.1], {}),
    ("elu", [[3], 0.5], {}),
    ("relu", [["bfloat16", 3]], {}),
    ("neg", [["int32", 3]], {}),
    ("_to_copy", [["int32", 3]], {"dtype": "float16"}),
    ("clone", [["int8", 3]], {}),
    ("sum", [[3, 4]], {}),
    ("sum", [["bool", 3, 4], [-1]], {}),
    ("sum", [["int32", 3, 4], [0], True], {}),
    ("sum", [["float16", 3, 4, 5], [0, -1]], {}),
    ("mean", [[3, 4], [1], True], {}),
    ("mean", [[3, 4]], {}),
    ("logsumexp", [[3, 4], [1]], {}),
    ("amax", [["int64", 3, 4], [0]], {}),
    ("amax", [[3, 4]], {}),
    ("amin", [[3, 4], [0, 1], True], {}),
    ("argmax", [[3, 4], 1], {}),
    ("argmin", [[3, 4], 0, True], {}),
    ("argmax", [[3, 4]], {}),
    ("softmax", [[3, 4], -1], {}),
    ("log_softmax", [["float64", 3, 4], 0], {}),
    ("layer_norm", [[2, 3, 4], [3, 4], ["", 3, 4], ["", 3, 4], 1e-6], {}),
    ("layer_norm", [[2, 4], [4]], {}),
    ("transpose_copy", [[2, 3, 4], 0, -1], {}),
    ("permute_copy", [[2, 3, 4], [2, 0, 1]], {}),
    ("cat", [[2, 3], [2, 5], [2, 1], 1], {}),
    ("cat", [[2, 3], [4, 3]], {}),
    ("stack", [[2, 3], [2, 3], -1], {}),
    ("stack", [[2, 3], [2, 3]], {}),
    ("tril", [[3, 3], 1], {}),
    ("triu", [["int32", 2, 3, 3]], {}),
    ("embedding", [[10, 4], ["int64", 2, 3]], {}),
    ("index_select", [[3, 4], 1, ["int64", 7]], {}),
]
_UNARY = (
    "exp exp2 expm1 log log2 log1p sqrt rsqrt reciprocal sin cos tanh erf sigmoid silu mish softplus hardswish "
    "hardsigmoid abs floor ceil round sign"
)
CASES += [(name, [[2, 3]], {}) for name in _UNARY.split()]
CASES += [(name, [[2, 3], [3]], {}) for name in ("minimum", "ne", "lt", "le", "ge")]


def _is_list_of_ints(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, int) for v in value)


def _arguments(name: str, values: list[Any]) -> tuple[list[Any], list[Any]]:
    """As specs and as torch's tensors; the ints of dims and shapes are told from tensors by their place."""
    dims = {
        "sum": {1},
        "mean": {1},
        "logsumexp": {1},
        "amax": {1},
        "amin": {1},
        "layer_norm": {1},
        "permute_copy": {1},
    }
    specs: list[Any] = []
    tensors: list[Any] = []
    for place, value in enumerate(values):
        if place in dims.get(name, ()) and _is_list_of_ints(value):
            specs.append(tuple(value))
            tensors.append(value)
        elif isinstance(value, list):
            dtype = (value[0] or T) if value and isinstance(value[0], str) else T
            shape = tuple(v for v in value if not isinstance(v, str))
            specs.append(contiguous(shape, dtype))
            tensors.append(torch.ones(shape, dtype=getattr(torch, dtype)))
        else:
            specs.append(value)
            tensors.append(value)
    return specs, tensors


@pytest.mark.parametrize(("name", "values", "kwargs"), CASES, ids=[f"{n} {v}"[:60] for n, v, _ in CASES])
def test_a_result_is_what_torch_makes(name: str, values: list[Any], kwargs: dict[str, Any]) -> None:
    specs, tensors = _arguments(name, values)
    (spec,) = ops.infer(f"aten.{name}", specs, kwargs)
    if f"aten.{name}" in ops.GATHERED:
        count = sum(isinstance(t, torch.Tensor) for t in tensors)
        tensors = [tensors[:count], *tensors[count:]]
    named = {k: getattr(torch, v) if k == "dtype" else v for k, v in kwargs.items()}
    before = [t.clone() for t in tensors if isinstance(t, torch.Tensor)]
    result = getattr(torch.ops.aten, name)(*tensors, **named)
    assert (tuple(result.shape), str(result.dtype)) == (spec.shape, f"torch.{spec.dtype}")
    assert spec.is_contiguous
    for tensor, copy in zip([t for t in tensors if isinstance(t, torch.Tensor)], before, strict=True):
        assert torch.equal(tensor, copy), "the operator writes its input"
        assert result.untyped_storage().data_ptr() != tensor.untyped_storage().data_ptr(), (
            "the result is a view"
        )


def test_every_operator_on_the_allowlist_is_compared_with_torch() -> None:
    assert {f"aten.{name}" for name, _, _ in CASES} == set(ops.names())
    assert len(ops.names()) >= 20


A, B = contiguous((3, 4), T), contiguous((5, 6), T)


@pytest.mark.parametrize(
    ("op", "args", "kwargs", "words"),
    [
        ("aten.mm", [A, B], {}, "do not fit together"),
        ("aten.mm", [A], {}, "arguments do not fit"),
        ("aten.mm", [A, 3], {}, "should be a tensor"),
        ("aten.add", [A, B], {}, "do not broadcast"),
        ("aten.add", [A, contiguous((3, 4), "float16")], {}, "dtypes differ"),
        ("aten.add", [contiguous((3,), "int32"), 0.5], {}, "convert the tensor"),
        ("aten.div", [contiguous((3,), "int32"), 2], {}, "floating point"),
        ("aten.softmax", [A, 2], {}, "dim 2 is none"),
        ("aten.sum", [A, (0, 0)], {}, "names an axis twice"),
        ("aten.amax", [contiguous((0,), T)], {}, "no elements"),
        ("aten.cat", [A, B], {}, "differ in more than dim 0"),
        ("aten.cat", [], {}, "nothing to join"),
        ("aten.stack", [A, B], {}, "one shape"),
        ("aten.conv2d", [A, B], {}, "as many dimensions"),
        (
            "aten.conv2d",
            [contiguous((1, 3, 2, 2), T), contiguous((4, 3, 3, 3), T)],
            {},
            "larger than the padded input",
        ),
        ("aten.conv2d", [contiguous((1, 3, 2, 2), T), contiguous((4, 2, 1, 1), T)], {}, "groups=1"),
        (
            "aten.conv2d",
            [contiguous((1, 3, 2, 2), T), contiguous((4, 3, 1, 1), T), None, 0],
            {},
            "at least 1",
        ),
        ("aten.where", [A, A, A], {}, "should be bool"),
        ("aten.clamp", [A], {}, "needs a bound"),
        ("aten.clamp", [A], {"low": 1, "mix": 2}, "clamp takes no mix"),
        ("aten._to_copy", [A], {"dtype": "half"}, "full name"),
        ("aten._to_copy", [A], {}, "arguments do not fit"),
        ("aten.embedding", [A, A], {}, "int64 or int32"),
        ("aten.permute_copy", [A, (0, 0)], {}, "each axis"),
        ("aten.layer_norm", [A, (3,)], {}, "does not end with [3]"),
        ("aten.gelu", [A], {"approximate": "some"}, "none"),
        ("aten.exp_", [A], {}, "not on the allowlist"),
        ("aten.randn", [(3,)], {}, "not on the allowlist"),
        ("mm", [A, A], {}, "not on the allowlist"),
        (3, [A], {}, "not on the allowlist"),
        ("aten.relu", [A, A], {}, "arguments do not fit"),
        ("aten.relu", [None], {}, "should be a tensor"),
        ("aten.transpose_copy", [A, 0.5, 1], {}, "dim 0.5"),
        ("aten.permute_copy", [A, 3], {}, "arguments do not fit"),
    ],
)
def test_what_an_operator_does_not_take_is_refused_in_words(
    op: Any, args: list[Any], kwargs: dict[str, Any], words: str
) -> None:
    with pytest.raises(ops.OpError) as error:
        ops.infer(op, args, kwargs)
    assert words in str(error.value)
    assert "<locals>" not in str(error.value)
