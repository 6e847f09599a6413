"""What a kernel's code reaches: functions, globals, and symbols that are not there.

ptxas puts the addresses of globals and outside functions in constant bank 4, and clones each device function that was
not inlined into the section of the kernel that calls it; so the words of bank 4 that a section reads are what it
reaches, and then whatever those globals point to.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from workbench.profile.cubin import Cubin, Symbol
from workbench.profile.registers import constant_reads
from workbench.profile.sass import Instruction, SassFunction
from workbench.profile.transfers import numbers

ALLOWED_UNDEFINED = frozenset(
    {".nv.reservedSmem.offset0", ".nv.reservedSmem.cap", "", ".nv.reservedSmem.offset1"}
)
COPY_ROUTINES = "__cuda_syscall_cp_async_bulk"
"""How sm_120 does `cp.async.bulk` to a cluster's shared memory: ptxas calls the driver's own code for it."""
_BANK = ".nv.constant4"
_OF_A_LAUNCH = (".nv.shared", ".nv.local")
"""Sections whose contents end with the launch."""


@dataclass(frozen=True)
class Use:
    """A symbol and the instruction that reaches it, where one does so directly."""

    symbol: str
    by: Instruction | None
    taken: bool = False
    """Its address stands in constant bank 4 or in a global, where code can read it."""


@dataclass
class Reached:
    """Everything that a kernel reaches."""

    functions: list[SassFunction] = field(default_factory=list)
    uninitialised: list[Use] = field(default_factory=list)
    initialised: list[str] = field(default_factory=list)
    undefined: list[Use] = field(default_factory=list)
    code: list[Use] = field(default_factory=list)
    """Kernels whose address is taken."""
    unknown: list[Use] = field(default_factory=list)
    """Symbols in a section of which it is not known whether it outlives a launch."""
    addresses: dict[int, str] = field(default_factory=dict)
    """Offset in bank 4 to the symbol whose address stands there."""
    unresolved: bool = False
    """Some address was read at an offset that could not be told; then all of bank 4 counts."""


def reach(cubin: Cubin, functions: dict[str, SassFunction], kernel: str) -> Reached | None:
    """Follow a kernel; None where its code was not disassembled."""
    if kernel not in functions:
        return None
    objects = {s.name: s for s in cubin.symbols if s.name and s.kind != "STT_SECTION"}
    reached = Reached(addresses={r.offset: r.symbol for r in cubin.relocations.get(_BANK, ())})
    seen: set[str] = set()
    sections: set[str] = set()
    todo: list[Use] = [Use(kernel, None)]
    while todo:
        use = todo.pop(0)
        if use.taken and use.symbol in cubin.kernels:
            reached.code.append(use)
        if use.symbol in seen:
            continue
        seen.add(use.symbol)
        symbol = objects.get(use.symbol)
        section = symbol.section if symbol is not None else use.symbol
        if section.startswith(".text."):
            todo += _code(cubin, functions, section, reached, sections)
        elif symbol is None or not section:
            if use.symbol not in ALLOWED_UNDEFINED and not use.symbol.startswith(COPY_ROUTINES):
                reached.undefined.append(use)
        elif section.startswith(".nv.global") and not section.startswith(".nv.global.init"):
            reached.uninitialised.append(use)
        elif section.startswith((".nv.global.init", ".nv.constant")):
            if section.startswith((".nv.global.init", ".nv.constant3")):
                reached.initialised.append(use.symbol)
            todo += _pointed_to(cubin, symbol, use)
        elif not section.startswith(_OF_A_LAUNCH):
            reached.unknown.append(use)
    return reached


def _code(
    cubin: Cubin, functions: dict[str, SassFunction], section: str, reached: Reached, sections: set[str]
) -> list[Use]:
    """What the code of a section names: relocations in it, and words of bank 4."""
    if section in sections:
        return []
    sections.add(section)
    function = functions.get(section.removeprefix(".text."))
    found: list[Use] = []
    by_offset: dict[int, Instruction] = {}
    if function is not None:
        reached.functions.append(function)
        by_offset = {i.offset: i for i in function.instructions}
        found += _bank_uses(function, reached)
        if any(read.bank == 3 for i in function.instructions for read in constant_reads(i)):
            found += [
                Use(s.name, None)
                for s in cubin.symbols
                if s.section == ".nv.constant3" and s.kind == "STT_OBJECT"
            ]
    for relocation in cubin.relocations.get(section, ()):
        found.append(Use(relocation.symbol, by_offset.get(relocation.offset & ~15)))
    symbol = section.removeprefix(".text.")
    for table in (f".nv.constant2.{symbol}", f".nv.constant4.{symbol}"):
        found += [Use(r.symbol, None) for r in cubin.relocations.get(table, ())]
    return found


def _bank_uses(function: SassFunction, reached: Reached) -> list[Use]:
    found: list[Use] = []
    for number, instruction in enumerate(function.instructions):
        for read in constant_reads(instruction):
            if read.bank != 4:
                continue
            # Every way to the load counts: two of them may share it, each with an index of its own.
            starts = numbers(function, read.index, number) if read.index else {0}
            if starts is None:
                reached.unresolved = True
                found += [Use(symbol, instruction, taken=True) for symbol in reached.addresses.values()]
                continue
            for start in sorted(starts):
                # A wide load may take two addresses at once; the second half of one is its own word.
                first = read.offset + start
                for offset in range(first & ~7, first + read.bytes, 8):
                    if offset in reached.addresses:
                        found.append(Use(reached.addresses[offset], instruction, taken=True))
    return found


def _pointed_to(cubin: Cubin, symbol: Symbol, use: Use) -> list[Use]:
    """Symbols whose addresses an initialised global holds."""
    end = symbol.value + max(symbol.size, 1)
    return [
        Use(r.symbol, use.by, taken=True)
        for r in cubin.relocations.get(symbol.section, ())
        if symbol.value <= r.offset < end
    ]
