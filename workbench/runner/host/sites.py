"""What the instrumented build's assembly says of each place that the runtime counts: its line, and what it computes.

`-fsanitize=thread` and `-fsanitize-coverage=trace-pc` make the compiler call out at each access and at the start of each
block of code. Beside every such call an entry goes to a section of its own: the return address, the candidate's own line,
and how many issue slots of an SM the block's arithmetic would take, by class. The host's instructions stand for the
device's: loads, stores, moves and the addresses of accesses are left out, calls of the C library weigh what CUDA's own
function takes. Code from headers counts with its floating-point arithmetic alone, since most of its integer work emulates
what the device does in one instruction.
"""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass
from typing import Any

from workbench.runner.host.accesses import is_own_file

SECTION = "wb_sites"
LOOPS = "wb_loops"
_ENTRY = struct.Struct("<iIHHHHHH")
_LOOP = struct.Struct("<III")
_MAX_SITES, _MAX_LOOPS = 20_000, 4_000
CALLS: dict[str, tuple[int, int, int]] = {
    # fp32, int, special: issue slots of the usual path through CUDA's own functions without -use_fast_math. Estimated by
    # hand from how such functions are made, not counted: they order kernels, and no figure rests on one alone.
    "expf": (6, 2, 1),
    "exp2f": (3, 1, 1),
    "exp10f": (7, 2, 1),
    "expm1f": (14, 3, 1),
    "logf": (14, 8, 0),
    "log2f": (4, 1, 1),
    "log10f": (14, 8, 0),
    "log1pf": (16, 8, 1),
    "powf": (60, 20, 2),
    "sqrtf": (7, 3, 1),
    "cbrtf": (10, 4, 2),
    "sinf": (12, 10, 0),
    "cosf": (12, 10, 0),
    "tanf": (16, 10, 1),
    "tanhf": (12, 4, 2),
    "sinhf": (16, 4, 2),
    "coshf": (10, 3, 2),
    "asinf": (14, 4, 1),
    "acosf": (16, 4, 1),
    "atanf": (14, 3, 1),
    "atan2f": (24, 8, 1),
    "erff": (14, 4, 1),
    "erfcf": (24, 6, 2),
    "lgammaf": (60, 20, 4),
    "tgammaf": (40, 16, 4),
    "fmodf": (30, 20, 1),
    "fmaxf": (1, 0, 0),
    "fminf": (1, 0, 0),
    "fmaf": (1, 0, 0),
    "fabsf": (0, 0, 0),
    "floorf": (1, 0, 0),
    "ceilf": (1, 0, 0),
    "truncf": (1, 0, 0),
    "rintf": (1, 0, 0),
    "nearbyintf": (1, 0, 0),
    "roundf": (4, 1, 0),
    "ldexpf": (3, 3, 0),
}
"""Double precision: a name without the `f` weighs twice as much, as fp64."""
_DIVIDE = (8, 1, 1)
_INTEGER_DIVIDE = (0, 18, 1)

_FP32 = re.compile(
    r"v?(?:add|sub|mul|min|max|fn?m(?:add|sub)\d+|u?comi|cmp\w*?|round|cvt\w*?2|cvt\w+)(ss|ps)[lq]?$"
)
_FP64 = re.compile(r"v?(?:add|sub|mul|min|max|fn?m(?:add|sub)\d+|u?comi|cmp\w*?|round)(sd|pd)$")
_CONVERT = re.compile(r"v?cvtt?\w+$")
_INT = re.compile(
    r"(?:add|adc|sub|sbb|imul|mul|mulx|sal|shl|shr|sar|shlx|shrx|sarx|rol|ror|rorx|and|andn|or|xor|not|neg|inc|dec|cmp|test"
    r"|lea|bt|bts|btr|bsf|bsr|tzcnt|lzcnt|popcnt|bextr|bzhi|blsr|blsi|blsmsk|shld|shrd|bswap)[bwlq]?$|set\w+$|cmov\w+$"
)
_JUMP = re.compile(r"(?:j\w+|b|b\.\w+|cbn?z|tbn?z|br|ret\w*|rep)$")
_ARM_FP = re.compile(
    r"f(?:n?m?add|n?m?sub|n?mul|max\w*|min\w*|cmpe?|ccmp|cvt\w+|rint\w|sel|abs|neg)$|[su]cvtf$"
)
_ARM_INT = re.compile(
    r"(?:add|sub|mul|madd|msub|smull|umull|smaddl|umaddl|lsl|lsr|asr|ror|and|orr|eor|bic|cmp|cmn|tst|ccmp|csel|cset"
    r"|csinc|cinc|csneg|neg|mvn|ubfx|sbfx|ubfiz|sbfiz|bfi|clz|rbit|sxtw|uxtw)s?$"
)
_LINE = re.compile(r"^\s*\.loc\s+(\d+)\s+(\d+)")
_FILE = re.compile(r'^\s*\.file\s+(\d+)\s+"([^"]*)"(?:\s+"([^"]*)")?')
_FUNCTION = re.compile(r"^\s*\.type\s+([^,\s]+),\s*[@%]function")
_LABEL = re.compile(r"^([.\w$]+):")
_CALL = re.compile(r"^\s*(?:call|callq|bl|jmp|jmpq)\s+\*?([\w.$]+)")
_INSTRUCTION = re.compile(r"^\s+([a-z][\w.]*)(?:\s+(.*))?$")
_TARGETS = re.compile(r"\.L[\w$]+")


@dataclass
class Site:
    """A place in the code that the runtime counts at."""

    line: int = 0
    """In the candidate's own file; 0: in a header's function that was not inlined, or unknown."""
    fp32: int = 0
    """Issue slots of one execution by one warp, of instructions at full rate; the other classes likewise."""
    integer: int = 0
    special: int = 0
    """Of the special-function unit."""
    fp64: int = 0
    exchanges: int = 0
    """Warp intrinsics."""
    barriers: int = 0
    loops: frozenset[int] = frozenset()
    """That it lies in, inner and outer ones, also by way of a call."""

    def add(self, weights: tuple[int, int, int], double: bool = False) -> None:
        """Slots by class; `double`: floating-point ones are double precision."""
        fp, integer, special = weights
        if double:
            self.fp64 += fp
        else:
            self.fp32 += fp
        self.integer += integer
        self.special += special


def annotate(assembly: str) -> str:
    """The assembly with a table of its sites; a line that looks unknown counts for nothing."""
    rows = assembly.split("\n")
    targets = {t for row in rows if _refers(row) for t in _TARGETS.findall(row)}
    files: dict[int, bool] = {}
    own_line, header, entering = 0, False, False
    current: Site | None = None
    pending = Site()
    out: list[str] = []
    sites: list[Site] = []
    starts: dict[str, int] = {}  # by label and function: sites before it
    backward: list[tuple[int, int]] = []  # by loop: numbers of the first site and of the last
    calls: list[tuple[str, int]] = []  # functions called, and the sites before
    ends: dict[str, int] = {}
    function = ""
    for row in rows:
        out.append(row)
        if (loc := _LINE.match(row)) is not None:
            if int(loc[2]):
                header = not files.get(int(loc[1]), True)
                own_line = own_line if header else int(loc[2])
        elif (file := _FILE.match(row)) is not None:
            files[int(file[1])] = is_own_file(file[3] or file[2])
        elif (begins := _FUNCTION.match(row)) is not None:
            function, own_line, current, pending, entering = begins[1], 0, None, Site(), True
            starts[function] = ends[function] = len(sites)
        elif (label := _LABEL.match(row)) is not None:
            if label[1] in targets:
                current, pending = None, Site()
                starts[label[1]] = len(sites)
        elif (call := _CALL.match(row)) is not None and not call[1].startswith(".L"):
            name = call[1].partition("@")[0]
            if name == "__sanitizer_cov_trace_pc":
                current, pending = pending, Site()
                current.line = own_line
                if entering and header:
                    current.add((1, 0, 0))  # what is a function on the host is one instruction on the device
                entering = False
                sites.append(current)
                out.append(f".Lwb_site{len(sites)}:")
            elif name.startswith(("__tsan_", "wb_seen_")):
                sites.append(Site(own_line))
                out.append(f".Lwb_site{len(sites)}:")
            else:
                _called(current or pending, name)
                calls.append((name, len(sites)))
            ends[function] = len(sites)
        elif (instruction := _INSTRUCTION.match(row)) is not None:
            _weigh(current or pending, instruction[1], instruction[2] or "", header)
            if _JUMP.match(instruction[1]):
                current, pending = None, Site()
                to = (instruction[2] or "").rpartition(",")[2].strip()
                if starts.get(to, len(sites)) < len(sites):
                    backward.append((starts[to] + 1, len(sites)))
    if sites and len(sites) <= _MAX_SITES:
        out += _tables(sites, _loops(backward, calls, starts, ends))
    return "\n".join(out) + "\n"


def _loops(
    backward: list[tuple[int, int]],
    calls: list[tuple[str, int]],
    starts: dict[str, int],
    ends: dict[str, int],
) -> list[tuple[int, int, int]]:
    """Loop, first and last site, for each stretch of code that runs in it: its own, and those of functions it calls."""
    found: list[tuple[int, int, int]] = []
    for loop, (first, last) in enumerate(backward):
        stretches, seen = [(first, last)], set[str]()
        while stretches and len(found) < _MAX_LOOPS:
            low, high = stretches.pop()
            found.append((loop, low, high))
            for name, before in calls:
                if low <= before <= high and name in ends and name not in seen:
                    seen.add(name)
                    stretches.append((starts[name] + 1, ends[name]))
    return found


def _tables(sites: list[Site], loops: list[tuple[int, int, int]]) -> list[str]:
    rows = [f'\t.section {SECTION},"a"', "\t.balign 4"]
    for number, s in enumerate(sites, 1):
        weights = (s.fp32, s.integer, s.special, s.fp64, s.exchanges, s.barriers)
        rows.append(f"\t.long .Lwb_site{number} - ., {s.line}")
        rows.append(f"\t.short {', '.join(str(min(v, 65535)) for v in weights)}")
    rows += [f'\t.section {LOOPS},"a"', "\t.balign 4"]
    rows += [f"\t.long {loop}, {first}, {last}" for loop, first, last in loops]
    return [*rows, "\t.text"]


def _refers(row: str) -> bool:
    instruction = _INSTRUCTION.match(row)
    return (instruction is not None and bool(_JUMP.match(instruction[1]))) or ".long" in row or ".quad" in row


def _called(to: Site, name: str) -> None:
    if name in ("wb_warp", "wb_activemask"):
        to.exchanges += 1
    elif name == "wb_barrier":
        to.barriers += 1
    name = name.removeprefix("__").removesuffix("_finite")
    if name in CALLS:
        to.add(CALLS[name])
    elif f"{name}f" in CALLS:
        fp, integer, special = CALLS[f"{name}f"]
        to.add((2 * fp, integer, special), double=True)


def _weigh(to: Site, opcode: str, operands: str, header: bool) -> None:
    if opcode.startswith(("vdiv", "div", "vsqrt", "sqrt")) and opcode[-2:] in ("ss", "ps", "sd", "pd"):
        to.add(_DIVIDE, double=opcode[-1] == "d")
    elif opcode in ("fdiv", "fsqrt"):
        to.add(_DIVIDE, double=operands.startswith("d"))
    elif _FP64.match(opcode) or (_ARM_FP.match(opcode) and operands.startswith("d")):
        to.fp64 += 1
    elif _FP32.match(opcode) or _CONVERT.match(opcode) or _ARM_FP.match(opcode):
        to.fp32 += 1
    elif header:
        return
    elif re.match(r"i?div[bwlq]?$|[su]div$", opcode):
        to.add(_INTEGER_DIVIDE)
    elif _INT.match(opcode) or _ARM_INT.match(opcode):
        # An access's address, the stack, and zeros cost nothing or little on the device.
        address = opcode.startswith("lea") and operands.endswith("%rdi")
        zero = opcode.startswith("xor") and len({o.strip() for o in operands.split(",")}) == 1
        if not address and not zero and not re.search(r"%rsp$|\bsp\b", operands):
            to.integer += 1
    elif _JUMP.match(opcode) and not opcode.startswith(("ret", "rep", "jmp")):
        to.integer += 1


def read_sites(library: bytes) -> dict[int, Site]:
    """By return address, relative to the load address; empty where the library has no table or cannot be read."""
    from elftools.elf.elffile import ELFFile

    found: dict[int, Site] = {}
    try:
        elf: Any = ELFFile(io.BytesIO(library))
        section, loops = elf.get_section_by_name(SECTION), elf.get_section_by_name(LOOPS)
        if section is None:
            return found
        data, start = section.data(), int(section["sh_addr"])
        count = min(len(data) // _ENTRY.size, _MAX_SITES)
        inside: list[set[int]] = [set() for _ in range(count)]
        for loop, first, last in _LOOP.iter_unpack(loops.data()[: _MAX_LOOPS * _LOOP.size]) if loops else ():
            for number in range(max(first, 1), min(last, count) + 1):
                inside[number - 1].add(loop)
        for number in range(count):
            at = number * _ENTRY.size
            relative, line, fp32, integer, special, fp64, exchanges, barriers = _ENTRY.unpack_from(data, at)
            within = frozenset(inside[number])
            found[start + at + relative] = Site(
                line, fp32, integer, special, fp64, exchanges, barriers, within
            )
    except Exception:  # a hostile or odd object file: nothing is known of its places
        return found
    return found
