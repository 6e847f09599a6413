"""What PTX says of its kernels' parameters and shared memory.

The cubin knows only sizes; PTX of the same compile still knows whether four bytes are a float or an integer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_ENTRY = re.compile(r"\.entry\s+([\w$.]+)\s*\(([^)]*)\)", re.DOTALL)
_PARAMETER = re.compile(
    r"\.param\s+(?:\.align\s+(?P<align>\d+)\s+)?\.(?P<type>[a-z]+\d+)\s*(?P<pointer>\.ptr\b[^\[,]*?)?\s*[\w$.]+(?:\[(?P<bytes>\d+)\])?\s*(?:,|$)"
)
_SHARED = re.compile(
    r"^\s*\.shared\s+\.align\s+(\d+)\s+\.[a-z]+(\d+)\s+[\w$.]+(?:\[(\d+)\])?\s*;", re.MULTILINE
)
_FILES = re.compile(r"^\s*\.file\s+(\d+)\s+\"([^\"]*)\"", re.MULTILINE)
_LOC = re.compile(r"^\s*\.loc\s+(\d+)\s")
_BEGINS = re.compile(r"\.(?:entry|func)\s+(?:\([^)]*\)\s*)?([\w$.]+)")
_WIDTH = re.compile(r"\d+$")


@dataclass(frozen=True)
class PtxParameter:
    """A parameter as PTX declares it."""

    type: str
    """"u64", "f32", "b8" (then `size` is the array's)."""
    size: int
    align: int

    @property
    def is_struct(self) -> bool:
        return self.type == "b8"


def entry_parameters(ptx: str) -> dict[str, tuple[PtxParameter, ...]]:
    """Parameters of each `.entry`, by symbol, in order."""
    found: dict[str, tuple[PtxParameter, ...]] = {}
    for entry in _ENTRY.finditer(ptx):
        parameters = []
        for match in _PARAMETER.finditer(entry[2].strip()):
            width = _WIDTH.search(match["type"])
            size = int(match["bytes"] or 1) * (int(width[0]) // 8 if width else 1)
            parameters.append(PtxParameter(match["type"], size, int(match["align"] or size)))
        found[entry[1]] = tuple(parameters)
    return found


def entry_shared_bytes(ptx: str) -> dict[str, int]:
    """Static shared memory that each `.entry` declares in its own body, bytes a block, by symbol.

    Arrays that ptxas drops because nothing reads them still count here.
    """
    entries = list(_ENTRY.finditer(ptx))
    found: dict[str, int] = {}
    for number, entry in enumerate(entries):
        end = entries[number + 1].start() if number + 1 < len(entries) else len(ptx)
        total = 0
        for match in _SHARED.finditer(ptx, entry.end(), end):
            align = int(match[1])
            total = -(-total // align) * align + int(match[2]) // 8 * int(match[3] or 1)
        found[entry[1]] = total
    return found


def own_assembly(ptx: str, own: str) -> set[str]:
    """Symbols of the entries and functions in which the file `own` has inline assembly.

    Inline assembly is copied into PTX as it stands, so it can hold a `.loc` that lays what follows at a toolkit
    header's door. The first block of a forger's own cannot: the `.loc` before it is the compiler's.
    """
    files = {number for number, path in _FILES.findall(ptx) if path.rsplit("/", 1)[-1] == own}
    found: set[str] = set()
    last, inside = "", ""
    for line in ptx.splitlines():
        place = _LOC.match(line)
        if place is not None:
            last = place[1]
        elif "begin inline asm" in line and (not last or last in files):
            found.add(inside)
        elif (begins := _BEGINS.search(line)) is not None:
            last, inside = "", begins[1]
    return found
