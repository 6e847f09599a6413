"""What a plan may contain: each step is checked as it is added.

The sandboxed evaluation builds a plan with it, and the client builds the same plan again from the answer: what a
hostile process made up does not pass, since both go through the same checks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from workbench.core.plan import (
    Argument,
    CompileOptions,
    Fill,
    Knob,
    Launch,
    LaunchLimits,
    LibraryStep,
    Plan,
    PlanTensor,
    PointersArg,
    ScalarArg,
    Step,
    TensorArg,
)
from workbench.core.task import SizeSpec
from workbench.core.tensors import ITEMSIZE, TensorSpec, contiguous
from workbench.dialect.dtypes import DType, canonical
from workbench.dialect.ops import OpError, infer
from workbench.dialect.signature import signature_text

MAX_STEPS = 4096
MAX_TENSORS = 8192
MAX_KNOBS = 64
MAX_CHOICES = 256
MAX_ARGUMENTS = 1024
MAX_TENSOR_BYTES = 1 << 42
MAX_TEXT = 1000
"""Characters of a kernel name, a define, a knob's string."""

_KERNEL_NAME = re.compile(r"[A-Za-z_:][\w:<>,. ()*&+\-']*", re.ASCII)
_DEFINE_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)

Value = int | float | bool | str


class PlanError(Exception):
    """What a plan got wrong: one or two sentences, with the fix where one is likely."""


class PlanBuilder:
    """One plan at one size, step by step. Every method raises PlanError for what the dialect does not allow."""

    def __init__(self, size: SizeSpec, limits: LaunchLimits, *, own_kernels_only: bool = False) -> None:
        self.size = size
        self.limits = limits
        self.own_kernels_only = own_kernels_only
        self.tensors: list[PlanTensor] = []
        self.steps: list[Step] = []
        self.defines: dict[str, str] = {}
        self.fast_math = False
        self.max_registers: int | None = None
        self.knobs: dict[str, Knob] = {}
        self.values: dict[str, Value] = {}
        self.saved: dict[str, int] = {}
        self._signature: dict[str, int] = {}
        self._parameters = size.by_path()

    # --- tensors ---------------------------------------------------------------------------------------------

    def spec(self, number: int) -> TensorSpec:
        return self.tensors[number].spec

    def signature(self, path: str, line: int = 0) -> int:
        """The tensor of a parameter, the same number each time it is named."""
        if path not in self._signature:
            parameter = self._parameters.get(path)
            if parameter is None or parameter.tensor is None:
                raise PlanError(f"{path} is no tensor of the signature.")
            self._signature[path] = self._add("signature", parameter.tensor, "input", line, path=path)
        return self._signature[path]

    def allocate(self, shape: Any, dtype: Any, line: int = 0, *, zeros: bool = False) -> int:
        """`empty` and `zeros`; the latter also adds its fill."""
        what = "zeros" if zeros else "empty"
        name = canonical(dtype)
        if name is None:
            hint = f" Write {dtype.__name__}32." if dtype in (float, int) else ""
            known = ", ".join(ITEMSIZE)
            raise PlanError(f"{what}: {_shown(dtype)} is no dtype.{hint} Known: {known}.")
        spec = contiguous(_shape(shape, what), name)
        if spec.nbytes > MAX_TENSOR_BYTES:
            raise PlanError(f"{what}: {spec} has {spec.nbytes:,} bytes; no device holds that.")
        number = self._add("zeros" if zeros else "empty", spec, "scratch", line)
        if zeros:
            self._step(Fill(number, line))
        return number

    def view(self, base: int, shape: Any, line: int = 0) -> int:
        """The same bytes under another shape."""
        tensor = self.tensors[base]
        extents = _shape(shape, "view", free=True)
        if -1 in extents:
            known = math.prod(n for n in extents if n != -1)
            if known <= 0 or tensor.spec.numel % known:
                raise PlanError(f"view: {tensor.spec} does not divide into {list(extents)}.")
            extents = tuple(tensor.spec.numel // known if n == -1 else n for n in extents)
        if math.prod(extents) != tensor.spec.numel:
            raise PlanError(
                f"view: {list(extents)} has {math.prod(extents):,} elements, {tensor.spec} has {tensor.spec.numel:,}."
            )
        if not tensor.spec.is_contiguous:
            raise PlanError(
                f"view: {tensor.spec} is not contiguous (strides {list(tensor.spec.strides)}); "
                "pass its strides to the kernel instead."
            )
        root = base if tensor.base is None else tensor.base
        return self._add("view", contiguous(extents, tensor.spec.dtype), tensor.role, line, base=root)

    def _add(
        self,
        origin: Literal["signature", "empty", "zeros", "view", "op"],
        spec: TensorSpec,
        role: Literal["input", "output", "scratch"],
        line: int,
        *,
        path: str | None = None,
        base: int | None = None,
    ) -> int:
        if len(self.tensors) >= MAX_TENSORS:
            raise PlanError(f"More than {MAX_TENSORS:,} tensors in one plan.")
        self.tensors.append(PlanTensor(origin=origin, spec=spec, path=path, base=base, role=role, line=line))
        return len(self.tensors) - 1

    # --- steps -----------------------------------------------------------------------------------------------

    def _step(self, step: Step) -> None:
        if len(self.steps) >= MAX_STEPS:
            raise PlanError(f"More than {MAX_STEPS:,} steps in one plan; merge launches.")
        self.steps.append(step)

    def launch(
        self,
        kernel: Any,
        grid: Any,
        block: Any,
        args: Sequence[Argument],
        shared: Any = 0,
        cluster: Any = None,
        cooperative: Any = False,
        line: int = 0,
    ) -> None:
        """One kernel launch within the device's limits."""
        if not isinstance(kernel, str) or not _KERNEL_NAME.fullmatch(kernel) or len(kernel) > MAX_TEXT:
            raise PlanError(
                f"launch: {_shown(kernel)} is no kernel name; write the name of an "
                'extern "C" __global__ function, or a name expression such as "rmsnorm<float, 256>".'
            )
        limits = self.limits
        blocks, threads = _extent(grid, "grid"), _extent(block, "block")
        _within(threads, limits.block, "block", "threads", kernel)
        if (total := math.prod(threads)) > limits.threads_per_block:
            raise PlanError(
                f"launch {kernel}: block={_short(threads)} is {total:,} threads; "
                f"a block has at most {limits.threads_per_block:,}."
            )
        _within(blocks, limits.grid, "grid", "blocks", kernel)
        if not _is_int(shared) or shared < 0:
            raise PlanError(f"launch {kernel}: shared={_shown(shared)} should be a number of bytes.")
        if shared > limits.shared_bytes:
            raise PlanError(
                f"launch {kernel}: shared={shared:,} bytes; a block has at most {limits.shared_bytes:,} "
                "on this device."
            )
        if not isinstance(cooperative, bool):
            raise PlanError(f"launch {kernel}: cooperative={_shown(cooperative)} should be True or False.")
        size = None if cluster is None else self._cluster(kernel, cluster, blocks)
        if len(args) > MAX_ARGUMENTS:
            raise PlanError(f"launch {kernel}: {len(args):,} arguments; at most {MAX_ARGUMENTS:,} fit.")
        for argument in args:
            self._argument(argument, kernel)
        self._step(
            Launch(
                kernel=kernel,
                grid=blocks,
                block=threads,
                args=tuple(args),
                shared_bytes=shared,
                cluster=size,
                cooperative=cooperative,
                line=line,
            )
        )

    def _cluster(self, kernel: str, cluster: Any, blocks: tuple[int, int, int]) -> tuple[int, int, int]:
        size = _extent(cluster, "cluster")
        if self.limits.cluster_blocks <= 1:
            raise PlanError(
                f"launch {kernel}: this device has no thread block clusters (sm_90 and later do)."
            )
        if (total := math.prod(size)) > self.limits.cluster_blocks:
            raise PlanError(
                f"launch {kernel}: cluster={_short(size)} is {total} blocks; "
                f"at most {self.limits.cluster_blocks} form a cluster."
            )
        if any(b % c for b, c in zip(blocks, size, strict=True)):
            raise PlanError(
                f"launch {kernel}: grid={_short(blocks)} does not divide into clusters of {_short(size)}; "
                "grid counts blocks."
            )
        return size

    def _argument(self, argument: Argument, kernel: str) -> None:
        if isinstance(argument, TensorArg):
            self._known(argument.tensor)
        elif isinstance(argument, PointersArg):
            if not argument.tensors or len(argument.tensors) > MAX_TENSORS:
                raise PlanError(
                    f"launch {kernel}: pointers([...]) needs between 1 and {MAX_TENSORS:,} tensors."
                )
            for number in argument.tensors:
                self._known(number)
        else:
            check_scalar(argument, f"launch {kernel}")

    def _known(self, number: int) -> None:
        if not 0 <= number < len(self.tensors):
            raise PlanError(f"There is no tensor {number}.")

    def library(
        self, op: Any, args: Sequence[Any], kwargs: Sequence[tuple[str, Any]], line: int = 0
    ) -> tuple[int, ...]:
        """One library step; the numbers of the tensors that it makes."""
        if self.own_kernels_only:
            raise PlanError(
                "torch_op is forbidden here: this task wants own kernels only (own_kernels_only)."
            )
        if len(args) > MAX_ARGUMENTS or len(kwargs) > 16:
            raise PlanError(f"torch_op {_shown(op)}: more arguments than any operator takes.")
        for argument in (*args, *(value for _, value in kwargs)):
            if isinstance(argument, TensorArg):
                self._known(argument.tensor)
                if not self.spec(argument.tensor).is_contiguous:
                    raise PlanError(
                        f"torch_op {_shown(op)}: {self.spec(argument.tensor)} is not contiguous; copy it first."
                    )
            elif isinstance(argument, ScalarArg):
                check_scalar(argument, f"torch_op {_shown(op)}")
            elif isinstance(argument, tuple | str) and len(argument) > (
                16 if isinstance(argument, tuple) else 60
            ):
                raise PlanError(
                    f"torch_op {_shown(op)}: {_shown(argument)} is longer than any operator takes."
                )
        try:
            specs = infer(op, [self._library_value(a) for a in args], {k: _plain(v) for k, v in kwargs})
        except OpError as error:
            raise PlanError(f"torch_op {error}") from None
        for spec in specs:
            if spec.nbytes > MAX_TENSOR_BYTES:
                raise PlanError(
                    f"torch_op {op}: its result {spec} has {spec.nbytes:,} bytes; no device holds that."
                )
        outputs = tuple(self._add("op", spec, "scratch", line) for spec in specs)
        self._step(LibraryStep(op=op, args=tuple(args), kwargs=tuple(kwargs), outputs=outputs, line=line))
        return outputs

    def _library_value(self, argument: Any) -> Any:
        return self.spec(argument.tensor) if isinstance(argument, TensorArg) else _plain(argument)

    # --- options, knobs, results -----------------------------------------------------------------------------

    def compile(self, defines: Mapping[Any, Any] | None, fast_math: Any, max_registers: Any) -> None:
        """Options of the compile; a later call adds defines and replaces what it names."""
        for name, value in (defines or {}).items():
            if not isinstance(name, str) or not _DEFINE_NAME.fullmatch(name) or len(name) > 200:
                raise PlanError(f"compile: {_shown(name)} is no name of a macro.")
            self.defines[name] = _define_text(name, value)
            if len(self.defines) > 256:
                raise PlanError("compile: more than 256 defines.")
        if fast_math is not None:
            if not isinstance(fast_math, bool):
                raise PlanError(f"compile: fast_math={_shown(fast_math)} should be True or False.")
            self.fast_math = fast_math
        if max_registers is not None:
            if not _is_int(max_registers) or not 16 <= max_registers <= 255:
                raise PlanError(f"compile: max_registers={_shown(max_registers)} should be 16 to 255.")
            self.max_registers = max_registers

    def tune(self, name: Any, default: Any, choices: Any, chosen: Any = None) -> Value:
        """A knob; its value is `chosen`, else its default."""
        if not isinstance(name, str) or not name.isidentifier() or len(name) > 100:
            raise PlanError('tune: a knob needs a name: assign it (BLOCK = tune(...)) or give name="BLOCK".')
        try:
            options = tuple(choices)
        except TypeError:
            raise PlanError(f"tune {name}: choices={_shown(choices)} should be a list.") from None
        for value in (default, *options):
            if not isinstance(value, bool | int | float | str) or not _sane_value(value):
                raise PlanError(f"tune {name}: {_shown(value)} should be a number, a bool or a short string.")
        if not 1 <= len(options) <= MAX_CHOICES:
            raise PlanError(f"tune {name}: {len(options)} choices; 1 to {MAX_CHOICES} are allowed.")
        if not _among(default, options):
            raise PlanError(
                f"tune {name}: the default {default!r} is not among the choices {list(options)!r}."
            )
        value = default if chosen is None else chosen
        if not _among(value, options):
            raise PlanError(f"tune {name}: {value!r} is not among the choices {list(options)!r}.")
        knob = Knob(name, default, options)
        if self.knobs.get(name, knob) != knob:
            raise PlanError(f"tune {name}: a second knob of this name; names are unique in a plan.")
        if len(self.knobs) >= MAX_KNOBS and name not in self.knobs:
            raise PlanError(f"More than {MAX_KNOBS} knobs in one plan.")
        self.knobs[name] = knob
        self.values[name] = value
        return value  # type: ignore[no-any-return]

    def save(self, name: Any, number: int) -> None:
        """Hand a tensor to `backward`."""
        if not isinstance(name, str) or not name.isidentifier() or len(name) > 100:
            raise PlanError('save: a saved tensor needs a name: save(rstd), or save(t, name="rstd").')
        self._known(number)
        if self.saved.get(name, number) != number:
            raise PlanError(f"save: {name} is saved already, as another tensor.")
        self.saved[name] = number

    def finish(self, outputs: Sequence[int], line: int = 0) -> Plan:
        """The plan, with the returned tensors marked as outputs."""
        for number in outputs:
            self._known(number)
        returned = {n if self.tensors[n].base is None else self.tensors[n].base for n in outputs}
        for number, tensor in enumerate(self.tensors):
            root = number if tensor.base is None else tensor.base
            if tensor.role == "scratch" and root in returned:
                self.tensors[number] = PlanTensor(
                    origin=tensor.origin,
                    spec=tensor.spec,
                    path=tensor.path,
                    base=tensor.base,
                    role="output",
                    line=tensor.line,
                )
        return Plan(
            size=self.size.name,
            options=CompileOptions(tuple(sorted(self.defines.items())), self.fast_math, self.max_registers),
            tensors=tuple(self.tensors),
            steps=tuple(self.steps),
            outputs=tuple(outputs),
            saved=tuple(self.saved.items()),
            knobs=tuple(self.knobs.values()),
            values=dict(self.values),
            line=line,
        )

    def signature_text(self) -> str:
        return signature_text(self.size)


def check_scalar(argument: ScalarArg, where: str) -> None:
    """A scalar's value is of its kind and fits it.

    Raises:
        PlanError: it does not.
    """
    value, kind = argument.value, argument.kind
    if kind == "bool":
        good = isinstance(value, bool)
    elif kind in ("float", "f32", "f64"):
        good = isinstance(value, float)
    else:
        bits = 32 if kind == "i32" else 64
        good = _is_int(value) and -(1 << (bits - 1)) <= value < (1 << bits)
        if _is_int(value) and not good:
            raise PlanError(f"{where}: {value} does not fit {bits} bits.")
    if not good:
        raise PlanError(f"{where}: {_shown(value)} is no {kind}.")


def _define_text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, DType):
        text = value.ctype
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise PlanError(f"compile: {name}={value} has no C++ literal; pass INFINITY or NAN as a string.")
        text = repr(value)
    elif isinstance(value, int | str):
        text = str(value)
    else:
        raise PlanError(f"compile: {name}={_shown(value)} should be a number, a bool, a string or a dtype.")
    if len(text) > MAX_TEXT or any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise PlanError(f"compile: the text of {name} should be one line of at most {MAX_TEXT} characters.")
    return text


def _plain(argument: Any) -> Any:
    return argument.value if isinstance(argument, ScalarArg) else argument


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _sane_value(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_TEXT and value.isprintable()
    if isinstance(value, float):
        return math.isfinite(value)
    return not _is_int(value) or -(1 << 63) <= value < (1 << 63)


def _among(value: Any, choices: Sequence[Any]) -> bool:
    return any(type(value) is type(c) and value == c for c in choices)


def _shown(value: Any) -> str:
    """A value for a message, short whatever it is."""
    try:
        text = repr(value)
    except Exception:
        text = type(value).__name__
    return text if len(text) <= 80 else text[:77] + "..."


def _short(extent: tuple[int, int, int]) -> str:
    return str(extent)


def _shape(shape: Any, what: str, *, free: bool = False) -> tuple[int, ...]:
    extents = (shape,) if _is_int(shape) else shape
    if not isinstance(extents, tuple | list):
        raise PlanError(f"{what}: the shape {_shown(shape)} should be an int or a tuple of ints.")
    if len(extents) > 16:
        raise PlanError(f"{what}: {len(extents)} dimensions; at most 16.")
    for n in extents:
        if not _is_int(n):
            hint = " Use // for a whole quotient." if isinstance(n, float) else ""
            raise PlanError(f"{what}: {_shown(n)} in the shape is no int.{hint}")
        if n < 0 and not (free and n == -1):
            raise PlanError(f"{what}: {n} in the shape is negative.")
        if n >= 1 << 48:
            raise PlanError(f"{what}: {n:,} in the shape is larger than any memory.")
    if free and sum(n == -1 for n in extents) > 1:
        raise PlanError(f"{what}: only one -1 can be worked out.")
    return tuple(extents)


def _extent(value: Any, what: str) -> tuple[int, int, int]:
    """An int, or one to three of them, as x, y, z."""
    extents = (value,) if not isinstance(value, tuple | list) else tuple(value)
    if not 1 <= len(extents) <= 3:
        raise PlanError(f"launch: {what} has {len(extents)} dimensions; x, (x, y) or (x, y, z) is meant.")
    for n in extents:
        if not _is_int(n):
            hint = " Use cdiv(a, b) or a // b." if isinstance(n, float) else ""
            raise PlanError(f"launch: {_shown(n)} in {what} is no int.{hint}")
        if n < 1:
            raise PlanError(
                f"launch: {what}={_shown(value)}; each extent is at least 1 (skip an empty launch by `if`)."
            )
    x, y, z = (*extents, 1, 1)[:3]
    return x, y, z


def _within(
    extent: tuple[int, int, int], limit: tuple[int, int, int], what: str, unit: str, kernel: str
) -> None:
    for axis, n, most in zip("xyz", extent, limit, strict=True):
        if n > most:
            raise PlanError(f"launch {kernel}: {what}.{axis}={n:,} {unit}; at most {most:,} are allowed.")
