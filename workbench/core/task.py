"""A task as everybody but the judge sees it: its signature, sizes and what was found when it was loaded.

The judge's worker alone executes a task file (docs/design.md, section 2); it hands out a `TaskInfo`.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from workbench.core.tensors import TensorSpec

Scalar = int | float | bool | str | None

_SPECIAL = {text: float(text) for text in ("inf", "-inf", "nan")}
"""One NaN for all, so that a signature that holds it equals itself after the log."""


class Parameter(msgspec.Struct, frozen=True):
    """One thing that a plan's `forward` or `backward` may ask for by name."""

    name: str
    """The identifier: "x", "layers_0_weight", "eps". Not unique where a task is ambiguous; `key` is."""
    key: str
    """The raw name, which `params["..."]` takes: "x", "layers.0.weight", "norm.eps"."""
    role: Literal["input", "parameter", "buffer", "attribute", "gradient", "saved"]
    """The last two are seen by `backward` alone: what comes in, and what `forward` saved."""
    tensor: TensorSpec | None = None
    """None for a scalar."""
    value: Scalar = None
    """A scalar's value; None with `tensor` None is Python's None."""
    mutable: bool = False
    """The reference writes it in place, so a candidate must too."""
    special: Literal["", "inf", "-inf", "nan"] = ""
    """The `value` that JSON, and so the log, has no number for; set and read back by this class alone."""

    def __post_init__(self) -> None:
        special = self.special if self.value is None else ""
        if isinstance(self.value, float) and not math.isfinite(self.value):
            special = "nan" if math.isnan(self.value) else "inf" if self.value > 0 else "-inf"
        msgspec.structs.force_setattr(self, "special", special)
        if special:
            msgspec.structs.force_setattr(self, "value", _SPECIAL[special])

    @property
    def path(self) -> str:
        """Unique within a signature: "input:x", "parameter:layers.0.weight"."""
        return f"{self.role}:{self.key}"

    def __str__(self) -> str:
        return f"{self.name}: {self.tensor}" if self.tensor is not None else f"{self.name} = {self.value!r}"


class Output(msgspec.Struct, frozen=True):
    """One tensor that the reference returns, in flattened order."""

    name: str
    """Its pytree name: "out" for a single tensor, "out_0", "out_hidden"."""
    tensor: TensorSpec
    input: str | None = None
    """The path of the input that the reference returns here as the very same tensor; a candidate may too."""
    index: bool = False
    """Holds positions (argmax, topk, sort), so that ties are compared by the values they select."""


class SizeSpec(msgspec.Struct, frozen=True):
    """The signature at one size."""

    name: str
    values: dict[str, int]
    """What the size overrides: module globals, or arguments of `get_inputs`."""
    parameters: tuple[Parameter, ...]
    outputs: tuple[Output, ...]
    bytes_moved: int = 0
    """Each input read once and each output written once, bytes."""
    flops: int = 0
    """As torch's FlopCounterMode counts the reference; matrix products and convolutions only."""
    gradients: tuple[str, ...] = ()
    """Paths of the float inputs and parameters that have a gradient, in signature order: what `backward` returns."""
    incoming: tuple[int, ...] = ()
    """Numbers of the outputs that a gradient comes in for."""
    judged: bool = True
    """False: its shapes are known, but this target never allocates it (a full size on the host)."""

    def by_path(self) -> dict[str, Parameter]:
        return {p.path: p for p in self.parameters}


class TaskInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the judge found when it loaded a task."""

    name: str
    path: str
    fingerprint: str
    """SHA-256 over every project source imported, weight and input files."""
    environment: str
    """Hash of the versions and the device on which verdicts depend; with `fingerprint` it tells fresh from stale."""
    source: str
    """The task file's text (the module form)."""
    sources: tuple[str, ...]
    """Every file the fingerprint covers; watched for changes."""
    sizes: tuple[SizeSpec, ...]
    """The judged size first."""
    derived_small: bool
    """The small size was made by shrinking module-level integers; `shapes` then only warns."""
    free_dims: tuple[str, ...] = ()
    """Names in `SizeSpec.values` that differ between declared sizes: a candidate must work at any value."""
    mode: Literal["eval", "train"] = "train"
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    own_kernels_only: bool = False
    backward: bool = False
    """A candidate without `backward` fails `parse`."""
    random: bool = False
    """The reference draws random numbers in this mode (never true of a task that can be judged)."""
    reference: str = ""
    """The reference policy in words: "fp64, whole, on the CPU"."""
    notes: tuple[str, ...] = ()
    """What a reader should know: side effects, mode switches, triviality, a redirected device."""
    unchecked: tuple[str, ...] = ()
    """What no verdict on this target will cover."""

    @property
    def basis(self) -> str:
        """A verdict is fresh while its basis equals the current task's."""
        return f"{self.fingerprint}:{self.environment}"


class FunctionalForm(msgspec.Struct, frozen=True):
    """Stage 1: the module as a function with explicit parameters, from torch.export."""

    source: str | None
    """Python source, or None where torch.export could not give one."""
    validated: bool
    """It agreed with the module on fresh random inputs."""
    note: str = ""
    """Why there is none, or how far it was validated."""
