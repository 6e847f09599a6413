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
from workbench.dialect.backward import backward_size
from workbench.dialect.dtypes import canonical
from workbench.dialect.ops import OpError, infer
from workbench.dialect.signature import signature_text
from workbench.dialect.values import (
    MAX_TEXT,
    PlanError,
    among,
    check_scalar,
    checked_extent,
    checked_shape,
    define_text,
    is_int,
    plain,
    sane_value,
    shown,
    within,
)

MAX_STEPS = 4096
MAX_TENSORS = 8192
MAX_KNOBS = 64
MAX_CHOICES = 256
MAX_ARGUMENTS = 1024
MAX_TENSOR_BYTES = 1 << 42

_KERNEL_NAME = re.compile(r"[A-Za-z_:][\w:<>,. ()*&+\-']*", re.ASCII)
_DEFINE_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)

Value = int | float | bool | str


class PlanBuilder:
    """One plan at one size, step by step. Every method raises PlanError for what the dialect does not allow."""

    def __init__(
        self,
        size: SizeSpec,
        limits: LaunchLimits,
        *,
        own_kernels_only: bool = False,
        forward: PlanBuilder | None = None,
    ) -> None:
        """
        Args:
            size: the signature; backward's own (`backward.backward_size`) with `forward`.
            forward: this is the backward of that plan: knobs and compile options are one for both.
        """
        self.size = size
        self.forward = forward
        self.limits = limits
        self.own_kernels_only = own_kernels_only
        self.tensors: list[PlanTensor] = []
        self.steps: list[Step] = []
        self.defines: dict[str, str] = {} if forward is None else forward.defines
        self.fast_math = False
        self.max_registers: int | None = None
        self.knobs: dict[str, Knob] = {} if forward is None else forward.knobs
        self.values: dict[str, Value] = {} if forward is None else forward.values
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
            raise PlanError(f"{what}: {shown(dtype)} is no dtype.{hint} Known: {known}.")
        spec = contiguous(checked_shape(shape, what), name)
        if spec.nbytes > MAX_TENSOR_BYTES:
            raise PlanError(f"{what}: {spec} has {spec.nbytes:,} bytes; no device holds that.")
        number = self._add("zeros" if zeros else "empty", spec, "scratch", line)
        if zeros:
            self._step(Fill(number, line))
        return number

    def view(self, base: int, shape: Any, line: int = 0) -> int:
        """The same bytes under another shape."""
        tensor = self.tensors[base]
        extents = checked_shape(shape, "view", free=True)
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
                f"launch: {shown(kernel)} is no kernel name; write the name of an "
                'extern "C" __global__ function, or a name expression such as "rmsnorm<float, 256>".'
            )
        limits = self.limits
        blocks, threads = checked_extent(grid, "grid"), checked_extent(block, "block")
        within(threads, limits.block, "block", "threads", kernel)
        if (total := math.prod(threads)) > limits.threads_per_block:
            raise PlanError(
                f"launch {kernel}: block={threads!s} is {total:,} threads; "
                f"a block has at most {limits.threads_per_block:,}."
            )
        within(blocks, limits.grid, "grid", "blocks", kernel)
        if not is_int(shared) or shared < 0:
            raise PlanError(f"launch {kernel}: shared={shown(shared)} should be a number of bytes.")
        if shared > limits.shared_bytes:
            raise PlanError(
                f"launch {kernel}: shared={shared:,} bytes; a block has at most {limits.shared_bytes:,} "
                "on this device."
            )
        if not isinstance(cooperative, bool):
            raise PlanError(f"launch {kernel}: cooperative={shown(cooperative)} should be True or False.")
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
        size = checked_extent(cluster, "cluster")
        if self.limits.cluster_blocks <= 1:
            raise PlanError(
                f"launch {kernel}: this device has no thread block clusters (sm_90 and later do)."
            )
        if (total := math.prod(size)) > self.limits.cluster_blocks:
            raise PlanError(
                f"launch {kernel}: cluster={size!s} is {total} blocks; "
                f"at most {self.limits.cluster_blocks} form a cluster."
            )
        if any(b % c for b, c in zip(blocks, size, strict=True)):
            raise PlanError(
                f"launch {kernel}: grid={blocks!s} does not divide into clusters of {size!s}; "
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
            raise PlanError(f"torch_op {shown(op)}: more arguments than any operator takes.")
        for argument in (*args, *(value for _, value in kwargs)):
            if isinstance(argument, TensorArg):
                self._known(argument.tensor)
                if not self.spec(argument.tensor).is_contiguous:
                    raise PlanError(
                        f"torch_op {shown(op)}: {self.spec(argument.tensor)} is not contiguous; copy it first."
                    )
            elif isinstance(argument, ScalarArg):
                check_scalar(argument, f"torch_op {shown(op)}")
            elif isinstance(argument, tuple | str) and len(argument) > (
                16 if isinstance(argument, tuple) else 60
            ):
                raise PlanError(f"torch_op {shown(op)}: {shown(argument)} is longer than any operator takes.")
        try:
            specs = infer(op, [self._library_value(a) for a in args], {k: plain(v) for k, v in kwargs})
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
        return self.spec(argument.tensor) if isinstance(argument, TensorArg) else plain(argument)

    # --- options, knobs, results -----------------------------------------------------------------------------

    def compile(self, defines: Mapping[Any, Any] | None, fast_math: Any, max_registers: Any) -> None:
        """Options of the compile; a later call adds defines and replaces what it names."""
        for name, value in (defines or {}).items():
            if not isinstance(name, str) or not _DEFINE_NAME.fullmatch(name) or len(name) > 200:
                raise PlanError(f"compile: {shown(name)} is no name of a macro.")
            text = define_text(name, value)
            if self.forward is not None and self.defines.get(name, text) != text:
                raise PlanError(
                    f"compile: {name} is {self.defines[name]} in forward; both are compiled together, so use another name."
                )
            self.defines[name] = text
            if len(self.defines) > 256:
                raise PlanError("compile: more than 256 defines.")
        if fast_math is not None:
            if not isinstance(fast_math, bool):
                raise PlanError(f"compile: fast_math={shown(fast_math)} should be True or False.")
            self._both().fast_math = fast_math
        if max_registers is not None:
            if not is_int(max_registers) or not 16 <= max_registers <= 255:
                raise PlanError(f"compile: max_registers={shown(max_registers)} should be 16 to 255.")
            self._both().max_registers = max_registers

    def _both(self) -> PlanBuilder:
        """Where what forward and backward share is kept."""
        return self if self.forward is None else self.forward

    def tune(self, name: Any, default: Any, choices: Any, chosen: Any = None) -> Value:
        """A knob; its value is `chosen`, else its default."""
        if not isinstance(name, str) or not name.isidentifier() or len(name) > 100:
            raise PlanError('tune: a knob needs a name: assign it (BLOCK = tune(...)) or give name="BLOCK".')
        try:
            options = tuple(choices)
        except TypeError:
            raise PlanError(f"tune {name}: choices={shown(choices)} should be a list.") from None
        for value in (default, *options):
            if not isinstance(value, bool | int | float | str) or not sane_value(value):
                raise PlanError(f"tune {name}: {shown(value)} should be a number, a bool or a short string.")
        if not 1 <= len(options) <= MAX_CHOICES:
            raise PlanError(f"tune {name}: {len(options)} choices; 1 to {MAX_CHOICES} are allowed.")
        if not among(default, options):
            raise PlanError(
                f"tune {name}: the default {default!r} is not among the choices {list(options)!r}."
            )
        value = default if chosen is None else chosen
        if not among(value, options):
            raise PlanError(f"tune {name}: {value!r} is not among the choices {list(options)!r}.")
        knob = Knob(name, default, options)
        if self.knobs.get(name, knob) != knob:
            raise PlanError(f"tune {name}: a second knob of this name; names are unique in a plan.")
        if len(self.knobs) >= MAX_KNOBS and name not in self.knobs:
            raise PlanError(f"More than {MAX_KNOBS} knobs in one plan.")
        self.knobs[name] = knob
        self.values[name] = value
        return value  # type: ignore[no-any-return]  # it is among `options`

    def save(self, name: Any, number: int) -> None:
        """Hand a tensor to `backward`."""
        if not isinstance(name, str) or not name.isidentifier() or len(name) > 100:
            raise PlanError('save: a saved tensor needs a name: save(rstd), or save(t, name="rstd").')
        if self.forward is not None:
            raise PlanError("save: forward hands tensors to backward; backward returns gradients.")
        self._known(number)
        taken = [p for p in self.size.parameters if p.name == name and p.path != self.tensors[number].path]
        if taken:
            raise PlanError(
                f"save: {name} is a name of the signature already; save(t, name=...) takes another."
            )
        if self.saved.get(name, number) != number:
            raise PlanError(f"save: {name} is saved already, as another tensor.")
        self.saved[name] = number

    def backward(self) -> PlanBuilder:
        """The builder of this plan's backward; forward's tensors and what it saved are there by now."""
        size = backward_size(self.size, self.tensors, self.saved.items())
        return PlanBuilder(size, self.limits, own_kernels_only=self.own_kernels_only, forward=self)

    def finish(self, outputs: Sequence[int], line: int = 0, backward: Plan | None = None) -> Plan:
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
            options=CompileOptions(
                tuple(sorted(self.defines.items())), self._both().fast_math, self._both().max_registers
            ),
            tensors=tuple(self.tensors),
            steps=tuple(self.steps),
            outputs=tuple(outputs),
            saved=tuple(self.saved.items()),
            knobs=tuple(self.knobs.values()) if self.forward is None else (),
            values=dict(self.values) if self.forward is None else {},
            line=line,
            backward=backward,
        )

    def signature_text(self) -> str:
        return signature_text(self.size)
