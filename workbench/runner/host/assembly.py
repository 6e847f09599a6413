"""What must change in the instrumented build's assembly: red zones behind shared variables, and calls of memcpy seen."""

from __future__ import annotations

import re

RED_ZONE = 64
"""Bytes behind each static `__shared__` variable in which an access is one too far."""

_ZEROS = re.compile(r"^(\s*\.(?:zero|skip|space)\s+)(\d+)\s*$")
_THREAD_LOCAL = re.compile(r"^\s*\.section\s+\.tbss")
_SECTION = re.compile(r"^\s*\.(section|text|data|bss|previous|popsection|pushsection)\b")
_CALL = re.compile(r"^\s*(call|jmp|bl|b|callq|jmpq)\b.*\b(memcpy|memmove|memset)\b")
_NAME = re.compile(r"\b(memcpy|memmove|memset)\b")


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
    return "\n".join(rows)
