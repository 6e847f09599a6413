"""What one instruction reads and writes, as far as the audit follows values through registers.

`dataflow`, `transfers` and `timers` follow them over the ways through the code; here stands what nvdisasm's text of an
instruction says by itself: operands, widths, results, constants.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from workbench.profile.sass import Instruction

_REGISTER = re.compile(r"(?<![\w.])[-|~!]*(U?R\d+)\b")
_MEMORY = re.compile(r"\[([^\]]*)\]")
_CONSTANT = re.compile(r"(?<!\w)c\[(0x[0-9a-f]+|U?R\w+)\]\[([^\]]*)\]")
_NUMBER = re.compile(r"^-?0x[0-9a-f]+$")

STORES = frozenset({"STG", "ST", "STS", "STL", "STAS", "SUST", "STSM", "STTM"})
LOADS = frozenset({"LDG", "LD", "LDS", "LDL", "LDSM", "LDTM", "LDGMC", "SULD", "TEX", "TLD", "LDGSTS"})
ATOMICS = frozenset({"ATOM", "ATOMG", "ATOMS", "RED", "REDG", "REDAS", "ATOMSCAS", "SUATOM", "SURED"})
_NO_RESULT = STORES | {
    "RED",
    "REDG",
    "BAR",
    "BRA",
    "EXIT",
    "RET",
    "CALL",
    "BSYNC",
    "BSSY",
    "MEMBAR",
    "NANOSLEEP",
}
_WIDE = re.compile(r"\.(64|WIDE|128|F64|F2|U64|S64)\b")
_DOUBLES = frozenset({"DADD", "DMUL", "DFMA", "DMNMX", "DSETP"})
_CONVERTS = frozenset({"F2F", "F2I", "I2F", "FRND", "UF2F", "UF2I", "UI2F"})
_KIND = re.compile(r"\.((?:[USF]|BF)(?:8|16|32|64))\b")


@dataclass(frozen=True)
class ConstantRead:
    """An operand in a constant bank."""

    bank: int
    """-1: a bank that is chosen at run time."""
    index: str
    """The register that the offset depends on; "" for none."""
    offset: int
    bytes: int


def operands(instruction: Instruction) -> list[str]:
    """Operands as written, commas inside brackets left alone."""
    parts, depth, last = [], 0, 0
    text = instruction.operands
    for at, char in enumerate(text):
        depth += (char in "[({") - (char in "])}")
        if char == "," and depth == 0:
            parts.append(text[last:at].strip())
            last = at + 1
    parts.append(text[last:].strip())
    return [part for part in parts if part]


def width_bytes(instruction: Instruction, part: int = -1) -> int:
    """Bytes that a load, a move or a calculation takes.

    Args:
        part: which operand, predicates left out: a few take a wide one beside narrow ones. -1: another one.
    """
    opcode, name = instruction.opcode, instruction.name
    if name in _DOUBLES:
        return 8
    if name in ("IMAD", "UIMAD"):
        # The product of two words is added to a wide one, of which .HI keeps the upper half.
        return 8 if part == 3 and (".WIDE" in opcode or ".HI" in opcode) else 4
    # Result first: F2F.F64.F32 takes a word. I2F and F2I name one of the two where the other is a word.
    kinds = _KIND.findall(opcode) if name in _CONVERTS else []
    if kinds:
        taken = [k for k in kinds if (k[0] in "FB") != (name in ("I2F", "UI2F"))]
        return int(taken[-1].lstrip("USBF")) // 8 if taken else 4
    for word, size in ((".128", 16), (".64", 8), (".U16", 2), (".S16", 2), (".U8", 1), (".S8", 1)):
        if re.search(re.escape(word) + r"\b", opcode):
            return size
    if name in ("ISETP", "UISETP", "IMNMX", "VIMNMX") and re.search(r"\.[US]64\b", opcode):
        return 8
    return 4


def constant_reads(instruction: Instruction) -> list[ConstantRead]:
    """Operands of the form c[bank][offset]."""
    found = []
    places = [part for part in operands(instruction) if not re.fullmatch(r"!?U?P[T\d]", part)]
    for place, operand in enumerate(places):
        for match in _CONSTANT.finditer(operand):
            bank = int(match[1], 16) if match[1].startswith("0x") else -1
            index, offset = "", 0
            for part in re.sub(r"-(?=0x)", "+-", match[2]).split("+"):
                part = part.strip()
                if _NUMBER.match(part):
                    offset += int(part, 16)
                elif part and not re.fullmatch(r"U?RZ(\.\w+)?", part):
                    index = part.partition(".")[0]
            found.append(ConstantRead(bank, index, offset, width_bytes(instruction, place)))
    return found


def destination(instruction: Instruction) -> tuple[str, ...]:
    """Registers that it writes (predicates left out); a wide result names both halves."""
    if instruction.name in _NO_RESULT or "SETP" in instruction.name or instruction.name == "FCHK":
        return ()
    for part in operands(instruction)[:3]:
        match = re.fullmatch(r"(U?R)(\d+)(?:\.\w+)*", part)
        if match:
            count = 4 if ".128" in instruction.opcode else 1
            if count == 1 and (_WIDE.search(instruction.opcode) or instruction.name in _DOUBLES | {"CS2R"}):
                count = 1 if instruction.opcode.startswith("CS2R.32") else 2
            return tuple(f"{match[1]}{int(match[2]) + step}" for step in range(count))
        if not re.fullmatch(r"!?U?P[T\d]\w*", part):
            # Also RZ: a result that is thrown away is none, and what follows it are sources.
            return ()
    return ()


def sources(instruction: Instruction) -> set[str]:
    """Registers named anywhere but as the result."""
    results = destination(instruction)
    text = instruction.operands
    if results:
        # The result stands first; the same name further on is a source.
        text = text.replace(results[0], "", 1)
    return set(_REGISTER.findall(text))


BRANCHES = frozenset(["BRA", "EXIT", "RET", "JMP", "BRX", "JMX", "BRXU", "JMXU", "KILL"])
"""After which, where they have no condition, the next instruction does not run."""


def falls_through(instruction: Instruction) -> bool:
    """Whether what follows in the code may run next: not after a branch that is always taken."""
    if instruction.name not in BRANCHES or instruction.predicate:
        return True
    # From sm_100 on a condition may stand among the operands: BRA.U UP0, `(label).
    return bool(re.match(r"\s*[!~]?U?(?:P\d|R[Z\d])", instruction.operands)) and instruction.name == "BRA"


def predicates(instruction: Instruction, first: int) -> tuple[str, ...]:
    """Predicates among the operands from number `first` on; SETP instructions name their results as the first two."""
    found = (re.fullmatch(r"!?(U?P\d)", part) for part in operands(instruction)[first:])
    return tuple(match[1] for match in found if match)


def address_registers(instruction: Instruction) -> set[str]:
    """Registers in the address of a load, a store or an atomic (the descriptor's own left out)."""
    text = re.sub(r"desc\[[^\]]*\]", "", instruction.operands)
    text = _CONSTANT.sub("", text)
    return {name for inside in _MEMORY.findall(text) for name in re.findall(r"U?R\d+", inside)}


def stored_registers(instruction: Instruction) -> set[str]:
    """Registers whose value a store or an atomic writes."""
    text = _MEMORY.sub("", re.sub(r"desc\[[^\]]*\]", "", instruction.operands))
    return set(_REGISTER.findall(text)) - set(destination(instruction))


def constant_value(instruction: Instruction) -> int | None:
    """The 32-bit number that a move puts in its register; None where it is no plain number."""
    parts = operands(instruction)
    if instruction.name == "CS2R":
        return 0 if "SRZ" in parts else None
    if instruction.name in ("HFMA2", "HADD2") and len(parts) >= 5 and "RZ" in parts[1]:
        # ptxas loads small numbers as pairs of halves: the bits of the two added constants.
        try:
            low, high = (struct.unpack("<H", struct.pack("<e", float(p)))[0] for p in (parts[4], parts[3]))
        except (ValueError, OverflowError):
            return None
        return int(high) << 16 | int(low)
    if instruction.name in ("MOV", "UMOV", "MOV32I", "IMAD"):
        last = parts[-1] if instruction.name == "IMAD" else parts[1] if len(parts) > 1 else ""
        if last in ("RZ", "URZ"):
            last = "0x0"
        if _NUMBER.match(last) and (instruction.name != "IMAD" or parts[1:3] == ["RZ", "RZ"]):
            return int(last, 16) & 0xFFFFFFFF
    return None
