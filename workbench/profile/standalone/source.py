"""main.cpp of a standalone program: one statement for each buffer and each step, in the plan's order."""

from __future__ import annotations

import math
from collections.abc import Iterator

from workbench.core.build import Kernel
from workbench.profile.standalone.program import (
    Address,
    Addresses,
    Argument,
    LaunchStep,
    Program,
    Scalar,
    Zero,
)
from workbench.profile.standalone.quoting import comment, identifier, literal, words

_STEP_NAME = 80


def main_cpp(program: Program) -> str:
    """The text of main.cpp; it includes driver.h."""
    values = ", ".join(f"{name}={value}" for name, value in program.values.items())
    at = f'size "{program.size}"' + (f" ({values})" if values else "")
    lines = [
        comment(f"{program.candidate} of the task {program.task}, at {at}, as a program of its own."),
        comment(f"Inputs: case {program.case}, seed {program.seed}. Made by workbench {program.workbench}."),
        "// README.txt has the command lines for ncu, compute-sanitizer and cuda-gdb.",
        "",
        '#include "driver.h"',
        "",
        "int main(int argc, char **argv) {",
        *("    " + line if line else "" for line in _body(program)),
        "}",
        "",
    ]
    return "\n".join(lines)


def _body(program: Program) -> Iterator[str]:
    names = [f"b{number}_{identifier(buffer.name)}" for number, buffer in enumerate(program.buffers)]
    yield f"Gpu gpu(argc, argv, {literal(program.arch)});"
    yield ""
    for number, kernel in enumerate(program.kernels):
        yield _kernel(number, kernel, program)
    yield ""
    for name, buffer in zip(names, program.buffers, strict=True):
        made = f"const Buffer {name} = gpu.buffer({literal(words(buffer.name))}, {buffer.nbytes}u);"
        yield f"{made}  {comment(buffer.about)}"
    for at, step in enumerate(program.steps):
        if isinstance(step, LaunchStep):
            yield from _tables(at, step, names)
    yield ""
    for name, buffer in zip(names, program.buffers, strict=True):
        if buffer.file:
            yield f"gpu.load({name}, {literal(buffer.file)});"
    yield ""
    yield "for (long call = 0; call < gpu.repeat; ++call) {"
    restored = [(n, b) for n, b in zip(names, program.buffers, strict=True) if b.restored and b.file]
    if restored:
        yield "    if (call) {  // the steps below write these inputs in place"
        yield from (f"        gpu.load({name}, {literal(buffer.file)});" for name, buffer in restored)
        yield "    }"
    for at, step in enumerate(program.steps):
        if at == program.backward_from:
            yield ""
            yield "    // backward"
        yield from (f"    {line}" if line else "" for line in _step(program, at, step, names))
    yield "    gpu.repeated();"
    yield "}"
    yield ""
    for saved in program.saved:
        yield f"gpu.save({names[saved.buffer]}, {saved.nbytes}u, {literal(saved.file)});  {comment(saved.about)}"
    yield "gpu.end();"
    yield "return 0;"


def _kernel(number: int, kernel: Kernel, program: Program) -> str:
    launches = [s for s in program.launches if s.kernel == kernel.name]
    shared = max((s.shared_bytes for s in launches), default=0)
    cluster = max((math.prod(s.cluster) for s in launches if s.cluster), default=0)
    name, symbol = literal(words(kernel.name, _STEP_NAME)), literal(kernel.symbol)
    found = f"const Kernel k{number} = gpu.kernel({name}, {symbol}, {shared}, {cluster});"
    cost = f"{kernel.registers} registers, {kernel.shared_bytes} bytes of static shared memory"
    return (
        f"{found}  {comment(cost + (f', {kernel.spill_bytes} bytes spilled' if kernel.spill_bytes else ''))}"
    )


def _tables(at: int, step: LaunchStep, names: list[str]) -> Iterator[str]:
    for place, argument in enumerate(step.args):
        if isinstance(argument, Addresses):
            of = ", ".join(names[b] for b in argument.buffers)
            yield f'const Buffer {_table(at, place)} = gpu.addresses("an array of pointers", {{{of}}});'


def _table(at: int, place: int) -> str:
    return f"table{at + 1}_{place}"


def _step(program: Program, at: int, step: Zero | LaunchStep, names: list[str]) -> Iterator[str]:
    yield ""
    where = f" (line {step.line})" if step.line else ""
    number = f"step {at + 1} of {len(program.steps)}: "
    if isinstance(step, Zero):
        buffer = program.buffers[step.buffer]
        said = f"{number}{words(buffer.name, _STEP_NAME)} to zero, {buffer.nbytes} bytes{where}"
        yield f"gpu.begin({literal(said)});"
        yield f"gpu.zero({names[step.buffer]});"
        return
    extents = f"<<<{_extent(step.grid)}, {_extent(step.block)}, {step.shared_bytes}>>>"
    further = f", clusters of {_extent(step.cluster)}" if step.cluster else ""
    further += ", cooperative" if step.cooperative else ""
    said = f"{number}{words(step.kernel, _STEP_NAME)}{extents}{further}{where}"
    yield f"gpu.begin({literal(said)});"
    kernel = next(n for n, k in enumerate(program.kernels) if k.name == step.kernel)
    yield "{"
    for place, argument in enumerate(step.args):
        yield f"    {_argument(at, place, argument, names)}"
    passed = ", ".join(f"&a{place}" for place in range(len(step.args)))
    # An array of no elements is none in C++.
    yield f"    void *arguments[] = {{{passed or 'nullptr'}}};"
    cluster = step.cluster or (0, 0, 0)
    cooperative = "true" if step.cooperative else "false"
    yield (
        f"    gpu.launch(k{kernel}, {_braced(step.grid)}, {_braced(step.block)}, {step.shared_bytes}, "
        f"{_braced(cluster)}, {cooperative}, arguments);"
    )
    yield "}"


def _argument(at: int, place: int, argument: Argument, names: list[str]) -> str:
    if isinstance(argument, Scalar):
        bits = int.from_bytes(argument.data, "little")
        size = len(argument.data)
        value = f"std::uint{8 * size}_t a{place} = 0x{bits:0{2 * size}x}{'u' if size < 8 else 'ull'};"
        return (
            f"{value}  {comment(f'{argument.ctype}: {argument.text}' if argument.ctype else argument.text)}"
        )
    name = names[argument.buffer] if isinstance(argument, Address) else _table(at, place)
    value = f"CUdeviceptr a{place} = {name}.address;"
    return f"{value}  {comment(argument.ctype)}" if argument.ctype else value


def _extent(extent: tuple[int, int, int]) -> str:
    """As CUDA's launches are written: "512", "(32, 8)"."""
    shown = list(extent)
    while len(shown) > 1 and shown[-1] == 1:
        shown.pop()
    return str(shown[0]) if len(shown) == 1 else f"({', '.join(map(str, shown))})"


def _braced(extent: tuple[int, int, int]) -> str:
    return "{" + ", ".join(map(str, extent)) + "}"
