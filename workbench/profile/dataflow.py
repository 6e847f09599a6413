"""Where values come from and go to in a function: was anything computed, and is a global written?

A single forward pass, run twice so that what a loop carries is seen; branches are not followed. It errs towards "it
computes" and towards "not written", so an honest kernel is not refused by it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from workbench.profile.registers import (
    ATOMICS,
    LOADS,
    STORES,
    address_registers,
    constant_reads,
    constant_value,
    destination,
    predicates,
    sources,
    stored_registers,
)
from workbench.profile.sass import Instruction, SassFunction

_COMPUTING = frozenset(
    [
        "FADD",
        "FMUL",
        "FFMA",
        "FMNMX",
        "FSET",
        "FSEL",
        "FSETP",
        "FCHK",
        "FSWZADD",
        "MUFU",
        "RRO",
        "DADD",
        "DMUL",
        "DFMA",
        "DMNMX",
        "DSETP",
        "HADD2",
        "HMUL2",
        "HFMA2",
        "HMNMX2",
        "HSET2",
        "HSETP2",
        "HMMA",
        "IMMA",
        "BMMA",
        "DMMA",
        "QMMA",
        "OMMA",
        "HGMMA",
        "IGMMA",
        "BGMMA",
        "QGMMA",
        "UTCHMMA",
        "UTCIMMA",
        "UTCQMMA",
        "UTCOMMA",
        "UTCMMA",
        "WARPGROUP",
        "F2F",
        "F2I",
        "I2F",
        "I2FP",
        "F2FP",
        "F2IP",
        "I2I",
        "I2IP",
        "FRND",
        "REDUX",
        "FADD2",
        "FMUL2",
        "FFMA2",
        "FMNMX3",
        "VIMNMX",
        "VIMNMX3",
        "POPC",
        "UPOPC",
        "FLO",
        "UFLO",
        "BREV",
        "IDP",
        "IDP4A",
        "VABSDIFF",
        "VABSDIFF4",
        "UFADD",
        "UFMUL",
        "UFFMA",
        "UF2F",
        "UI2F",
        "UI2FP",
        "UF2I",
        "FADD32I",
        "FMUL32I",
        "FFMA32I",
    ]
)
_INTEGER = frozenset(
    [
        "IADD3",
        "IADD",
        "IMAD",
        "UIADD3",
        "UIADD",
        "UIMAD",
        "VIADD",
        "IABS",
        "IMNMX",
        "ISCADD",
        "XMAD",
        "VIADDMNMX",
        "IMUL",
    ]
)
_BITS = frozenset(["LOP3", "ULOP3", "LOP", "SHF", "USHF", "SHL", "SHR", "SEL", "PRMT", "ISETP"])
_TENSOR = frozenset(["HMMA", "IMMA", "BMMA", "DMMA", "QMMA", "OMMA", "HGMMA", "IGMMA", "BGMMA", "QGMMA"])


@dataclass
class Flow:
    """What a function does to its data."""

    computes: bool = False
    """It stores something that came out of arithmetic on data, or out of floating-point arithmetic at all."""
    copies: bool = False
    """It stores something that it loaded."""
    reads: bool = False
    """It reads global memory at all."""
    float_atomics: bool = False
    written: list[tuple[str, Instruction]] = field(default_factory=list)
    """Globals with an initial value that it writes."""


@dataclass
class _Registers:
    computed: set[str] = field(default_factory=set)
    loaded: set[str] = field(default_factory=set)
    points_to: dict[str, str] = field(default_factory=dict)


def follow(function: SassFunction, addresses: dict[int, str]) -> Flow:
    """Follow one function.

    Args:
        addresses: offset in constant bank 4 to the global whose address stands there.
    """
    flow, registers = Flow(), _Registers()
    ever: set[str] = set()
    for _ in range(2):
        for instruction in function.instructions:
            _step(instruction, registers, flow, addresses)
            ever |= registers.computed
    if not flow.computes and any(i.name in ("CALL", "BRX", "BRXU", "JMX") for i in function.instructions):
        # Values come back from a callee, whose code stands elsewhere: whatever was ever computed may be what is stored.
        stored = [stored_registers(i) for i in function.instructions if i.name in STORES]
        flow.computes = any(names & ever for names in stored)
    return flow


def _step(instruction: Instruction, registers: _Registers, flow: Flow, addresses: dict[int, str]) -> None:
    name = instruction.name
    used = sources(instruction)
    if name in ATOMICS:
        flow.computes |= ".EXCH" not in instruction.opcode
        floats = (".F16", ".F32", ".F64", ".BF16", ".FADD", ".FTZ")
        flow.float_atomics |= (
            any(mark in instruction.opcode for mark in floats) and ".MAX" not in instruction.opcode
        )
    if name.startswith(("UTCMMA", "UTC")) or name in _TENSOR:
        # Tensor cores write to places that a pass over registers does not see.
        flow.computes = True
    if name in STORES | ATOMICS or name == "UTMASTG":
        _store(instruction, registers, flow)
    if name in ("LDG", "LD", "LDGSTS", "UTMALDG", "UBLKCP", "LDGMC", "TEX", "TLD", "SULD"):
        flow.reads = True
    if "SETP" in name or name in ("PLOP3", "VOTE", "FCHK"):
        # A comparison's outcome is a computed value once it is selected or stored by.
        data = (
            used & (registers.computed | registers.loaded)
            or set(predicates(instruction, 2)) & registers.computed
        )
        for predicate in predicates(instruction, 0):
            (registers.computed.add if data else registers.computed.discard)(predicate)
    results = destination(instruction)
    if not results:
        return
    computed = bool(used & registers.computed)
    computed |= name in ("SEL", "FSEL", "USEL", "P2R") and bool(
        set(predicates(instruction, 0)) & registers.computed
    )
    loaded = bool(used & registers.loaded)
    target = next((registers.points_to[r] for r in sorted(used) if r in registers.points_to), None)
    if name in LOADS:
        from_memory = name in ("LDS", "LDL", "LDSM", "LD") and "memory" in registers.computed
        computed, loaded, target = from_memory, True, None
    elif (name in _COMPUTING and constant_value(instruction) is None) or (
        (name in _INTEGER or name in _BITS)
        and loaded
        and constant_value(instruction) is None
        and not _is_move(instruction)
    ):
        computed = True
    for read in constant_reads(instruction):
        if read.bank == 4 and not read.index:
            target = addresses.get(read.offset & ~7, target)
    for register in results:
        for marked, on in ((registers.computed, computed), (registers.loaded, loaded)):
            if on:
                marked.add(register)
            elif not instruction.predicate:
                marked.discard(register)
        if target is not None:
            registers.points_to[register] = target
        elif not instruction.predicate:
            registers.points_to.pop(register, None)


def _is_move(instruction: Instruction) -> bool:
    """IMAD.MOV, IMAD.U32 with zeros, SEL and PRMT only carry a value."""
    if ".MOV" in instruction.opcode or instruction.name in ("SEL", "PRMT"):
        return True
    return instruction.name == "IMAD" and "RZ, RZ" in instruction.operands


def _store(instruction: Instruction, registers: _Registers, flow: Flow) -> None:
    stored = stored_registers(instruction)
    if instruction.name in ("STS", "STL"):
        # Through shared or local memory a value is as it was; what is loaded from there counts as loaded.
        if stored & registers.computed:
            registers.computed.add("memory")
        return
    flow.computes |= bool(stored & registers.computed)
    flow.copies |= bool(stored & registers.loaded)
    for register in sorted(address_registers(instruction)):
        if register in registers.points_to:
            symbol = registers.points_to[register]
            if (symbol, instruction) not in flow.written:
                flow.written.append((symbol, instruction))
