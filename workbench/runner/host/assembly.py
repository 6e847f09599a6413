"""What must change in the instrumented build's assembly: red zones behind shared variables, calls of memcpy, memmove and
memset seen (with g++ every one of them is a call, by `Toolchain.watching`), and something else in local variables that
nobody set."""

from __future__ import annotations

import re

RED_ZONE = 64
"""Bytes behind each static `__shared__` variable in which an access is one too far."""

_ZEROS = re.compile(r"^(\s*\.(?:zero|skip|space)\s+)(\d+)\s*$")
_THREAD_LOCAL = re.compile(r"^\s*\.section\s+\.tbss")
_SECTION = re.compile(r"^\s*\.(section|text|data|bss|previous|popsection|pushsection)\b")
_CALL = re.compile(r"^\s*(call|jmp|bl|b|callq|jmpq)\b.*\b(memcpy|memmove|memset)\b")
_NAME = re.compile(r"\b(memcpy|memmove|memset)\b")
_FILLS = re.compile(r"\bmemset\b")
_SECOND = re.compile(r"^\s*\w+\s+(?:.*,\s*)?%(?:rsi|esi|si|sil)\s*(?:#.*)?$|^\s*\w+\s+[wx]1,")
"""A row that puts something into the register of a call's second argument."""
_LEAVES = re.compile(r"^\s*(?:call|jmp|j[a-z]+|callq|jmpq|bl|b|b\.\w+|cbn?z|tbn?z|blr|br|ret\w*)\b|^[.\w$]+:")
"""A row after which another value may be in the second argument's register, or which is reached with another."""


# What g++'s -ftrivial-auto-var-init=pattern puts into local variables is 0xFE in each byte, for floats -1.7e38. Here it
# is something else, so that a result which depends on it differs between the two builds: +infinity. A maximum that starts
# there is wrong, where one that starts at -1.7e38 is right; times zero it is no zero (an online softmax without a first
# sum); and what -1.7e38 turns into NaN (the root of a sum), it does not. A NaN would fail the first, which fmaxf drops,
# and the last. Arrays that are filled byte by byte get 3.4e38. What clang++ puts there is replaced earlier (unset.py).
_BYTE_OF_PATTERN = 0xFE
_OTHER = 0x7F800000
# Arrays are filled by memset; small ones by a vector of one byte, which is loaded just before.
_MEMSET = re.compile(r"^(\s*movl\s+)\$(\d+)(,\s*%esi\b.*)$|^(\s*mov\s+w1,\s*)(\d+)\b(.*)$")
_BROADCAST = re.compile(r"^\s*vpbroadcastb\s")
_BYTE = re.compile(r"^(\s*movl\s+)\$(-?\d+)(,\s*%e\w+)$")
_MOVI = re.compile(r"^(\s*movi\s+v\d+\.(?:16|8)b,\s*)(?:0xfe|0xf{15}e|-2)$")

_LITERAL = re.compile(
    r"(?<![\w.])(0[xX][\da-fA-F]{1,16}|0[bB][01]{1,64}|(?:0|[1-9]\d{0,19}))[uUlLzZ]{0,3}(?![\w.])"
)
_SEPARATOR = re.compile(r"(?<=[\da-fA-F])'(?=[\da-fA-F])")
_MINUS_TWO = re.compile(r"(?:^|[^\w)\]\s]|\breturn)\s*-\s*2\b|~\s*\(?\s*(?:0[xX]0*)?1[uUlLzZ]{0,3}\b")
"""A byte of the pattern as people write it: `-2`, or the complement of one."""


class Pattern:
    """What g++ puts into locals that nobody set, as its assembly writes it, and what stands there instead.

    A constant of the same bits that the candidate itself writes (or makes of one of its own by a complement, a sign or
    a shift) cannot be told apart, so it stays.
    """

    def __init__(self, text: str = "") -> None:
        """The pattern in the assembly of `text`, its defines included."""
        written = {int(number, 0) for number in _LITERAL.findall(_SEPARATOR.sub("", text))}
        written |= {made for n in written for made in (~n, -n, n << 1)}
        self._other: dict[str, str] = {}
        for bits in (32, 64):
            pattern = int.from_bytes(bytes([_BYTE_OF_PATTERN]) * (bits // 8), "little")
            if pattern not in {n & ((1 << bits) - 1) for n in written}:
                other = _OTHER * (1 if bits == 32 else (1 << 32) + 1)
                self._other |= {str(pattern): str(other), str(pattern - (1 << bits)): str(other)}
        byte = _BYTE_OF_PATTERN
        taken = byte in written or _MINUS_TWO.search(text)
        self._bytes = () if taken else (str(byte), str(byte - 256))
        choices = "|".join(sorted(self._other, key=len, reverse=True))
        self._constant = re.compile(rf"(?<![\w.])({choices})(?!\w)") if choices else None

    def replaced_filling(self, row: str) -> str:
        """The same row with the other value, where it loads the byte of a memset."""
        match = _MEMSET.match(row)
        if match is None or (match[2] or match[5]) not in self._bytes:
            return row
        return f"{match[1]}$127{match[3]}" if match[2] else f"{match[4]}127{match[6]}"

    def replaced(self, row: str) -> str:
        """The same row of assembly with the other value in place of the compiler's, a memset's byte apart."""
        if self._bytes and "movi" in row:
            return _MOVI.sub(r"\g<1>127", row)
        return self._constant.sub(lambda m: self._other[m[0]], row) if self._constant else row

    def replaced_byte(self, row: str) -> str:
        """The same for the byte that a vector is filled with."""
        match = _BYTE.match(row)
        return f"{match[1]}$127{match[3]}" if match and match[2] in self._bytes else row


def watched(assembly: str, pattern: Pattern | None) -> str:
    """The assembly with a red zone behind each variable of thread-local storage and our own memcpy, memmove, memset, and with
    something else in place of `pattern` (None: that was done).

    The symbols keep their sizes, so the zones belong to nobody. Lines that look otherwise stay as they are: then a
    variable has no red zone, and nothing else changes.
    """
    rows = assembly.split("\n")
    inside = False
    second = -1  # the row that may have loaded a memset's byte, while nothing jumped since
    for i, row in enumerate(rows):
        if _SECTION.match(row):
            inside = bool(_THREAD_LOCAL.match(row))
        elif inside and (match := _ZEROS.match(row)):
            rows[i] = f"{match[1]}{int(match[2]) + RED_ZONE}"
        elif _CALL.match(row):
            if pattern is not None and second >= 0 and _FILLS.search(row):
                rows[second] = pattern.replaced_filling(rows[second])
            second = -1
            rows[i] = _NAME.sub(r"wb_seen_\1", row)
        elif pattern is None:
            continue
        elif _BROADCAST.match(row):
            for back in range(max(i - 4, 0), i):
                rows[back] = pattern.replaced_byte(rows[back])
        elif _LEAVES.match(row):
            second = -1
        elif "\t.loc" not in row:
            second = i if _SECOND.match(row) else second
            rows[i] = pattern.replaced(row)
    return "\n".join(rows)
