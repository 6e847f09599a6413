"""How machine code accesses memory, by source line: how wide, and how many loads are on their way at once.

A line's figures are those of its widest access and of its largest batch: the compiler makes a narrow or short copy of a
loop's body for what its unrolled one leaves over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePath

import msgspec

from workbench.profile.places import CANDIDATE
from workbench.profile.sass import Instruction, SassFunction

_SPACES = {"LDG": "global", "LD": "global", "STG": "global", "ST": "global", "LDS": "shared", "STS": "shared"}
_STORES = frozenset({"STG", "ST", "STS"})
_REGISTER = re.compile(r"\bR(\d+)(\.64)?")
_ENDS = frozenset({"BRA", "BAR", "EXIT", "WARPSYNC", "BSYNC", "RET", "CALL", "BRX"})
"""A batch does not go on past these."""
DEEPEST = 16
"""Loads of a thread that are taken to be on their way at most."""


class LineAccesses(msgspec.Struct, frozen=True):
    """Accesses that one source line makes to one kind of memory."""

    width: int
    """Bytes a thread, of the widest."""
    in_flight: int
    """Loads from global memory of its largest batch: issued before the first result of it is used; 1 for others."""
    looped: bool = False
    """An update that is made by comparing and swapping until it succeeds."""


Key = tuple[str, bool, int]
"""Space ("global", "shared", "atomic global", "atomic shared"), whether it is a store, line."""


def accesses_by_line(functions: Iterable[SassFunction], file: str = CANDIDATE) -> dict[Key, LineAccesses]:
    """By space, direction and line in `file`, the candidate's own as the compiler names it (the innermost of an inline chain that lies in it)."""
    found: dict[Key, LineAccesses] = {}
    for function in functions:
        batches = _batches(function)
        for number, instruction in enumerate(function.instructions):
            atomic = instruction.name in ("ATOM", "ATOMG", "RED", "REDG", "ATOMS")
            space = _SPACES.get(instruction.name) or (
                f"atomic {'shared' if instruction.name == 'ATOMS' else 'global'}" if atomic else ""
            )
            line = _line(instruction, file)
            if not space or not line:
                continue
            key = (space, atomic or instruction.name in _STORES, line)
            old = found.get(key, LineAccesses(1, 1))
            found[key] = LineAccesses(
                max(old.width, _width(instruction.opcode)),
                max(old.in_flight, batches.get(number, 1)),
                old.looped or "CAS" in instruction.opcode,
            )
    return found


def _line(instruction: Instruction, file: str) -> int:
    name = PurePath(file).name
    return next((place.line for place in instruction.chain if PurePath(place.file).name == name), 0)


def _width(opcode: str) -> int:
    parts = opcode.split(".")
    for suffix, width in (("128", 16), ("64", 8), ("U8", 1), ("S8", 1), ("U16", 2), ("S16", 2)):
        if suffix in parts:
            return width
    return 4


def _batches(function: SassFunction) -> dict[int, int]:
    """By number of a global load in `function`: loads that are issued before the first result of its batch is used."""
    found: dict[int, int] = {}
    batch: list[int] = []
    held: set[int] = set()

    def close() -> None:
        found.update(dict.fromkeys(batch, min(len(batch), DEEPEST)))
        batch.clear()
        held.clear()

    for number, instruction in enumerate(function.instructions):
        registers = {int(m[1]) for m in _REGISTER.finditer(instruction.operands)}
        load = instruction.name in ("LDG", "LD")
        target = _REGISTER.match(instruction.operands) if load else None
        sources = registers - ({int(target[1])} if target else set())
        if instruction.name in _ENDS or sources & held:
            close()
        if load and target:
            batch.append(number)
            first = int(target[1])
            held.update(range(first, first + max(_width(instruction.opcode) // 4, 1)))
    close()
    return found
