"""What must change in the instrumented build's assembly: red zones behind shared variables, calls of memcpy seen, and
something else in local variables that nobody set."""

from __future__ import annotations

import re

RED_ZONE = 64
"""Bytes behind each static `__shared__` variable in which an access is one too far."""

_ZEROS = re.compile(r"^(\s*\.(?:zero|skip|space)\s+)(\d+)\s*$")
_THREAD_LOCAL = re.compile(r"^\s*\.section\s+\.tbss")
_SECTION = re.compile(r"^\s*\.(section|text|data|bss|previous|popsection|pushsection)\b")
_CALL = re.compile(r"^\s*(call|jmp|bl|b|callq|jmpq)\b.*\b(memcpy|memmove|memset)\b")
_NAME = re.compile(r"\b(memcpy|memmove|memset)\b")


# What -ftrivial-auto-var-init=pattern puts into local variables: g++ 0xFE in each byte, clang++ 0xAA (NaN for floats).
# Here it is something else, so that a result which depends on it differs between the two builds. For g++, whose pattern
# is -1.7e38, that is +infinity: a maximum that starts there is wrong, where one that starts at -1.7e38 is right; times
# zero it is no zero (an online softmax without a first sum); and what -1.7e38 turns into NaN (the root of a sum), it does
# not. A NaN would fail the first, which fmaxf drops, and the last. Arrays that are filled byte by byte get 3.4e38. For
# clang++ it is a finite number, since its own pattern is the NaN.
_OTHER = {
    "-16843010": "2139095040",
    "4278124286": "2139095040",
    "-72340172838076674": "9187343241974906880",
    "-1431655766": "1431655765",
    "-6148914691236517206": "6148914691236517205",
}
_PATTERN = re.compile(r"(?<![\w.])(" + "|".join(sorted(_OTHER, key=len, reverse=True)) + r")(?!\w)")
_MEMSET = re.compile(r"^(\s*movl\s+)\$(254|170)(,\s*%esi\b.*)$|^(\s*mov\s+w1,\s*)(254|170)\b(.*)$")
# Small arrays are filled by a vector of one byte, which is loaded just before.
_BROADCAST = re.compile(r"^\s*vpbroadcastb\s")
_BYTE = re.compile(r"^(\s*movl\s+)\$(?:-2|254|-86|170)(,\s*%e\w+)$")
_MOVI = re.compile(r"^(\s*movi\s+v\d+\.(?:16|8)b,\s*)(?:0xfe|0xf{15}e|-2|0xaa|0xf{14}aa)$")


def _elsewhere(row: str) -> str:
    """The same row with the other pattern in place of the compiler's."""
    match = _MEMSET.match(row)
    if match:
        return f"{match[1]}$127{match[3]}" if match[2] else f"{match[4]}127{match[6]}"
    if "movi" in row:
        return _MOVI.sub(r"\g<1>127", row)
    return _PATTERN.sub(lambda m: _OTHER[m[0]], row)


def watched(assembly: str) -> str:
    """The assembly with a red zone behind each variable of thread-local storage and our own memcpy, memmove, memset.

    The symbols keep their sizes, so the zones belong to nobody. Lines that look otherwise stay as they are: then a
    variable has no red zone, and nothing else changes.
    """
    rows = assembly.split("\n")
    inside = False
    for i, row in enumerate(rows):
        if _SECTION.match(row):
            inside = bool(_THREAD_LOCAL.match(row))
        elif inside and (match := _ZEROS.match(row)):
            rows[i] = f"{match[1]}{int(match[2]) + RED_ZONE}"
        elif _CALL.match(row):
            rows[i] = _NAME.sub(r"wb_seen_\1", row)
        elif _BROADCAST.match(row):
            for back in range(max(i - 4, 0), i):
                rows[back] = _BYTE.sub(r"\1$127\2", rows[back])
        elif "\t.loc" not in row:
            rows[i] = _elsewhere(row)
    return "\n".join(rows)
