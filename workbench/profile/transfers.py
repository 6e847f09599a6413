"""Where a function's calls and jumps through a register can lead: to code that the cubin names, or to a computed place.

ptxas keeps the places that are jumped to in constant bank 2: a word for each function whose address is taken (the
pointer that CUDA code sees is that word's offset) and one for each entry of a switch's table. A transfer is followed
backwards to what its word was chosen by, over all ways through the code; what cannot be followed is refused, as a
pointer that comes from memory or from an argument can lead anywhere, into data too.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from workbench.profile.cubin import Cubin
from workbench.profile.registers import constant_reads, constant_value, destination, falls_through, operands
from workbench.profile.sass import Instruction, SassFunction

JUMPS = frozenset(["BRX", "BRXU", "JMX", "JMXU", "JMP", "CALL"])
_WRITES_ANYWHERE = frozenset(["ST", "ATOM", "STAS"])
_LABEL = re.compile(r"`\(([^)]*)\)")
_REGISTER = re.compile(r"(-?)(U?R)(\d+|Z)(?:\.(?:reuse|H0|64))*")
_PREDICATE = re.compile(r"!?U?P[T\d]")
_ADDS = frozenset(["IADD3", "UIADD3", "IADD", "UIADD", "VIADD", "IADD64", "UIADD64"])
_MOST_STEPS = 20_000
_MOST_DEEP = 60

Form = tuple[tuple[tuple[str, int], ...], int]
"""A sum: how often each unknown is in it, and a number."""


class _Unknown(Exception):
    """The value comes from somewhere that is not followed."""


@dataclass
class _Ways:
    """The code of a section, and which instructions may run before which."""

    function: SassFunction
    cubin: Cubin
    addresses: dict[int, str]
    before: list[list[int]] = field(default_factory=list)
    entries: set[int] = field(default_factory=set)
    """Where functions begin: what stands in registers there came from a caller."""
    steps: int = 0

    def __post_init__(self) -> None:
        code = self.function.instructions
        own = {self.function.symbol, *self.function.also}
        places: dict[str, int] = {name: at for name, at in self.function.labels}
        self.entries = {0} | {at for name, at in self.function.labels if name in own}
        self.before = [[] for _ in range(len(code) + 1)]
        barriers: dict[str, set[str]] = {}
        for instruction in code:
            if instruction.name == "BSSY":
                barrier = instruction.operands.partition(",")[0].strip()
                barriers.setdefault(barrier, set()).update(_LABEL.findall(instruction.operands))
        for number, instruction in enumerate(code):
            if falls_through(instruction):
                self.before[number + 1].append(number)
            targets = set(_LABEL.findall(instruction.operands))
            if instruction.name in ("BSSY", "CALL", "RET", "BRX", "BRXU"):
                targets = set()
            elif instruction.name in ("BSYNC", "BREAK"):
                targets = {name for names in barriers.values() for name in names}
            for name in targets & places.keys():
                if places[name] < len(code):
                    self.before[places[name]].append(number)
        jumps = [n for n, i in enumerate(code) if i.name in ("BRX", "BRXU", "JMX", "JMXU")]
        for _, at in self.function.labels:
            # A label that nothing names is an entry of a switch's table; the one before the jump itself is not.
            if at < len(code) and at not in jumps and not [n for n in self.before[at] if n != at - 1]:
                self.before[at] += jumps

    def offsets(self, wanted: Collection[int]) -> set[int]:
        """Where in the section the labels before these instructions are, and these instructions."""
        code = self.function.instructions
        labels = zip(self.function.labels, self.function.label_offsets, strict=True)
        named = {offset for (_, at), offset in labels if at in wanted and at < len(code)}
        return named | {code[at].offset for at in wanted if at < len(code)}

    def makers(self, register: str, at: int) -> Iterator[int]:
        """The instructions whose result may stand in a register before instruction `at`."""
        seen: set[int] = set()
        todo = [at]
        while todo:
            here = todo.pop()
            if here in self.entries:
                raise _Unknown
            for number in self.before[here]:
                if number in seen:
                    continue
                seen.add(number)
                self.steps += 1
                if self.steps > _MOST_STEPS:
                    raise _Unknown
                instruction = self.function.instructions[number]
                made = register in destination(instruction)
                if made:
                    yield number
                elif instruction.name == "CALL" and self._lost(instruction, register):
                    raise _Unknown
                if not made or instruction.predicate:
                    todo.append(number)

    def _lost(self, call: Instruction, register: str) -> bool:
        """Whether a call may change a register. The ABI keeps R1 and those from R16 on; ptxas also keeps in others what
        no function of the section writes, as it knows them all."""
        if register == "R1" or (
            register[0] == "R" and int(register[1:]) >= 16 and "$__internal_" not in call.operands
        ):
            return False
        code = self.function.instructions
        first = min((at for at in self.entries if at), default=len(code))
        inside = call.offset < code[first].offset if first < len(code) else True
        if ".ABS" in call.opcode or not inside:
            return True
        return any(register in destination(i) for i in code[first:])

    # --- values

    def forms(self, text: str, at: int, deep: int = 0, half: int = 0) -> set[Form]:
        """What an operand may be before instruction `at`."""
        text = text.strip()
        if deep > _MOST_DEEP:
            raise _Unknown
        if re.fullmatch(r"-?0x[0-9a-f]+", text):
            return {((), int(text, 16) >> 32 * half)}
        if (match := _REGISTER.fullmatch(text)) is not None:
            if match[3] == "Z":
                return {((), 0)}
            sign = -1 if match[1] else 1
            register = f"{match[2]}{int(match[3]) + half}"
            found: set[Form] = set()
            for number in self.makers(register, at):
                found |= self._made(number, register, deep + 1)
                if len(found) > 64:
                    raise _Unknown
            if not found:
                raise _Unknown
            return {(tuple((n, c * sign) for n, c in names), number * sign) for names, number in found}
        if match := re.fullmatch(r"(-?)c\[(0x[0-9a-f]+)\]\[(0x[0-9a-f]+|U?RZ)\]", text):
            bank, offset = int(match[2], 16), 0 if "R" in match[3] else int(match[3], 16)
            return {self._constant(bank, offset + 4 * half, -1 if match[1] else 1)}
        raise _Unknown

    def _constant(self, bank: int, offset: int, sign: int = 1) -> Form:
        if bank == 4 and offset & ~7 in self.addresses:
            return ((((("high of " if offset & 4 else "") + self.addresses[offset & ~7]), sign),), 0)
        if bank == 0:
            return (((f"c0 {offset:#x}", sign),), 0)
        raise _Unknown

    def _made(self, number: int, register: str, deep: int) -> set[Form]:
        instruction = self.function.instructions[number]
        results, parts = destination(instruction), operands(instruction)
        half = results.index(register)
        name = instruction.name
        value = constant_value(instruction)
        if name == "CS2R" or (value is not None and half == 0 and name in ("HFMA2", "HADD2")):
            if value is None:
                raise _Unknown
            return {((), value)}
        if name in ("LDC", "ULDC", "LDCU"):
            return self.forms(parts[1], number, deep, half)
        if name in ("MOV", "UMOV", "MOV32I", "R2UR"):
            return self.forms(parts[-1] if name == "R2UR" else parts[1], number, deep, half)
        if name in ("SEL", "USEL"):
            return self.forms(parts[1], number, deep, half) | self.forms(parts[2], number, deep, half)
        if name in ("IMAD", "UIMAD") and parts[1:3] in (["RZ", "RZ"], ["URZ", "URZ"]) and half == 0:
            return self.forms(parts[3], number, deep)
        if name == "IMAD" and ".IADD" in instruction.opcode and parts[2] == "0x1":
            return self._sum([parts[1], parts[3]], number, deep, 0)
        if name in _ADDS:
            added = [p for p in parts[1:] if not _PREDICATE.fullmatch(p)]
            return self._sum(added, number, deep, half)
        if name in ("LD", "LDG"):
            return {((), word) for word in self._table_words(parts[-1], number, deep, half)}
        if name == "LDL":
            return self._local(parts[1], number, deep, half)
        raise _Unknown

    def _sum(self, added: list[str], number: int, deep: int, half: int) -> set[Form]:
        sums: set[Form] = {((), 0)}
        for operand in added:
            forms = self.forms(operand, number, deep, half)
            sums = {_plus(a, b) for a in sums for b in forms}
            if len(sums) > 64:
                raise _Unknown
        return sums

    def _address(self, text: str, number: int, deep: int, wide: bool) -> tuple[set[Form], set[Form]]:
        """Low and high half of what stands in the last brackets of an operand."""
        inside = re.findall(r"\[([^\[\]]*)\]", text)
        if not inside:
            raise _Unknown
        low: set[Form] = {((), 0)}
        high: set[Form] = {((), 0)}
        for part in re.sub(r"-(?=0x)", "+-", inside[-1]).split("+"):
            forms = self.forms(part, number, deep)
            low = {_plus(a, b) for a in low for b in forms}
            if wide and "R" in part:
                high = {_plus(a, b) for a in high for b in self.forms(part, number, deep, 1)}
        return low, high

    def _table_words(self, text: str, number: int, deep: int, half: int) -> set[int]:
        """The words of initialised globals at fixed places."""
        low, high = self._address(text, number, deep, wide=True)
        found: set[int] = set()
        # Both halves are of tables; they are of the same one, or the address is none at all.
        if any(offset or len(names) != 1 or not names[0][0].startswith("high of ") for names, offset in high):
            raise _Unknown
        for names, offset in low:
            symbol = next((s for s in self.cubin.symbols if len(names) == 1 and s.name == names[0][0]), None)
            if symbol is None or names[0][1] != 1:
                raise _Unknown
            if not 0 <= offset <= symbol.size - 8:
                raise _Unknown
            data = self.cubin.contents.get(symbol.section)
            start = symbol.value + offset + 4 * half
            if data is None or start + 4 > len(data):
                raise _Unknown
            found.add(int.from_bytes(data[start : start + 4], "little"))
        return found

    def _local(self, text: str, number: int, deep: int, half: int) -> set[Form]:
        """What local memory may hold at an address: all that is stored there, if all stores can be placed."""
        code = self.function.instructions
        if any(i.name in _WRITES_ANYWHERE for i in code):
            raise _Unknown
        wanted, _ = self._address(text, number, deep, wide=False)
        kept: dict[Form, set[int]] = {}
        stores = [n for n, i in enumerate(code) if i.name == "STL"]
        if any(".64" not in code[n].opcode for n in stores) or ".64" not in code[number].opcode:
            raise _Unknown
        for store in stores:
            for form in self._address(operands(code[store])[0], store, deep, wide=False)[0]:
                kept.setdefault(form, set()).add(store)
        found: set[Form] = set()
        for form in wanted:
            if form not in kept:
                raise _Unknown
            for store in kept[form]:
                found |= self.forms(operands(code[store])[1], store, deep, half)
        return found


def _plus(a: Form, b: Form) -> Form:
    names = dict(a[0])
    for name, count in b[0]:
        names[name] = names.get(name, 0) + count
    return tuple(sorted((n, c) for n, c in names.items() if c)), a[1] + b[1]


def numbers(function: SassFunction, register: str, at: int) -> set[int] | None:
    """What a register may hold before instruction `at`, where all ways there load numbers; else None."""
    ways = _Ways(function, Cubin(arch=""), {})
    try:
        forms = ways.forms(register, at)
    except _Unknown:
        return None
    return None if any(names for names, _ in forms) else {number for _, number in forms}


def stray(function: SassFunction, cubin: Cubin, addresses: dict[int, str]) -> list[Instruction]:
    """Calls and jumps through a register that could lead to a place that no function or label of the cubin has.

    Args:
        addresses: offset in constant bank 4 to the symbol whose address stands there.
    """
    found: list[Instruction] = []
    ways: _Ways | None = None
    for number, instruction in enumerate(function.instructions):
        if instruction.name not in JUMPS:
            continue
        target = next((p for p in re.findall(r"[^\s,]+", instruction.operands) if _REGISTER.fullmatch(p)), "")
        if not target and "c[" not in instruction.operands:
            continue
        ways = ways or _Ways(function, cubin, addresses)
        ways.steps = 0
        try:
            fine = bool(target) and all(
                _leads_to_code(ways, maker, target, instruction) for maker in ways.makers(target, number)
            )
        except _Unknown:
            fine = False
        if not fine:
            found.append(instruction)
    return found


def _leads_to_code(ways: _Ways, number: int, register: str, jump: Instruction) -> bool:
    """Whether the instruction that made a jump's target took it from a word that names code."""
    made = ways.function.instructions[number]
    reads = constant_reads(made)
    if made.name in ("MOV", "UMOV", "R2UR") and not reads:
        source = operands(made)[-1]
        return all(_leads_to_code(ways, n, source, jump) for n in ways.makers(source, number))
    if len(reads) != 1 or made.name not in ("LDC", "ULDC", "LDCU", "MOV", "UMOV", "IMAD"):
        return False
    (read,) = reads
    if read.bank == 4:
        # An outside function's address; `reached` refuses those that are not allowed.
        index = ways.forms(read.index, number) if read.index else {((), 0)}
        return all(not names and read.offset + at in ways.addresses for names, at in index)
    data = ways.cubin.contents.get(f".nv.constant2.{ways.function.symbol}", b"")
    if read.bank != 2 or not data:
        return False
    code = ways.function.instructions
    if jump.name == "CALL":
        starts = ways.offsets(ways.entries)
        index = ways.forms(read.index, number) if read.index else {((), 0)}
        return all(not names and _word(data, read.offset + at, 8) in starts for names, at in index)
    most = _most(ways, read.index, number) if read.index else 0
    jumps = {n for n, i in enumerate(code) if i.name == jump.name}
    labelled = ways.offsets({at for _, at in ways.function.labels} - jumps)
    # The jump takes a label's place in the section: the operand's number takes away where the next instruction is.
    return (
        most is not None
        and f"-{jump.offset + 16:#x}" in jump.operands
        and all(_word(data, read.offset + at, 4) in labelled for at in range(0, most + 1, 4))
    )


def _word(data: bytes, offset: int, size: int) -> int:
    return int.from_bytes(data[offset : offset + size], "little") if 0 <= offset <= len(data) - size else -1


def _most(ways: _Ways, register: str, at: int) -> int | None:
    """The highest byte offset that a switch's index register can have; None where nothing bounds it."""
    most = 0
    for number in ways.makers(register, at):
        made = ways.function.instructions[number]
        parts = operands(made)
        shift = parts[2:3] == ["0x2"] and (
            made.name in ("SHL", "USHL")
            # A funnel shift keeps the register's own low half only to the left, with nothing above it.
            or (made.opcode in ("SHF.L.U32", "USHF.L.U32") and parts[3] in ("RZ", "URZ"))
        )
        times = made.name in ("IMAD", "UIMAD") and parts[2] == "0x4" and parts[3] in ("RZ", "URZ")
        if not (shift or times) or made.predicate:
            return None
        for clamp in ways.makers(parts[1].partition(".")[0], number):
            bound = _clamp(ways, clamp)
            if bound is None:
                return None
            most = max(most, 4 * bound)
    return most


def _clamp(ways: _Ways, number: int) -> int | None:
    """K of an unsigned minimum with K, in one instruction or as a comparison and a choice."""
    instruction = ways.function.instructions[number]
    parts = operands(instruction)
    limit = parts[-2] if len(parts) > 3 else ""
    if not re.fullmatch(r"0x[0-9a-f]{1,4}", limit) or instruction.predicate:
        return None
    if instruction.name in ("IMNMX", "UIMNMX", "VIMNMX", "UVIMNMX", "VIADDMNMX", "UVIADDMNMX"):
        return int(limit, 16) if ".U32" in instruction.opcode and parts[-1] in ("PT", "UPT") else None
    if instruction.name not in ("SEL", "USEL"):
        return None
    for at in range(number - 1, max(number - 8, 0), -1):
        before = ways.function.instructions[at]
        seen = operands(before)
        if ways.before[at + 1] != [at] or parts[1] in destination(before):
            return None
        if parts[-1] in seen[:2]:
            compares = before.opcode.removeprefix("U") == "ISETP.LT.U32.AND" and not before.predicate
            same = seen[0] == parts[-1] and seen[2:4] == parts[1:3] and seen[-1] in ("PT", "UPT")
            return int(limit, 16) if compares and same else None
    return None
