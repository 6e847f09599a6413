"""The structure of one input: what every generated case keeps, and how its free elements are spread."""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch

Kind = Literal["constant", "float", "few", "integer", "bool"]


@dataclasses.dataclass
class Distribution:
    """How the free elements of a float tensor are spread."""

    kind: Literal["uniform", "normal", "quantiles"]
    low: float
    high: float
    mean: float
    std: float
    quantiles: torch.Tensor | None = None
    """float64, ascending, where neither uniform nor normal fits."""


@dataclasses.dataclass
class Structure:
    """One input's structure; what is None or False does not hold."""

    kind: Kind
    shape: tuple[int, ...]
    dtype: torch.dtype
    constant: torch.Tensor | None = None
    """The value, where all draws are the same; contiguous."""
    distribution: Distribution | None = None
    values: torch.Tensor | None = None
    """Few-valued: the values."""
    weights: torch.Tensor | None = None
    """Few-valued and bool: how often each value comes."""
    low: int = 0
    high: int = 0
    """Integers: the range, inclusive."""
    zeros: torch.Tensor | None = None
    """True where every draw is zero (False for bool)."""
    ones: torch.Tensor | None = None
    """bool: True where every draw is True."""
    symmetric: bool = False
    definite: bool = False
    """Symmetric positive definite."""
    sums_to_one: int | None = None
    """The axis along which non-negative elements sum to one."""
    unit_norm: int | None = None
    """The axis along which vectors have length one."""
    one_hot: bool = False
    """Each row of the last axis has one 1, else 0."""
    ordered: Literal["", "ascending", "descending"] = ""
    """Each row of the last axis."""
    permutation: bool = False
    """Each row of `distinct_axis` is a permutation of 0..n-1."""
    unique: bool = False
    """No integer comes twice in a row of `distinct_axis`."""
    distinct_axis: int = -1
    integral: bool = False
    """A float tensor of whole numbers; `low` and `high` hold."""
    row_has_true: bool = False
    """bool: no row of the last axis is all False."""
    repeated: tuple[int, ...] = ()
    """Axes along which every slice is the same."""
    equals: int | None = None
    """This input is always the very same as an earlier one (its place among the inputs)."""

    @property
    def transformable(self) -> bool:
        """Whether hard cases change it, or only draw it anew."""
        return self.kind == "float" and not (
            self.definite
            or self.integral
            or self.unit_norm is not None
            or self.sums_to_one is not None
            or self.ordered
            or self.equals is not None
        )

    def words(self) -> str:
        """The structure for a reader: "lower triangular", "integers 0 to 9"."""
        said: list[str] = [self.kind if self.kind != "few" else "few-valued"]
        if self.kind == "integer" or self.integral:
            said = [f"integers {self.low} to {self.high}"]
        if self.distribution is not None and self.distribution.kind != "quantiles":
            said.append(self.distribution.kind)
        if self.zeros is not None and self.kind != "constant":
            said.append(zero_pattern(self.zeros))
        flags = {
            "symmetric": self.symmetric and not self.definite,
            "symmetric positive definite": self.definite,
            "sums to one": self.sums_to_one is not None,
            "unit vectors": self.unit_norm is not None,
            "one-hot": self.one_hot,
            self.ordered: bool(self.ordered),
            "permutations": self.permutation,
            "unique": self.unique and not self.permutation,
            "same along an axis": bool(self.repeated),
            "the same as another input": self.equals is not None,
        }
        return ", ".join(said + [word for word, holds in flags.items() if holds])


def zero_pattern(zeros: torch.Tensor) -> str:
    """The name of a pattern of zeros."""
    if zeros.dim() >= 2:
        rows, columns = zeros.shape[-2:]
        full = torch.ones(rows, columns, dtype=torch.bool)
        off = ~full.triu().logical_and(full.tril())
        for name, pattern in (
            ("diagonal", off),
            ("lower triangular", full.triu(1)),
            ("upper triangular", full.tril(-1)),
            ("strictly lower triangular", full.triu(0)),
            ("strictly upper triangular", full.tril(0)),
        ):
            if bool((zeros == pattern).all()):
                return name
    return "a pattern of zeros"
