"""Where the readings of a timer go: only into how long libcu++ sleeps while it waits, or anywhere that a kernel sees.

Lines tell who wrote the read of a timer, but not who learns of it: a wait with a limit returns whether the limit has
passed, an overloaded operator or a macro can carry a reading out of a header's own function. So values are followed
forwards through the machine code: a reading may be subtracted, compared and slept by, and a branch on it may choose
between sleeps; all else (a store, an address, a branch whose two sides do different things) lets it out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from workbench.profile.constants import TIMERS
from workbench.profile.registers import BRANCHES, operands
from workbench.profile.sass import Instruction, SassFunction

_ARITHMETIC = frozenset(
    [
        "IADD", "IADD3", "IADD64", "UIADD3", "UIADD64", "VIADD", "IMAD", "UIMAD", "IMUL", "LEA", "ULEA",
        "ISCADD", "SHF", "USHF", "SHL", "SHR", "LOP", "LOP3", "ULOP3", "PLOP3", "UPLOP3", "ISETP", "UISETP",
        "IMNMX", "UIMNMX", "VIMNMX", "UVIMNMX", "VIADDMNMX", "IABS", "MOV", "UMOV", "SEL", "USEL", "PRMT",
        "UPRMT", "R2UR", "CS2R", "CS2UR", "S2R", "S2UR", "VOTEU", "LDC", "ULDC", "LDCU", "HFMA2", "P2R",
        "R2P",
    ]
)  # fmt: skip
"""What makes a register of registers and does nothing else."""
_SLEEPS = frozenset(["NANOSLEEP", "YIELD", "BSSY", "BSYNC", "BREAK", "WARPSYNC", "NOP", "BRA", "BMOV"])
_MATRIX = re.compile(r"MMA$")
_MOST_REGION = 400
_REGISTER = re.compile(r"(?<![\w.])(U?R)(\d+)(\.64)?")
_PREDICATE = re.compile(r"(?<![\w.])(U?P\d)\b")
_LABEL = re.compile(r"`\(([^)]*)\)")
_SLOT = re.compile(r"^\[R1(?:\+(0x[0-9a-f]+))?\]$")


@dataclass(frozen=True)
class _Effect:
    """Registers and predicates that an instruction reads and writes; local slots are `L<offset>`."""

    reads: frozenset[str]
    writes: frozenset[str]


def reads_timer(instruction: Instruction) -> bool:
    """Whether it takes a clock or a timer."""
    return any(register in instruction.operands for register in TIMERS)


def escape(function: SassFunction) -> Instruction | None:
    """The first instruction by which a reading of a timer leaves what it may be used for; None where none does."""
    return _Timers(function).first_escape()


def handed_on(
    function: SassFunction, seeds: Collection[int], may: Callable[[Instruction], bool]
) -> Instruction | None:
    """The first instruction that does more than arithmetic with what `seeds` made, and that `may` not.

    Args:
        seeds: numbers of instructions.
    """
    followed = _Timers(function, seeds=frozenset(seeds), may=may)
    for number, held in enumerate(followed.follow(set())):
        instruction = function.instructions[number]
        if held and not may(instruction) and followed.lets_out(number, held):
            return instruction
    return None


@dataclass
class _Timers:
    function: SassFunction
    seeds: frozenset[int] = frozenset()
    """Instructions whose results are followed; none: those that read a timer."""
    may: Callable[[Instruction], bool] = lambda instruction: False
    """Whose comparisons (with null) tell nothing."""
    after: list[list[int]] = field(default_factory=list)
    effects: list[_Effect] = field(default_factory=list)
    calls: bool = False

    def __post_init__(self) -> None:
        self.after = _successors(self.function)
        self.effects = [_effect(i) for i in self.function.instructions]
        code = self.function.instructions
        self.seeds = self.seeds or frozenset(n for n, i in enumerate(code) if reads_timer(i))
        self.calls = any(i.name == "CALL" for i in self.function.instructions)

    def first_escape(self) -> Instruction | None:
        code = self.function.instructions
        by_chance: set[int] = set()
        while True:
            tainted = self.follow(by_chance)
            grown = set(by_chance)
            for number, instruction in enumerate(code):
                if not tainted[number]:
                    continue
                if self.lets_out(number, tainted[number]):
                    return instruction
                if len(self.after[number]) > 1 and instruction.name == "BRA":
                    if not self._decides(number) & tainted[number]:
                        continue
                    region = self._between(number)
                    if region is None:
                        return instruction
                    grown |= self._depend(number, *region)
            if grown == by_chance:
                return None
            by_chance = grown

    def follow(self, by_chance: set[int]) -> list[frozenset[str]]:
        """What may hold something of a timer before each instruction; `by_chance` run or not as a timer decides."""
        code = self.function.instructions
        before: list[frozenset[str]] = [frozenset()] * len(code)
        todo = [*sorted(self.seeds), *sorted(by_chance)]
        while todo:
            number = todo.pop()
            out = self._after(number, before[number], number in by_chance)
            for following in self.after[number]:
                if not out <= before[following]:
                    before[following] |= out
                    todo.append(following)
        return before

    def _after(self, number: int, held: frozenset[str], by_chance: bool) -> frozenset[str]:
        instruction, effect = self.function.instructions[number], self.effects[number]
        if by_chance or number in self.seeds or self._decides(number) & held:
            told = (
                {name for name in effect.writes if "P" not in name}
                if self.may(instruction)
                else effect.writes
            )
            return held | told
        return held if instruction.predicate else held - effect.writes

    def _decides(self, number: int) -> frozenset[str]:
        """What the effect of an instruction depends on."""
        guard = self.function.instructions[number].predicate.lstrip("!")
        return self.effects[number].reads | ({guard} if guard else set())

    def lets_out(self, number: int, held: frozenset[str]) -> bool:
        """Whether an instruction does more than arithmetic with what is `held`."""
        instruction, effect = self.function.instructions[number], self.effects[number]
        if instruction.name in _ARITHMETIC | _SLEEPS:
            return False
        if instruction.name in ("STL", "LDL") and any(
            name[0] == "L" for name in effect.writes | effect.reads
        ):
            # A register that is kept in a fixed place for a while; at a computed one nobody knows what is read.
            return False
        if instruction.name == "RET" and not self.calls:
            return any(f"R{n}" in held for n in range(4, 8))
        if instruction.name == "LDL":
            return any(name[0] == "L" for name in held) or bool(self._decides(number) & held)
        return bool(self._decides(number) & held)

    def _between(self, branch: int) -> tuple[set[int], int] | None:
        """The instructions between a branch and where its ways meet, and that place; None where they do more than
        choose a sleep."""
        starts = self.after[branch]
        reached = self._walk(starts, -1)
        best: tuple[set[int], int] | None = None
        for meeting in sorted(reached):
            region = self._walk(starts, meeting)
            if all(self._harmless(n) for n in region) and (best is None or len(region) < len(best[0])):
                best = region, meeting
        return best

    def _depend(self, branch: int, region: set[int], meeting: int) -> set[int]:
        """Those of a region whose results depend on the way that was taken: not a constant that all ways load."""
        code = self.function.instructions
        found: set[int] = set()
        for number in region:
            made = self.effects[number].writes
            others = [n for n in region if self.effects[n].writes & made]
            same = len({(code[n].opcode, code[n].operands) for n in others}) == 1
            fixed = not any(self.effects[n].reads or code[n].predicate for n in others)
            if same and fixed and not reads_timer(code[number]):
                around, todo = set(others), [n for n in self.after[branch] if n not in others]
                while todo:
                    here = todo.pop()
                    if here != meeting and here not in around:
                        around.add(here)
                        todo += [n for n in self.after[here] if n not in others]
                    elif here == meeting:
                        found.add(number)
                        break
            elif made:
                found.add(number)
        return found

    def _walk(self, starts: Iterable[int], stop: int) -> set[int]:
        """What is reached without passing `stop` nor an instruction that does more than arithmetic and sleep."""
        seen: set[int] = set()
        todo = [n for n in starts if n != stop]
        while todo and len(seen) < _MOST_REGION:
            number = todo.pop()
            if number in seen:
                continue
            seen.add(number)
            if self._harmless(number):
                todo += [n for n in self.after[number] if n != stop]
        return seen

    def _harmless(self, number: int) -> bool:
        name = self.function.instructions[number].name
        return name in _ARITHMETIC or (name in _SLEEPS and bool(self.after[number]))


def _successors(function: SassFunction) -> list[list[int]]:
    """Which instructions may run after which."""
    code = function.instructions
    places = {name: at for name, at in function.labels if at < len(code)}
    starts = {places[name] for name in function.also if name in places}
    barriers: dict[str, set[int]] = {}
    for instruction in code:
        if instruction.name == "BSSY":
            barrier = instruction.operands.partition(",")[0].strip()
            named = {places[name] for name in _LABEL.findall(instruction.operands) if name in places}
            barriers.setdefault(barrier, set()).update(named)
    returns = [n + 1 for n, i in enumerate(code) if i.name == "CALL" and n + 1 < len(code)]
    after: list[list[int]] = []
    for number, instruction in enumerate(code):
        name, following = instruction.name, [number + 1] if number + 1 < len(code) else []
        targets = [places[label] for label in _LABEL.findall(instruction.operands) if label in places]
        if name == "CALL":
            ways = following + (targets or sorted(starts))
        elif name == "RET":
            ways = returns + (following if instruction.predicate else [])
        elif name in ("BRX", "BRXU", "JMX", "JMXU"):
            ways = sorted(set(places.values()))
        elif name == "BSYNC":
            known = barriers.get(instruction.operands.strip(), set())
            ways = following if set(following) & known or not known else sorted(known) + following
        elif name in ("BRA", "JMP"):
            conditional = bool(instruction.predicate) or bool(_PREDICATE.search(instruction.operands))
            conditional |= ".DIV" in instruction.opcode or bool(_REGISTER.search(instruction.operands))
            ways = targets + (following if conditional or not targets else [])
        elif name in BRANCHES:
            ways = following if instruction.predicate else []
        else:
            ways = following
        after.append(list(dict.fromkeys(ways)))
    return after


def _effect(instruction: Instruction) -> _Effect:
    """Results stand first: up to two predicates and a register; what follows is read."""
    parts, name = operands(instruction), instruction.name
    if instruction.name in _SLEEPS | BRANCHES | {"CALL"}:
        return _Effect(frozenset(_names(parts, instruction)), frozenset())
    if name in ("STL", "LDL"):
        return _local(instruction, parts)
    stores = name.startswith(("ST", "RED", "SUST", "BAR")) or name in (
        "UTMASTG",
        "UBLKCP",
        "UTMAREDG",
        "UBLKRED",
    )
    first = 0 if stores else _results(parts, name)
    writes = set(_names(parts[:first], instruction, result=True))
    reads = set(_names(parts[first:], instruction))
    if _MATRIX.search(name):
        # The accumulator stands first, and is read where it is not zeroed.
        reads |= set(_names(parts[:1], instruction))
        writes = set()
    if name == "P2R":
        reads |= {f"P{n}" for n in range(8)}
    if name == "R2P":
        writes |= {f"P{n}" for n in range(8)}
        reads |= {f"P{n}" for n in range(8)}
    return _Effect(frozenset(reads), frozenset(writes))


def _results(parts: list[str], name: str) -> int:
    """How many of the operands are results."""
    predicates = registers = 0
    most = len(parts) - 1 if name.startswith(("VOTE", "VOTEU")) else 3
    for part in parts[:most]:
        if re.fullmatch(r"U?P[T\d]", part) and predicates < 2:
            predicates += 1
        elif re.fullmatch(r"U?R(\d+|Z)(\.\w+)*", part) and not registers and "SETP" not in name:
            registers += 1
        else:
            break
    return predicates + registers


def _names(parts: list[str], instruction: Instruction, result: bool = False) -> Iterable[str]:
    """Registers and predicates named in operands, both halves of what is wide."""
    opcode, name = instruction.opcode, instruction.name
    count = 1
    if name in ("CS2R", "CS2UR", "IADD64", "UIADD64") or re.search(r"\.(64|U64|S64|F64)\b", opcode):
        count = 1 if ".32" in opcode or name in ("SHF", "USHF") else 2
    if name.startswith(("DADD", "DMUL", "DFMA", "DSETP", "DMNMX")):
        count = 2
    if ".128" in opcode:
        count = 4
    if _MATRIX.search(name):
        shape = re.search(r"\.64x(\d+)x", opcode)
        count = int(shape[1]) // 2 if shape else 4
    for at, part in enumerate(parts):
        own = count
        if ".WIDE" in opcode:
            own = 2 if result or at == len(parts) - 1 else 1
        address = "[" in part
        for kind, number, pair in _REGISTER.findall(part):
            # An address is as wide as it says; .E alone makes a plain one 64 bits.
            wide = 2 if pair or (address and ".E" in opcode and "desc" not in part) else 1
            for step in range(wide if address else max(own, wide)):
                yield f"{kind}{int(number) + step}"
        yield from _PREDICATE.findall(part)


def _local(instruction: Instruction, parts: list[str]) -> _Effect:
    """A register put into local memory or taken from there; from an unknown place all slots may come."""
    address, value = (parts[0], parts[1]) if instruction.name == "STL" else (parts[-1], parts[0])
    registers = set(_names([value], instruction))
    slot = _SLOT.match(address)
    if slot is None:
        named = set(_names([address], instruction))
        if instruction.name == "STL":
            return _Effect(frozenset(named | registers), frozenset())
        return _Effect(frozenset(named), frozenset(registers))
    start = int(slot[1], 16) if slot[1] else 0
    slots = {f"L{start + 4 * step}" for step in range(max(len(registers), 1))}
    if instruction.name == "STL":
        return _Effect(frozenset(registers), frozenset(slots))
    return _Effect(frozenset(slots), frozenset(registers))
