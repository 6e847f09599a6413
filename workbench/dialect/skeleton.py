"""A candidate to start from: a plan that evaluates at every size of a task, and a kernel with its parameters."""

from __future__ import annotations

import itertools
import keyword
import math
from collections.abc import Sequence

from workbench.core.task import Parameter, SizeSpec
from workbench.dialect.backward import backward_size
from workbench.dialect.dtypes import C_TYPES
from workbench.dialect.signature import find, identifier

MAX_NAMED = 24
"""Parameters that a skeleton passes to its kernel; a whole language model's are chosen by hand."""

_HEADERS = {
    "float16": "#include <cuda_fp16.h>",
    "bfloat16": "#include <cuda_bf16.h>",
    "float8_e4m3fn": "#include <cuda_fp8.h>",
    "float8_e5m2": "#include <cuda_fp8.h>",
}


def skeleton(sizes: Sequence[SizeSpec], *, backward: bool = False) -> str:
    """A whole file that passes `parse` at each of a task's sizes, compiles, and computes nothing yet; with `backward`
    gradients too."""
    size = sizes[0]
    chosen = [p for p in size.parameters if p.tensor is not None or isinstance(p.value, bool | int | float)]
    chosen = chosen[:MAX_NAMED]
    names = _names(size, chosen)
    direct = [n for p, n in zip(chosen, names, strict=True) if _by_name(size, p, n)]
    body = [
        f'    {n} = params["{p.path}"]'
        for p, n in zip(chosen, names, strict=True)
        if not _by_name(size, p, n)
    ]
    outputs, results = _outputs(sizes, chosen, names, body)
    target = outputs[0] if outputs else next((n for p, n in zip(chosen, names, strict=True) if p.mutable), "")
    count = f"{target}.numel" if target else "1"
    arguments = [n for n in (*names, *outputs)] + ([f"i64({count})"] if target else [])
    parameters = [_parameter(p, n) for p, n in zip(chosen, names, strict=True)]
    made = [o for o in size.outputs if o.input is None]
    parameters += [f"{C_TYPES[o.tensor.dtype]}* __restrict__ {n}" for o, n in zip(made, outputs, strict=True)]
    parameters += ["long long count"] if target else []
    dtypes = [p.tensor.dtype for p in chosen if p.tensor] + [o.tensor.dtype for o in size.outputs]
    headers = sorted({_HEADERS[d] for d in dtypes if d in _HEADERS})
    plan = [
        "BLOCK = tune(256, [128, 256, 512])",
        "",
        f"def forward({', '.join(direct)}):",
        *body,
        f'    launch("kernel", grid=max(cdiv({count}, BLOCK), 1), block=BLOCK,',
        f"           args=[{', '.join(arguments)}])",
        f"    return {', '.join(results)}" if results else "    return None",
    ]
    second: list[str] = []
    if backward and size.gradients:
        more, second = _backward(size, chosen, names)
        plan += ["", *more]
    lines = ["// clang-format off", "/*@plan", *plan, "@*/", "// clang-format on", *headers, ""]
    lines += _kernel("kernel", parameters, target, bool(target))
    return "\n".join([*lines, *second])


def _kernel(name: str, parameters: Sequence[str], target: str, counted: bool) -> list[str]:
    joined = ",\n                                  ".join(parameters)
    lines = [f'extern "C" __global__ void {name}({joined})']
    lines += ["{", "    const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;"]
    if counted:
        lines.append("    if (i >= count) return;")
    return [*lines, f"    // Compute element i of {target or 'the result'} here.", "    (void)i;", "}", ""]


def _backward(
    forward: SizeSpec, chosen: Sequence[Parameter], names: Sequence[str]
) -> tuple[list[str], list[str]]:
    """The lines of the plan's `backward`, and of its kernel."""
    size = backward_size(forward, (), ())
    incoming = [p for p in size.parameters if p.role == "gradient"]
    given = [*chosen, *incoming]
    words = [*names]
    for parameter in incoming:
        word = parameter.name
        while word in words:
            word += "_"
        words.append(word)
    of = {p.path: n for p, n in zip(given, words, strict=True)}
    named = [n for p, n in zip(given, words, strict=True) if _by_name(size, p, n)]
    body = [f'    {n} = params["{p.path}"]' for p, n in zip(given, words, strict=True) if n not in named]
    made: list[str] = []
    for path in forward.gradients:
        source = of.get(path, f'params["{path}"]')
        name = f"d_{of.get(path, len(made))}"
        while name in words or name in made:
            name += "_"
        body.append(f"    {name} = empty_like({source})")
        made.append(name)
    count = f"{words[len(chosen)]}.numel"
    handed = made[:MAX_NAMED]
    plan = [
        f"def backward({', '.join(named)}):",
        *body,
        f'    launch("kernel_backward", grid=max(cdiv({count}, BLOCK), 1), block=BLOCK,',
        f"           args=[{', '.join([*words, *handed])}, i64({count})])",
        f"    return {', '.join(made)}",
    ]
    parameters = [_parameter(p, n, constant=True) for p, n in zip(given, words, strict=True)]
    wanted = [o.tensor for o in size.outputs][:MAX_NAMED]
    parameters += [f"{C_TYPES[t.dtype]}* __restrict__ {n}" for t, n in zip(wanted, handed, strict=True)]
    return plan, _kernel("kernel_backward", [*parameters, "long long count"], ", ".join(handed[:4]), True)


def _by_name(size: SizeSpec, parameter: Parameter, name: str) -> bool:
    """Whether `forward` reaches this parameter under this very name."""
    found = find(size, name)
    return isinstance(found, Parameter) and found.path == parameter.path


_TAKEN = frozenset(
    {
        "kernel",
        "kernel_backward",
        "count",
        "i",
        "BLOCK",
        "launch",
        "tune",
        "cdiv",
        "max",
        "i64",
        "params",
        "empty",
        "forward",
    }
)
_C_WORDS = (
    "alignas alignof and asm auto bool break case catch char class const constexpr continue default delete do double "
    "else enum explicit export extern false float for friend goto if inline int long mutable namespace new noexcept "
    "not nullptr operator or private protected public register return short signed sizeof static struct switch "
    "template this throw true try typedef typename union unsigned using virtual void volatile while xor"
)


def _names(size: SizeSpec, chosen: Sequence[Parameter]) -> list[str]:
    """One identifier for each parameter, legal and unique in Python and C++."""
    names: list[str] = []
    for parameter in chosen:
        name = parameter.name if parameter.name.isidentifier() else identifier(parameter.name)
        if not name.isascii() or not name.isidentifier():
            name = "p_" + "".join(c for c in name if c.isascii())
        while name in names or name in _TAKEN or name in _C_WORDS.split() or keyword.iskeyword(name):
            name += "_"
        names.append(name)
    return names


def _outputs(
    sizes: Sequence[SizeSpec], chosen: Sequence[Parameter], names: Sequence[str], body: list[str]
) -> tuple[list[str], list[str]]:
    """Names of the tensors that the plan makes, and of what it returns; adds their lines to the body."""
    made: list[str] = []
    results: list[str] = []
    size = sizes[0]
    named = {n: p.path for p, n in zip(chosen, names, strict=True) if p.tensor is not None}
    paths = {path: n for n, path in named.items()}
    for i, output in enumerate(size.outputs):
        if output.input is not None and output.input in paths:
            results.append(paths[output.input])
            continue
        name = "y" if len(size.outputs) == 1 else f"y_{output.name}"
        name = name if name.isidentifier() and name.isascii() else f"y{len(results)}"
        while name in names or name in made:
            name += "_"
        body.append(f"    {name} = {_allocation(sizes, i, named)}")
        made.append(name)
        results.append(name)
    return made, results


def _allocation(sizes: Sequence[SizeSpec], output: int, named: dict[str, str]) -> str:
    """An allocation in the words of inputs that have these extents at every size, so that it holds at other sizes."""
    shapes = [s.outputs[output].tensor.shape for s in sizes]
    dtype = sizes[0].outputs[output].tensor.dtype
    tables = [s.by_path() for s in sizes]
    of = {n: [t[path].tensor for t in tables if path in t] for n, path in named.items()}
    known = {n: [t.shape for t in specs if t is not None] for n, specs in of.items()}
    for name, seen in known.items():
        if seen == shapes and shapes[0]:
            same = all(t is not None and t.dtype == dtype for t in of[name])
            return f"empty_like({name})" if same else f"empty({name}.shape, {dtype!r})"
    extents = [
        _extent([shape[axis] if axis < len(shape) else 0 for shape in shapes], known)
        for axis in range(len(shapes[0]))
    ]
    inside = ", ".join(extents) + ("," if len(extents) == 1 else "")
    return f"empty(({inside}), {dtype!r})"


def _extent(wanted: Sequence[int], known: dict[str, list[tuple[int, ...]]]) -> str:
    """An expression with these values at the sizes: an extent of an input, a number of elements, a product of two."""
    words: dict[str, list[int]] = {}
    for name, shapes in known.items():
        ranks = {len(shape) for shape in shapes}
        if len(shapes) == len(wanted) and len(ranks) == 1:
            words |= {f"{name}.shape[{a}]": [shape[a] for shape in shapes] for a in range(ranks.pop())}
            words[f"{name}.numel"] = [math.prod(shape) for shape in shapes]
    if len(set(wanted)) == 1 and wanted[0] <= 1:
        return str(wanted[0])
    for word, values in words.items():
        if values == list(wanted):
            return word
    for (a, left), (b, right) in itertools.combinations(words.items(), 2):
        if [x * y for x, y in zip(left, right, strict=True)] == list(wanted):
            return f"{a} * {b}"
    if len(set(wanted)) == 1:
        return str(wanted[0])
    return _from_one(wanted, words) or str(wanted[0])


def _from_one(wanted: Sequence[int], words: dict[str, list[int]]) -> str:
    """An expression of one extent, as of convolutions and poolings; "" where none tells these values apart."""
    found: list[tuple[int, int, str]] = []
    for word, values in words.items():
        # The first two values that differ give the slope, or one over it; all of them have to agree.
        other = next((n for n, value in enumerate(values) if value != values[0]), None)
        if other is None or wanted[other] == wanted[0]:
            continue
        run, rise = values[other] - values[0], wanted[other] - wanted[0]
        up, down = rise // run, run // rise
        if up * run == rise and up > 0:
            offset = wanted[0] - up * values[0]
            if [up * v + offset for v in values] == list(wanted):
                scaled = word if up == 1 else f"{up} * {word}"
                found.append((up, abs(offset), scaled + _signed(offset)))
        elif down * rise == run and down > 0:
            offset = down * wanted[0] - values[0]
            if [(v + offset) // down for v in values] == list(wanted):
                inside = f"({word}{_signed(offset)})" if offset else word
                found.append((down, abs(offset), f"{inside} // {down}"))
    if found:
        return min(found)[2]
    for word, values in words.items():
        table = dict(zip(values, wanted, strict=True))
        if [table[v] for v in values] == list(wanted):
            return f"{{{', '.join(f'{v}: {w}' for v, w in table.items())}}}[{word}]"
    return ""


def _signed(offset: int) -> str:
    return f" {'-' if offset < 0 else '+'} {abs(offset)}" if offset else ""


def _parameter(parameter: Parameter, name: str, *, constant: bool = False) -> str:
    if parameter.tensor is not None:
        const = "" if parameter.mutable and not constant else "const "
        return f"{const}{C_TYPES[parameter.tensor.dtype]}* __restrict__ {name}"
    if isinstance(parameter.value, bool):
        return f"bool {name}"
    if isinstance(parameter.value, int):
        return f"long long {name}" if abs(parameter.value) >= 1 << 31 else f"int {name}"
    return f"float {name}"
