"""Whose line a machine instruction comes from: the candidate's, or the toolkit's that was inlined into it.

`#line` is refused before compiling, so a file's name in the inline chain cannot be forged but by inline assembly (`ptx`).
"""

from __future__ import annotations

import itertools

from workbench.profile.sass import Instruction, SourceLine

CANDIDATE = "candidate.cu"
"""The file name that every build gives the candidate (`runner.compiler.messages.FILE_NAME`)."""

_WAITS = ("cuda/std/__thread/threading_support.h", "cuda/std/__atomic/wait/polling.h")
"""Where libcu++ backs off while it waits for a barrier, a semaphore or an atomic; it looks at the timer for that."""


def is_own(place: SourceLine) -> bool:
    """Whether a line is the candidate's; every other file is the toolkit's or our prelude."""
    return place.file.rsplit("/", 1)[-1] == CANDIDATE


def own_line(instruction: Instruction) -> int:
    """The candidate's line that an instruction comes from, through whatever the toolkit inlined; 0 if unknown."""
    return next((place.line for place in instruction.chain if is_own(place)), 0)


def from_toolkit(instruction: Instruction) -> bool:
    """Whether a toolkit header, and not the candidate's text, wrote the instruction."""
    return bool(instruction.chain) and not is_own(instruction.chain[0])


def waits_inside_toolkit(instruction: Instruction) -> bool:
    """Whether it belongs to libcu++'s own back-off: only toolkit lines lie inside of that function and just outside."""
    for number, place in enumerate(instruction.chain):
        if is_own(place):
            return False
        if place.file.endswith(_WAITS):
            return not any(is_own(outside) for outside in instruction.chain[number + 1 : number + 2])
    return False


def readable(symbol: str) -> str:
    """The last name in a mangled symbol, as a person wrote it."""
    if not symbol.startswith("_Z"):
        return symbol
    names, at = [], 0
    while at < len(symbol):
        digits = ""
        while at < len(symbol) and symbol[at].isdigit():
            digits, at = digits + symbol[at], at + 1
        if digits and (size := int(digits)) <= len(symbol) - at:
            names.append(symbol[at : at + size])
            at += size
        else:
            at += 1
    return names[-1] if names else symbol


def in_cooperative_groups(instruction: Instruction) -> bool:
    """Whether only cooperative groups' own lines lie between an instruction and the candidate's."""
    places = list(itertools.takewhile(lambda place: not is_own(place), instruction.chain))
    return bool(places) and all("cooperative_groups" in place.file for place in places)
