"""A plan compared with what it has to fit: the task's outputs, and the parameters of the compiled kernels."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence

from workbench.core.build import Kernel, KernelParameter
from workbench.core.plan import (
    Diagnostic,
    Launch,
    LaunchLimits,
    Plan,
    PlanTensor,
    PointersArg,
    ScalarArg,
    TensorArg,
)
from workbench.core.task import SizeSpec
from workbench.dialect.backward import check_backward
from workbench.dialect.dtypes import C_TYPES

# --- outputs ----------------------------------------------------------------------------------------------------


def check_outputs(plan: Plan, size: SizeSpec) -> tuple[Diagnostic, ...]:
    """The returned tensors against the reference's outputs at this size: number, shape, dtype, order, aliasing; and the
    gradients of `backward`, where there is one."""
    expected = ", ".join(f"{o.name}: {o.tensor}" for o in size.outputs) or "nothing"
    if len(plan.outputs) != len(size.outputs):
        count = len(plan.outputs)
        message = f"forward returns {count} tensor{'s' * (count != 1)}; the reference returns {expected}."
        return (Diagnostic(message, plan.line),)
    found: list[Diagnostic] = list(check_backward(plan, size))
    returned: dict[int, str] = {}
    for number, output in zip(plan.outputs, size.outputs, strict=True):
        tensor = plan.tensors[number]
        place = tensor.line or plan.line
        root = number if tensor.base is None else tensor.base
        aliased = plan.tensors[root].path
        if tensor.spec.shape != output.tensor.shape or tensor.spec.dtype != output.tensor.dtype:
            message = f"{output.name} is {tensor.spec}; the reference returns {output.tensor}."
            found.append(Diagnostic(message + _reason(plan, size, number), place))
        elif aliased is not None and aliased != output.input:
            message = f"{output.name} is the input {aliased.partition(':')[2]} itself; the reference returns a new tensor."
            found.append(Diagnostic(f"{message} Allocate one with empty_like.", place))
        elif root in returned and aliased is None:
            message = (
                f"{output.name} and {returned[root]} are the same memory; the reference returns two tensors."
            )
            found.append(Diagnostic(f"{message} Allocate one for each.", place))
        returned.setdefault(root, output.name)
    return tuple(found)


def _reason(plan: Plan, size: SizeSpec, number: int) -> str:
    """The likely slip behind a wrong output, as a hint."""
    spec = plan.tensors[number].spec
    matching = [o.name for o in size.outputs if o.tensor.shape == spec.shape and o.tensor.dtype == spec.dtype]
    if matching:
        return f" It would fit {matching[0]}: the order is the reference's."
    wanted = size.outputs[plan.outputs.index(number)].tensor
    if wanted.numel == spec.numel and wanted.dtype == spec.dtype:
        return " Return view(t, shape)."
    return ""


# --- arguments --------------------------------------------------------------------------------------------------


def check_arguments(
    plan: Plan,
    kernels: Sequence[Kernel],
    limits: LaunchLimits = LaunchLimits(),  # noqa: B008  (frozen)
) -> tuple[Diagnostic, ...]:
    """Every launch against its compiled kernel: number, size and kind of arguments, shared memory, threads, registers.

    Args:
        kernels: what the compiler found, of any target.
        limits: of the device, as the plan was evaluated with.
    """
    by_name = {kernel.name: kernel for kernel in kernels}
    found: dict[tuple[int, str], Diagnostic] = {}
    for half, step in ((h, s) for h in plan.halves for s in h.steps):
        if not isinstance(step, Launch):
            continue
        kernel = by_name.get(step.kernel)
        if kernel is None:
            known = ", ".join(sorted(by_name)) or "none"
            messages = [f"launch {step.kernel}: no such kernel in the device code; compiled: {known}."]
        else:
            messages = [*_resources(step, kernel, limits), *_arguments(half, step, kernel)]
        for message in messages:
            found.setdefault((step.line, message), Diagnostic(message, step.line))
    return tuple(found.values())


def _resources(launch: Launch, kernel: Kernel, limits: LaunchLimits) -> list[str]:
    messages = []
    threads = math.prod(launch.block)
    if threads > kernel.max_threads:
        messages.append(
            f"launch {kernel.name}: {threads:,} threads a block; it is compiled for at most {kernel.max_threads:,} "
            "(__launch_bounds__)."
        )
    # The hardware hands registers to whole warps, eight a thread at a time.
    warps, registers = -(-threads // 32), -(-kernel.registers // 8) * 8
    if kernel.registers and warps * 32 * registers > limits.registers_per_block:
        messages.append(
            f"launch {kernel.name}: {threads:,} threads of {kernel.registers} registers need "
            f"{warps * 32 * registers:,}; a block has {limits.registers_per_block:,}. Launch fewer threads, "
            "or limit them with __launch_bounds__ or compile(max_registers=...)."
        )
    shared = kernel.shared_bytes + launch.shared_bytes
    if shared > limits.shared_bytes:
        messages.append(
            f"launch {kernel.name}: {kernel.shared_bytes:,} bytes of static and {launch.shared_bytes:,} of dynamic "
            f"shared memory; a block has at most {limits.shared_bytes:,}."
        )
    return messages


def _arguments(plan: Plan, launch: Launch, kernel: Kernel) -> list[str]:
    if len(launch.args) != len(kernel.parameters):
        return [
            f"launch {kernel.name}: {len(launch.args)} argument{'s' * (len(launch.args) != 1)} for "
            f"{len(kernel.parameters)} parameters ({parameters_text(kernel)})."
        ]
    messages = []
    for number, (argument, parameter) in enumerate(zip(launch.args, kernel.parameters, strict=True), 1):
        wrong = _mismatch(plan, argument, parameter)
        if wrong:
            messages.append(
                f"launch {kernel.name}: argument {number} is {wrong} ({parameters_text(kernel)})."
            )
    return messages


def parameters_text(kernel: Kernel) -> str:
    """The kernel's parameters for a message: "const float*, int, 4-byte float"."""
    return f"{kernel.name} takes {', '.join(map(_parameter_text, kernel.parameters)) or 'nothing'}"


def _parameter_text(parameter: KernelParameter) -> str:
    if parameter.type:
        return parameter.type
    return "pointer" if parameter.kind == "pointer" else f"{parameter.size}-byte {parameter.kind}"


def _mismatch(plan: Plan, argument: TensorArg | ScalarArg | PointersArg, parameter: KernelParameter) -> str:
    """What is wrong with an argument, continuing "argument 3 is"; empty where it fits."""
    wanted = _parameter_text(parameter)
    if isinstance(argument, TensorArg | PointersArg):
        what = (
            f"the tensor {_tensor_text(plan.tensors[argument.tensor])}"
            if isinstance(argument, TensorArg)
            else "pointers"
        )
        if parameter.kind not in ("pointer", "unknown") or parameter.size != 8:
            return f"{what}, the parameter is {wanted}"
        pointee = _pointee(parameter.type)
        if isinstance(argument, PointersArg):
            return (
                f"pointers, the parameter is {wanted}, not an array of pointers" if pointee in _DTYPES else ""
            )
        if pointee in _DTYPES and plan.tensors[argument.tensor].spec.dtype not in _DTYPES[pointee]:
            return f"{what}, the parameter is {wanted}"
        return ""
    try:
        encode_scalar(argument, parameter)
    except ValueError as error:
        return str(error)
    return ""


def _tensor_text(tensor: PlanTensor) -> str:
    return f"{tensor.path.partition(':')[2]}: {tensor.spec}" if tensor.path else str(tensor.spec)


def _pointee(type_: str) -> str:
    """What a C++ pointer type points at, without qualifiers; empty where it is no plain pointer."""
    if not type_.endswith("*"):
        type_ = re.sub(r"\b(__restrict__|__restrict|restrict|const|volatile)\s*$", "", type_.strip()).strip()
    if not type_.endswith("*") or type_.count("*") != 1:
        return ""
    words = re.sub(r"\b(const|volatile|struct|class|std\s*::)(?=\W|$)", " ", type_[:-1]).split()
    return " ".join(words)


_SAME = {
    "float64": ("double",),
    "float32": ("float",),
    "float16": ("half",),
    "bfloat16": ("nv_bfloat16", "__nv_bfloat16"),
    "int64": ("long", "long int", "int64_t", "long long int", "signed long", "ptrdiff_t"),
    "int32": ("int32_t", "signed int", "signed"),
    "int16": ("int16_t", "short int"),
    "int8": ("int8_t", "char"),
    "uint8": ("uint8_t", "char"),
    "bool": ("bool",),
}
_DTYPES: dict[str, set[str]] = {}
"""Dtypes that a pointer to this C++ type may point at. Vectors (float4) and unsigned types of other widths are left
out: reading elements as raw words is usual and legal, so nothing is said about them."""
for _dtype, _ctype in C_TYPES.items():
    if _ctype not in ("float2", "double2"):
        for _name in (_ctype, *_SAME.get(_dtype, ())):
            _DTYPES.setdefault(_name, set()).add(_dtype)
# A bool tensor is bytes of 0 and 1, and bytes are how raw data is usually walked.
for _name in ("unsigned char", "uint8_t", "signed char", "int8_t", "char"):
    _DTYPES.pop(_name, None)
_DTYPES["float"].add("complex64")
_DTYPES["double"].add("complex128")


# --- packing ----------------------------------------------------------------------------------------------------


def encode_scalar(argument: ScalarArg, parameter: KernelParameter) -> bytes:
    """The scalar in the parameter's width, little-endian.

    Raises:
        ValueError: it does not fit; the message continues "argument 3 is".
    """
    wanted = _parameter_text(parameter)
    size, kind, value = parameter.size, argument.kind, argument.value
    is_float = kind in ("float", "f32", "f64")
    what = f"the {'float' if is_float else 'bool' if kind == 'bool' else 'int'} {value!r}"
    if parameter.kind in ("pointer", "struct"):
        raise ValueError(f"{what}, the parameter is {wanted}")
    if parameter.kind != "unknown" and is_float != (parameter.kind == "float"):
        fix = f"write {float(value)!r} or f32(...)" if not is_float else "write an int or i32(...)"
        raise ValueError(f"{what}, the parameter is {wanted}: {fix}")
    forced = {"f32": 4, "i32": 4, "f64": 8, "i64": 8}.get(kind)
    if forced is not None and forced != size:
        raise ValueError(f"{kind}, {forced} bytes, the parameter is {wanted} of {size} bytes")
    if is_float:
        return _encode_float(float(value), parameter, wanted)
    if size not in (1, 2, 4, 8):
        raise ValueError(f"{what}, the parameter is {wanted} of {size} bytes")
    number = int(value)
    if re.search(r"\bbool\b", parameter.type) and number not in (0, 1):
        raise ValueError(f"{what}, which does not fit the parameter {wanted}: write True or False")
    unsigned = re.search(r"\bunsigned\b|\bu?int\d+_t\b|\bsize_t\b|\bbool\b", parameter.type) is not None
    unsigned = unsigned and not re.search(r"\bint\d+_t\b", parameter.type)
    signed = parameter.kind == "int" and bool(parameter.type) and not unsigned
    low = 0 if unsigned else -(1 << (8 * size - 1))
    high = 1 << (8 * size - (1 if signed else 0))
    if not low <= number < high:
        raise ValueError(f"{what}, which does not fit the parameter {wanted} of {size} bytes")
    return (number & ((1 << (8 * size)) - 1)).to_bytes(size, "little")


def _encode_float(value: float, parameter: KernelParameter, wanted: str) -> bytes:
    brain = parameter.size == 2 and "bfloat16" in parameter.type
    form = "<f" if brain else {2: "<e", 4: "<f", 8: "<d"}.get(parameter.size)
    if form is None:
        raise ValueError(f"the float {value!r}, the parameter is {wanted} of {parameter.size} bytes")
    try:
        packed = struct.pack(form, value)
    except OverflowError:
        raise ValueError(f"the float {value!r}, which is too large for the parameter {wanted}") from None
    if not brain:
        return packed
    (bits,) = struct.unpack("<I", packed)
    if value == value:  # round to nearest even; a NaN keeps its upper half
        bits += 0x7FFF + ((bits >> 16) & 1)
    return struct.pack("<H", (bits >> 16) & 0xFFFF)


def pack_arguments(launch: Launch, kernel: Kernel) -> tuple[bytes | TensorArg | PointersArg, ...]:
    """A launch's arguments in the kernel's order: scalars as bytes of the parameter's width, the rest for the runner.

    Raises:
        ValueError: they do not fit (`check_arguments` says so first).
    """
    if len(launch.args) != len(kernel.parameters):
        raise ValueError(f"{len(launch.args)} arguments for {len(kernel.parameters)} parameters")
    return tuple(
        encode_scalar(a, p) if isinstance(a, ScalarArg) else a
        for a, p in zip(launch.args, kernel.parameters, strict=True)
    )
