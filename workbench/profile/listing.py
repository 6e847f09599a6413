"""Machine code as a person reads it: what the audit had disassembled, with the candidate's lines beside it."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.core.build import CudaBuild
from workbench.core.errors import JudgeError
from workbench.profile.places import own_line
from workbench.profile.sass import SassFunction, disassemble

MAX_INSTRUCTIONS = 50_000
"""Of one build; about 4 MB of text, and 0.1 s."""

MAX_LINE = 400
"""Characters: a call names what it calls, and a name may be as long as the source."""

_PROBE = "workbench_probe_"
"""The compiler's own kernel, by which it learns the types of name expressions; no plan launches it."""


def listing(build: CudaBuild) -> str:
    """Every function of a build's cubin: "  /*0010*/  @!P0 LDG.E R2, desc[UR4][R2.64] ;  // line 12".

    The line is the innermost one of the candidate's own file, named where it changes; no-operations are left out. "" where
    the cubin cannot be disassembled. After an audit of the same cubin nothing is disassembled again.
    """
    try:
        functions = disassemble(build.cubin)
    except JudgeError:
        return ""
    named = {kernel.symbol: kernel.name for kernel in build.kernels}
    lines: list[str] = []
    left = MAX_INSTRUCTIONS
    for function in functions:
        if _PROBE in function.symbol and function.symbol not in named:
            continue
        name = named.get(function.symbol)
        what = f"{name}  ({function.symbol})" if name not in (None, function.symbol) else function.symbol
        lines.append(
            f"// {_cut(what)}: {len(function.instructions)} instructions, {build.arch}, {build.version}"
        )
        lines += _lines(function, left)
        left -= len(function.instructions)
        if left < 0:
            lines.append(f"// cut off here: more than {MAX_INSTRUCTIONS:,} instructions")
            break
        lines.append("")
    return "\n".join(lines) + "\n"


def _lines(function: SassFunction, most: int) -> Iterator[str]:
    labels: dict[int, list[str]] = {}
    for label, number in function.labels:
        labels.setdefault(number, []).append(label)
    shown = 0
    for number, instruction in enumerate(function.instructions[: max(most, 0)]):
        yield from (f"{_cut(label)}:" for label in labels.get(number, ()))
        line = own_line(instruction)
        guard = f"@{instruction.predicate}" if instruction.predicate else ""
        text = (
            f"  /*{instruction.offset:04x}*/  {guard:>5} {instruction.opcode} {instruction.operands}".rstrip()
        )
        yield f"{_cut(text)} ;" + (f"  // line {line}" if line and line != shown else "")
        shown = line


def _cut(text: str) -> str:
    return text if len(text) <= MAX_LINE else text[: MAX_LINE - 1] + "…"
