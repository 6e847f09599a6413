"""What stands in local variables that nobody set, where clang++ compiles.

Its -ftrivial-auto-var-init=pattern gives integers 0xAA in each byte, and floats the NaN of all ones, which a maximum or
minimum drops without a trace. Both builds therefore get other values for floats: those of g++ (see `assembly.py`). This is
done between clang's front end and its optimiser, where the first value of a variable is marked as such, so that no
constant of the candidate's own is ever taken for one.
"""

from __future__ import annotations

import re
import struct

_MARK = re.compile(r"^(!\d+) = (?:distinct )?!\{.*!\"auto-init\".*\}$", re.MULTILINE)
_MARKED = re.compile(r"^  (?:tail )?(?:store|call) .*!annotation (!\d+)", re.MULTILINE)
_GLOBAL = re.compile(r"@(?:[\w.$]+|\"[^\"\n]*\")")
_FLOAT = re.compile(r"\b(?:float 0xFFFFFFFFE0000000|double 0xFFFFFFFFFFFFFFFF|half 0xHFFFF)")
_INTEGER = re.compile(r"\bi(\d+) (-\d+)\b")
_FILL = re.compile(r"(@llvm\.memset\.\S+\(.*?, i8 )-1,")


def _floats(single: bytes, double: bytes, half: str) -> dict[str, str]:
    wide = struct.pack(
        ">d", *struct.unpack(">f", single)
    )  # IR writes a float as the double of the same value
    return {
        "float": f"float 0x{wide.hex().upper()}",
        "double": f"double 0x{double.hex().upper()}",
        "half": f"half 0xH{half}",
    }


_PLAIN = _floats(b"\xfe" * 4, b"\xfe" * 8, "FBFF")
"""-1.7e38, -5e303 and -65504."""
_OTHER = _floats(b"\x7f\x80\0\0", b"\x7f\xf0" + bytes(6), "7C00")
"""+infinity."""


def refilled(ir: str, *, instrumented: bool) -> str:
    """clang's intermediate code with other first values in variables that the candidate does not set."""
    marks = set(_MARK.findall(ir))
    floats, byte = (_OTHER, "127") if instrumented else (_PLAIN, "-2")

    def integer(match: re.Match[str]) -> str:
        bits, value = int(match[1]), int(match[2])
        pattern = int.from_bytes(b"\xaa" * (bits // 8), "little") - (1 << bits)
        return f"i{bits} {~value}" if instrumented and bits >= 8 and value == pattern else match[0]

    def other(row: str) -> str:
        row = _FLOAT.sub(lambda m: floats[m[0].split()[0]], row)
        return _INTEGER.sub(integer, _FILL.sub(rf"\g<1>{byte},", row))

    named: set[str] = set()

    def marked(match: re.Match[str]) -> str:
        row = match[0]
        if match[1] not in marks:
            return row
        if "@llvm.memcpy" in row:  # a struct's or array's first value is a constant with a name
            named.update(n for n in _GLOBAL.findall(row) if not n.startswith("@llvm."))
        return other(row)

    ir = _MARKED.sub(marked, ir)
    rows = ir.split("\n")
    for i, row in enumerate(rows):
        if row.startswith("@") and row.split(" ", 1)[0] in named:
            rows[i] = other(row)
    return "\n".join(rows)
