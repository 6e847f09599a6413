"""The dialect in words: for a person on a terminal, and for a prompt."""

from __future__ import annotations

from workbench.core.plan import LaunchLimits
from workbench.core.task import Output, Parameter, SizeSpec, TaskInfo
from workbench.core.tensors import contiguous
from workbench.dialect import ops
from workbench.dialect.backward import backward_size
from workbench.dialect.signature import signature_text
from workbench.dialect.skeleton import skeleton

DIALECT = """\
A candidate is one .cu file: device code, and a plan in a comment. There is no host code: a trusted program compiles the
device code, evaluates the plan, allocates, launches and checks.

THE PLAN stands between /*@plan (alone on its line) and @*/, exactly once. It is Python that sees shapes, dtypes, strides and
scalars, never data; it is evaluated once for each size, in a sandbox without files, network or imports (math is there).
  def forward(x, weight, eps):    parameters by name, from the task's signature; params["layers.0.weight"] reaches any name
  t.shape t.dtype t.strides t.numel t.ndim    of a tensor; t.dtype.itemsize, t.dtype.ctype ("float", "__half")
  empty(shape, dtype)  empty_like(t)          new memory, not initialised; scratch unless returned
  zeros(shape, dtype)                         new memory, filled with zeros inside the measured time
  view(t, shape)                              the same memory under another shape (one -1 is worked out)
  pointers([a, b])                            an argument: the address of an array of the tensors' addresses
  launch(kernel, grid, block, args, shared=0, cluster=None, cooperative=False)
      kernel: an extern "C" name or a C++ name expression such as "rmsnorm<float, 256>"; grid counts blocks; grid and block
      are an int or (x, y, z); args: tensors and numbers, checked against the kernel's parameters; shared: dynamic bytes
  f32(v) f64(v) i32(v) i64(v)                 force an argument's type; an int never passes for a float parameter
  torch_op("aten.mm", a, b)                   a library step, labelled in every verdict; a task may forbid it
  BLOCK = tune(256, [128, 256, 512])          a knob: default and choices
  require(condition, "why")                   sizes and knob settings that the plan does not cover
  compile(defines={"BLOCK": BLOCK}, fast_math=False, max_registers=None)    also inside forward
  save(t)                                     hands a tensor to backward, where it is read only; save(t, name="rstd") names it
  def backward(x, weight, rstd, grad_y):      beside forward, where gradients are wanted: it takes what forward may take, what
      forward saved, and an incoming gradient for each output, called after the variable that forward returns (return y:
      grad_y) or the output (grad_out). It returns the gradients in the signature's order, or as a dict by name; None for
      what has none. All it is given is read only; the incoming gradient itself may be returned.
  cdiv(a, b) round_up(a, b) next_power_of_2(n) min max sum range len prod gcd ceil floor log2 sqrt ...
  dtypes: "float32" or float32, float16 (half), bfloat16, float64, int64 (long), int32, int16, int8, uint8, bool, ...
Returned tensors (one, a tuple, or a dict by output name) have the reference's shapes and dtypes, in its order. An input is
returned only where the reference returns it. Inputs marked mutable are written in place. Launches run in order on one stream.

DEVICE CODE is C++17 for CUDA: __global__ kernels and whatever they call. CUDA's device headers are there (fp16, bf16, fp8, mma,
cooperative groups, libcu++, CUB's single headers); the host target runs a subset and says what it cannot run. Memory that is
not written holds random bytes. Pointers are 16-byte aligned. Refused: host code, includes of files by path, state that outlives
a launch (writable globals), malloc, printf, assert, clocks and timers, launches from the device.
"""


def limits_text(limits: LaunchLimits, arch: str = "") -> str:
    """What a launch may ask of the device, in one paragraph."""
    cluster = (
        f"; clusters of at most {limits.cluster_blocks} blocks"
        if limits.cluster_blocks > 1
        else "; no clusters"
    )
    name = f" ({arch})" if arch else ""
    return (
        f"DEVICE LIMITS{name}: {limits.threads_per_block:,} threads a block (block at most {limits.block}), grid at most "
        f"{limits.grid}, {limits.shared_bytes:,} bytes of shared memory a block (static plus dynamic), "
        f"{limits.registers_per_block:,} registers a block{cluster}.\n"
    )


def operators_text() -> str:
    """The allowlist of `torch_op`."""
    return f"LIBRARY STEPS for torch_op: {', '.join(name.removeprefix('aten.') for name in ops.names())}.\n"


def sizes_text(info: TaskInfo) -> str:
    """The signature at each size of a task, and what the task asks of a candidate."""
    lines = [f"TASK {info.name}"]
    for size in info.sizes:
        note = "" if size.judged else " (not run on this target)"
        lines.append(f"  size {size.name}{note}: {signature_text(size)}")
    mutable = [p.name for p in info.sizes[0].parameters if p.mutable]
    if mutable:
        lines.append(f"  written in place: {', '.join(mutable)}")
    returned = [f"{o.name} is {o.input}" for o in info.sizes[0].outputs if o.input]
    if returned:
        lines.append(f"  returned as the same tensor: {', '.join(returned)}")
    if info.free_dims:
        lines.append(
            f"  must work at any value of: {', '.join(info.free_dims)}; other extents may be hard-coded"
        )
    if gradients := gradients_text(info.sizes[0]):
        lines.append(
            f"  {gradients}{'' if info.backward else ' (not asked for: a candidate may leave it out)'}"
        )
    if info.own_kernels_only:
        lines.append("  own kernels only: torch_op is refused")
    lines += [f"  note: {note}" for note in info.notes]
    return "\n".join(lines) + "\n"


def gradients_text(size: SizeSpec) -> str:
    """The signature of `backward` in one line, without what it shares with forward's; "" where there is no gradient."""
    if not size.gradients:
        return ""
    whole = backward_size(size, (), ())
    incoming = ", ".join(str(p) for p in whole.parameters if p.role == "gradient")
    wanted = ", ".join(f"{o.name}: {o.tensor}" for o in whole.outputs)
    return f"backward(..., {incoming}) -> {wanted}"


EXAMPLE = SizeSpec(
    name="example",
    values={},
    parameters=(
        Parameter("x", "x", "input", contiguous((512, 4096), "float32")),
        Parameter("weight", "weight", "parameter", contiguous((4096,), "float32")),
        Parameter("eps", "eps", "attribute", None, 1e-6),
    ),
    outputs=(Output("out", contiguous((512, 4096), "float32")),),
)
"""The signature of the skeleton that stands for a task where none is named."""


def reference(info: TaskInfo | None, limits: LaunchLimits, arch: str = "") -> str:
    """Everything that a writer of candidates needs: dialect, limits, the task's signature and a skeleton.

    Args:
        info: the loaded task; None for the dialect alone, with an example's skeleton.
    """
    parts = [DIALECT, limits_text(limits, arch)]
    if info is None or not info.own_kernels_only:
        parts.append(operators_text())
    note = "it evaluates and compiles; its kernel computes nothing yet"
    if info is not None:
        parts.append(sizes_text(info))
        parts.append(f"SKELETON ({note})\n{skeleton(info.sizes, backward=info.backward)}")
    else:
        parts.append(f"EXAMPLE SIGNATURE: {signature_text(EXAMPLE)}\n")
        parts.append(f"SKELETON for it ({note})\n{skeleton([EXAMPLE])}")
    return "\n".join(parts)
