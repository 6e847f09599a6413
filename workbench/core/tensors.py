"""Shapes, dtypes and strides of tensors as plain data, so that no process needs torch to talk about them."""

from __future__ import annotations

import math

import msgspec

ITEMSIZE: dict[str, int] = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "float8_e4m3fn": 1,
    "float8_e5m2": 1,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
    "complex64": 8,
    "complex128": 16,
}
"""Bytes an element, by torch's name of the dtype without `torch.`."""

FLOATING = frozenset({"float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"})


class TensorSpec(msgspec.Struct, frozen=True):
    """What is known of a tensor without its data."""

    shape: tuple[int, ...]
    dtype: str
    """torch's name without the prefix: "float32", "bfloat16", "int64", "bool"."""
    strides: tuple[int, ...]
    """In elements, as torch counts them."""

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of a contiguous tensor of this shape."""
        return self.numel * ITEMSIZE[self.dtype]

    @property
    def is_contiguous(self) -> bool:
        """As torch counts it: axes of length one may have any stride."""
        expected = 1
        for extent, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if extent != 1 and stride != expected:
                return False
            expected *= extent
        return True

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


def contiguous(shape: tuple[int, ...], dtype: str) -> TensorSpec:
    """The spec of a freshly allocated, row-major tensor."""
    strides: list[int] = []
    step = 1
    for extent in reversed(shape):
        strides.append(step)
        step *= max(extent, 1)
    return TensorSpec(shape, dtype, tuple(reversed(strides)))
