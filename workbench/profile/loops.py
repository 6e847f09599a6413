"""How much integer work machine code does beside its floating-point work, in the loop where most of that is."""

from __future__ import annotations

import re
from collections.abc import Iterable

from workbench.profile.sass import Instruction, SassFunction

_FLOATS = re.compile(
    r"(?:FADD|FMUL|FFMA|FMNMX|FSETP|FSEL|HADD2|HMUL2|HFMA2|DADD|DMUL|DFMA|FADD32I|FMUL32I|FFMA32I)\b"
)
_INTEGERS = re.compile(r"(?:I[A-Z]+\d?|LEA|LOP3|SHF|SEL|PRMT|BRA|VIADD|VIMNMX|LOP|SHL|SHR|XMAD|POPC|FLO)\b")
ENOUGH = 4
"""Floating-point instructions that a loop must have for its ratio to mean anything."""


def integers_per_float(functions: Iterable[SassFunction]) -> dict[str, float]:
    """By symbol: integer instructions and branches over floating-point ones, in the stretch of code that ends with a
    branch or a barrier and has most of the latter. A function without such a stretch is left out.
    """
    found: dict[str, float] = {}
    for function in functions:
        best = max(_stretches(function.instructions), key=lambda s: s[0], default=(0, 0))
        if best[0] >= ENOUGH:
            found[function.symbol] = best[1] / best[0]
    return found


def _stretches(instructions: tuple[Instruction, ...]) -> Iterable[tuple[int, int]]:
    """Floating-point and integer instructions of each stretch between two branches or barriers."""
    floats = integers = 0
    for instruction in instructions:
        floats += bool(_FLOATS.match(instruction.opcode))
        integers += bool(_INTEGERS.match(instruction.opcode))
        if instruction.name in ("BRA", "EXIT", "BSYNC", "BAR"):
            yield floats, integers
            floats = integers = 0
