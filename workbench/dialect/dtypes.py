"""Dtype names as plans and signatures write them."""

from __future__ import annotations

from typing import Any

from workbench.core.tensors import ITEMSIZE

ALIASES: dict[str, str] = {
    "half": "float16",
    "float": "float32",
    "double": "float64",
    "bf16": "bfloat16",
    "fp16": "float16",
    "fp32": "float32",
    "fp64": "float64",
    "int": "int32",
    "long": "int64",
    "short": "int16",
    "char": "int8",
    "byte": "uint8",
    "cfloat": "complex64",
    "cdouble": "complex128",
}
"""Other names that `empty` and `zeros` take; the first two words are torch's, so `long` is 64 bits."""

C_TYPES: dict[str, str] = {
    "float64": "double",
    "float32": "float",
    "float16": "__half",
    "bfloat16": "__nv_bfloat16",
    "float8_e4m3fn": "__nv_fp8_e4m3",
    "float8_e5m2": "__nv_fp8_e5m2",
    "int64": "long long",
    "int32": "int",
    "int16": "short",
    "int8": "signed char",
    "uint8": "unsigned char",
    "bool": "bool",
    "complex64": "float2",
    "complex128": "double2",
}
"""What device code calls an element."""


def canonical(dtype: Any) -> str | None:
    """torch's name without its prefix for "half", "torch.float16", `float16`, or Python's bool; None if unknown."""
    if dtype is bool:
        return "bool"
    if not isinstance(dtype, str):
        return None
    name = str.__str__(dtype).removeprefix("torch.")
    name = ALIASES.get(name, name)
    return name if name in ITEMSIZE else None


class DType(str):
    """A dtype in a plan: equal to each of its names, and knows its size and what C++ calls it."""

    __slots__ = ()

    @property
    def itemsize(self) -> int:
        """Bytes an element."""
        return ITEMSIZE[str.__str__(self)]

    @property
    def ctype(self) -> str:
        """The C++ type: "float", "__half", "long long"."""
        return C_TYPES[str.__str__(self)]

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, canonical(other) or "")

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return str.__hash__(self)
