"""What an instrumented run saw: accesses outside of buffers, reads of what nobody wrote, unordered accesses.

The runner's findings are hostile like all it says: they are bounded, every field is checked before it is used, and
they can only ever explain or fail a candidate, never help it. Their absence is worth as much as the runner's own code
being left alone, so the judge's other checks do not rest on it.
"""

from __future__ import annotations

import io
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

from workbench.runner.host.messages import MAX_FINDINGS, FindingC, FindingsC

FindingKind = Literal[
    "out of bounds", "unwritten read", "race", "same-value race", "index overflow", "inactive lane"
]
Space = Literal["global", "shared", "warp"]
_KINDS: dict[int, FindingKind] = {
    1: "out of bounds",
    2: "unwritten read",
    3: "race",
    4: "same-value race",
    5: "index overflow",
    6: "inactive lane",
}
_INCOMPLETE = (
    (1, "there was not enough memory to follow every buffer"),
    (2, "there were too many atomic or volatile accesses to order them all"),
    (4, "a launch had too many blocks"),
    (8, "further findings were dropped"),
    (16, "not every block that was chosen was followed to its end"),
)
NO_PLACE = 1 << 40
"""runtime/abi.h: kNoPlace."""
_LOCAL = 3
"""callbacks.cpp's `Where::space` of another thread's stack."""
_SHUFFLES = {1: "__shfl_sync", 2: "__shfl_up_sync", 3: "__shfl_down_sync", 4: "__shfl_xor_sync"}
Point = tuple[int, int, int]


class AccessFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that the instrumented run found, at one place in the code or between two."""

    kind: FindingKind
    message: str
    """One sentence, without the full stop."""
    space: Space
    kernel: str
    block: Point
    thread: Point
    line: int
    """In the candidate's own file; 0 where unknown."""
    access: Literal["read", "write", "atomic"]
    buffer: str
    """Name of the buffer or of the shared variable."""
    index: int
    """Byte offset in it."""
    nbytes: int
    """Of the access."""
    other_block: Point | None = None
    other_thread: Point | None = None
    other_line: int = 0
    other_access: Literal["read", "write", "atomic", ""] = ""
    count: int = 1
    """How often, at the same places in the code."""


class Accesses(msgspec.Struct, frozen=True, kw_only=True):
    """What an instrumented call saw in all."""

    findings: tuple[AccessFinding, ...]
    accesses: int
    """To memory that is not a thread's own stack."""
    incomplete: tuple[str, ...] = ()
    """What kept it from seeing everything, in words."""


class SharedVariable(msgspec.Struct, frozen=True):
    """A static `__shared__` variable in the library's thread-local storage."""

    name: str
    offset: int
    size: int
    ignored: bool = False
    """The compiler's own: a guard that says whether a variable's constructor ran."""


class Named(msgspec.Struct, frozen=True):
    """A buffer, for messages."""

    name: str
    nbytes: int
    itemsize: int = 1


def shared_variables(library: bytes) -> tuple[SharedVariable, ...]:
    """The static shared variables of an instrumented library, by offset; none where it cannot be read."""
    from elftools.elf.elffile import ELFFile

    try:
        table: Any = ELFFile(io.BytesIO(library)).get_section_by_name(".symtab")
        found = [
            SharedVariable(
                _plain_name(s.name), int(s["st_value"]), int(s["st_size"]), s.name.startswith("_ZGV")
            )
            for s in (table.iter_symbols() if table is not None else ())
            if s["st_info"]["type"] == "STT_TLS"
            and s["st_size"]
            and s["st_shndx"] != "SHN_UNDEF"
            and not _ours(s.name)
        ]
    except Exception:  # a hostile or odd object file: nothing is followed in it
        return ()
    return tuple(sorted(found, key=lambda v: v.offset)[:256])


def _ours(symbol: str) -> bool:
    return symbol.startswith("wb_") or symbol.startswith("_ZN2wb") or symbol.startswith("_ZZN2wb")


def _plain_name(symbol: str) -> str:
    """ "tile" of `_ZZ6kernelPfE4tile_0`."""
    symbol = symbol[:500]
    for match in reversed(list(re.finditer(r"E(\d+)", symbol))):
        digits = match[1]
        for start in range(len(digits)):  # "E14tile": the length is what is left of the digits
            length = int(digits[start:])
            name = symbol[match.end() : match.end() + length]
            if length and len(name) == length and re.fullmatch(r"[A-Za-z_]\w*", name):
                return name
    outer = re.match(r"_ZL?(\d+)(.*)", symbol)
    if outer and len(outer[2]) >= int(outer[1]):
        return outer[2][: int(outer[1])]
    return symbol[:80]


def decode(
    raw: FindingsC,
    library: bytes,
    names: Sequence[str],
    buffers: Sequence[Named],
    variables: Sequence[SharedVariable],
) -> Accesses:
    """Findings in words.

    Args:
        names: of the kernel of each step.
        buffers: by number, as they were given to the runner.
    """
    items = [raw.item[i] for i in range(min(int(raw.count), MAX_FINDINGS)) if int(raw.item[i].kind) in _KINDS]
    # What is read too early is also read unwritten: the race is what is wrong.
    racing = {p for i in items if int(i.kind) == 3 for p in _read_places(i)}
    items = [i for i in items if int(i.kind) != 2 or int(i.pc) not in racing]
    places = {int(pc) - 1 for item in items for pc in (item.pc, item.other_pc) if 0 < pc < NO_PLACE}
    lines = lines_of(library, places) if places else {}
    return Accesses(
        findings=tuple(_decode(item, lines, names, buffers, variables) for item in items),
        accesses=int(raw.accesses),
        incomplete=tuple(text for bit, text in _INCOMPLETE if int(raw.incomplete) & bit),
    )


def _read_places(item: FindingC) -> tuple[int, ...]:
    sides = ((int(item.pc), int(item.how)), (int(item.other_pc), int(item.other_how)))
    return tuple(pc for pc, how in sides if not how & 1)


def _decode(
    item: FindingC,
    lines: dict[int, int],
    names: Sequence[str],
    buffers: Sequence[Named],
    variables: Sequence[SharedVariable],
) -> AccessFinding:
    kind = _KINDS[int(item.kind)]
    step = int(item.step)
    kernel = names[step] if step < len(names) else ""
    space: Space = "warp" if kind == "inactive lane" else "global" if int(item.space) == 0 else "shared"
    buffer, index, size = _place(item, buffers, variables)
    pc = int(item.pc)
    line = pc - NO_PLACE if NO_PLACE <= pc < NO_PLACE + 10**7 else lines.get(pc - 1, 0)
    access = _access(int(item.how))
    nbytes = min(int(item.bytes), 1 << 31)
    block, thread = _point(item.block), _point(item.thread)
    where = f"{kernel}, block {_written(block)}, thread {_written(thread)}" + (
        f", line {line}" if line else ""
    )
    verb = {"read": "reads", "write": "writes", "atomic": "updates"}[access]
    what = f"{nbytes} bytes of {buffer} at byte {index}"
    other_line = lines.get(int(item.other_pc) - 1, 0) if item.other_pc else 0
    if kind == "out of bounds" and int(item.space) == _LOCAL:
        message = (
            f"a pointer to another thread's local variable is {'read' if access == 'read' else 'written'} through, "
            f"which on the device is this thread's own memory ({where})"
        )
    elif kind == "out of bounds":
        side = "before its start" if index < 0 else f"past its {size} bytes" if size else "outside of it"
        message = f"{buffer} is {'read' if access == 'read' else 'written'} at byte {index}, {side} ({where})"
    elif kind == "unwritten read":
        message = f"{buffer} is read at byte {index}, which nobody has written ({where})"
    elif kind == "inactive lane":
        name = _SHUFFLES.get(int(item.other_pc), "a shuffle")
        buffer, index = "a register of another lane", 0
        message = (
            f"{name} reads lane {int(item.offset) & 31}, which takes no part in it: it has returned, is elsewhere, or "
            f"is not in the mask, and the value is undefined ({where})"
        )
    elif kind == "index overflow":
        wide = max(buffers[int(item.buffer)].itemsize, 1) if int(item.buffer) < len(buffers) else 1
        wanted = int(item.address)
        message = (
            f"{buffer} is {'read' if access == 'read' else 'written'} at element {index // wide} where element "
            f"{wanted // wide} is meant: 32 bits are too few for this index ({where})"
        )
    else:
        other_block, other_thread = _point(item.other_block), _point(item.other_thread)
        other_verb = {"read": "reads", "write": "writes", "atomic": "updates"}[_access(int(item.other_how))]
        who = f"thread {_written(other_thread)}"
        if other_block != block:
            who += f" of block {_written(other_block)}"
        at = f" in line {other_line}" if other_line else ""
        message = f"{verb} {what}, which {who} {other_verb}{at} with nothing to order them ({where})"
        if kind == "same-value race":
            message += ", with the same value"
        return AccessFinding(
            kind=kind,
            message=f"thread {_written(thread)} {message}",
            space=space,
            kernel=kernel,
            block=block,
            thread=thread,
            line=line,
            access=access,
            buffer=buffer,
            index=index,
            nbytes=nbytes,
            other_block=other_block,
            other_thread=other_thread,
            other_line=other_line,
            other_access=_access(int(item.other_how)),
            count=int(item.count),
        )
    return AccessFinding(
        kind=kind,
        message=message,
        space=space,
        kernel=kernel,
        block=block,
        thread=thread,
        line=line,
        access=access,
        buffer=buffer,
        index=index,
        nbytes=nbytes,
        count=int(item.count),
    )


def _place(
    item: FindingC, buffers: Sequence[Named], variables: Sequence[SharedVariable]
) -> tuple[str, int, int]:
    """Name, byte offset and size of the buffer or variable that a finding is about."""
    offset = int(item.offset)
    if int(item.space) == 0:
        number = int(item.buffer)
        if number < len(buffers):
            return buffers[number].name, offset, buffers[number].nbytes
        return "a buffer", offset, 0
    if int(item.space) == 1:
        return "dynamic shared memory", offset, 0
    if int(item.space) == _LOCAL:
        return "another thread's local memory", 0, 0
    at = bisect_right([v.offset for v in variables], offset) - 1
    if 0 <= at < len(variables):
        variable = variables[at]
        return f"shared memory {variable.name}", offset - variable.offset, variable.size
    return "shared memory", offset, 0


def _access(how: int) -> Literal["read", "write", "atomic"]:
    return "atomic" if how & 2 else "write" if how & 1 else "read"


def _point(p: Sequence[int]) -> Point:
    return int(p[0]), int(p[1]), int(p[2])


def _written(p: Point) -> str:
    return "(" + ", ".join(map(str, p)) + ")"


def lines_of(library: bytes, places: Iterable[int]) -> dict[int, int]:
    """The candidate's own line at each place (relative to the load address); places without one are left out."""
    from elftools.elf.elffile import ELFFile

    wanted = sorted(places)
    found: dict[int, int] = {}
    try:
        dwarf = ELFFile(io.BytesIO(library)).get_dwarf_info()
        for unit in dwarf.iter_CUs():
            program = dwarf.line_program_for_CU(unit)
            if program is None:
                continue
            base = 1 if program["version"] < 5 else 0
            own_file = [is_own_file(f.name) for f in program["file_entry"]]
            start, own = -1, 0
            for entry in program.get_entries():
                state = entry.state
                if state is None:
                    continue
                if start >= 0 and own and state.address > start:
                    at = bisect_right(wanted, start - 1)
                    while at < len(wanted) and wanted[at] < state.address:
                        found.setdefault(wanted[at], own)
                        at += 1
                if state.end_sequence:
                    start, own = -1, 0
                    continue
                start = state.address
                number = state.file - base
                if state.line and 0 <= number < len(own_file) and own_file[number]:
                    own = int(state.line)
    except Exception:  # a hostile or odd object file: no line is an answer too
        return found
    return found


def is_own_file(name: bytes | str) -> bool:
    text = name.decode(errors="replace") if isinstance(name, bytes) else name
    return bool(text) and not text.endswith((".h", ".hpp", "workbench-entries", "runtime.cpp", ".inc"))
