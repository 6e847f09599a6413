"""Where values come from and go to in a function: was anything computed, and is a global written?

Forward passes in the order of the code, in which what holds at a branch is carried to its label; three of them, so that
what a loop carries is seen. It errs towards "it computes" and towards "not written", so an honest kernel is not refused
by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from workbench.profile.registers import (
    ATOMICS,
    BRANCHES,
    LOADS,
    STORES,
    address_registers,
    constant_reads,
    constant_value,
    destination,
    falls_through,
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
_CARRIES = frozenset(
    [
        "MOV",
        "UMOV",
        "IMAD",
        "UIMAD",
        "IADD",
        "IADD3",
        "UIADD3",
        "VIADD",
        "LEA",
        "ULEA",
        "R2UR",
        "SEL",
        "USEL",
        "LOP3",
        "ULOP3",
        "PRMT",
        "SHFL",
    ]
)
"""What an address stays one through; what a table's bits are shifted, rounded or divided into is none."""
_BULK_STORES = frozenset(["UTMASTG", "UBLKCP", "UTMAREDG", "UBLKRED"])
_TENSOR = frozenset(["HMMA", "IMMA", "BMMA", "DMMA", "QMMA", "OMMA", "HGMMA", "IGMMA", "BGMMA", "QGMMA"])


@dataclass
class Flow:
    """What a function does to its data."""

    computes: bool = False
    """It stores something that came out of arithmetic on data, or out of floating-point arithmetic at all."""
    reads: bool = False
    """It reads global memory at all."""
    float_atomics: bool = False
    arrival: bool = False
    """It acts on what other threads have left so far: an atomic whose result is used, a volatile or acquiring load."""
    written: list[tuple[str, Instruction]] = field(default_factory=list)
    """Globals with an initial value that it writes."""
    kept: set[str] = field(default_factory=set)
    """Globals whose address it puts into memory, from where it is not followed."""
    unplaced: bool = False
    """It writes to an address that came out of memory."""


@dataclass
class _Registers:
    computed: set[str] = field(default_factory=set)
    loaded: set[str] = field(default_factory=set)
    points_to: dict[str, str] = field(default_factory=dict)

    def joined(self, others: Iterable[_Registers]) -> _Registers:
        """What may hold where several ways meet."""
        both = _Registers(set(self.computed), set(self.loaded), dict(self.points_to))
        for other in others:
            both.computed |= other.computed
            both.loaded |= other.loaded
            both.points_to = {**other.points_to, **both.points_to}
        return both


_PASSES = 3
_TARGET = re.compile(r"(?:`\(|[\s,\"])(\.?[\w$.]*\.L_[\w.]+|[\w$.]+)(?=[)\s,\"])")


class _Paths:
    """Which state of the registers reaches which instruction: at a label, that of every branch to it."""

    def __init__(self, function: SassFunction) -> None:
        self._at: dict[int, list[str]] = {}
        for name, number in function.labels:
            self._at.setdefault(number, []).append(name)
        self._names = {name for name, _ in function.labels}
        self._arriving: dict[str, _Registers] = {}
        self._returned = _Registers()
        self._converge: dict[str, set[str]] = {}

    def enter(self, number: int, registers: _Registers, falls: bool) -> _Registers:
        """Before an instruction; `falls`: the one before it goes on to it."""
        names = self._at.get(number)
        if not names:
            return registers
        states = [self._arriving[name] for name in names if name in self._arriving]
        if falls or not states:
            # A label that nothing is known to branch to is entered in ways that are not followed.
            states.append(registers)
        return states[0].joined(states[1:])

    def leave(self, instruction: Instruction, registers: _Registers) -> _Registers:
        """After an instruction: send the state along its branches."""
        name = instruction.name
        if name == "RET":
            self._returned = self._returned.joined([registers])
        elif name == "BSYNC":
            for label in self._converge.get(instruction.operands.strip(), ()):
                self._send(label, registers)
        elif name in BRANCHES or name in ("CALL", "BSSY"):
            labels = self._names & set(_TARGET.findall(instruction.operands + " "))
            if name == "BSSY":
                barrier = instruction.operands.partition(",")[0].strip()
                self._converge.setdefault(barrier, set()).update(labels)
            else:
                for label in labels:
                    self._send(label, registers)
            if name == "CALL":
                return registers.joined([self._returned])
        return registers

    def _send(self, label: str, registers: _Registers) -> None:
        known = self._arriving.get(label)
        self._arriving[label] = registers.joined([known] if known is not None else [])


def follow(function: SassFunction, addresses: dict[int, str]) -> Flow:
    """Follow one function.

    Args:
        addresses: offset in constant bank 4 to the global whose address stands there.
    """
    flow, ever = Flow(), set[str]()
    paths = _Paths(function)
    for _ in range(_PASSES):
        registers, falls = _Registers(), True
        for number, instruction in enumerate(function.instructions):
            registers = paths.enter(number, registers, falls)
            _step(instruction, registers, flow, addresses)
            ever |= registers.computed
            registers = paths.leave(instruction, registers)
            falls = falls_through(instruction)
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
        flow.arrival |= bool(destination(instruction))
    flow.arrival |= name in ("LDG", "LD") and (
        ".STRONG.GPU" in instruction.opcode or ".STRONG.SYS" in instruction.opcode
    )
    if name.startswith(("UTCMMA", "UTC")) or name in _TENSOR:
        # Tensor cores write to places that a pass over registers does not see.
        flow.computes = True
    if name in STORES | ATOMICS:
        _store(instruction, registers, flow)
    if name in _BULK_STORES:
        # From shared memory: the registers hold addresses only.
        flow.computes |= "memory" in registers.computed or "RED" in name
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
    target = None
    if name in _CARRIES and ".HI" not in instruction.opcode:
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
    flow.kept |= {registers.points_to[r] for r in stored if r in registers.points_to}
    if instruction.name in ("STS", "STL", "STSM", "STTM", "STAS"):
        # Through shared or local memory a value is as it was; what is loaded from there counts as loaded.
        if stored & registers.computed:
            registers.computed.add("memory")
        return
    flow.computes |= bool(stored & registers.computed)
    flow.unplaced |= bool(address_registers(instruction) & registers.loaded)
    for register in sorted(address_registers(instruction)):
        if register in registers.points_to:
            symbol = registers.points_to[register]
            if (symbol, instruction) not in flow.written:
                flow.written.append((symbol, instruction))
