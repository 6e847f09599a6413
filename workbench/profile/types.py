"""C++ types of a kernel's parameters, from the demangled name of a probe over its function type.

`probe<void (float const*, float*, int, __half)>()` becomes ("const float*", "float*", "int", "__half").
"""

from __future__ import annotations

import re
from typing import Literal

Kind = Literal["pointer", "int", "float", "struct", "unknown"]

_FLOATS = frozenset({"float", "double", "__half", "__nv_bfloat16", "__nv_fp8_e4m3", "__nv_fp8_e5m2", "half"})
_INTEGERS = frozenset(
    [
        "bool",
        "char",
        "wchar_t",
        "short",
        "int",
        "long",
        "signed",
        "unsigned",
        "__int128",
        "char8_t",
        "char16_t",
        "char32_t",
        "signed char",
        "unsigned char",
        "unsigned short",
        "unsigned int",
        "unsigned long",
        "long long",
        "unsigned long long",
        "unsigned __int128",
        "long int",
        "short int",
    ]
)
_QUALIFIER = re.compile(r"^(.*?[\w>:\])]) (const|volatile)$")


def parameter_types(demangled: str) -> tuple[str, ...] | None:
    """The parameter types named in a probe; None where the text is no probe over a function type."""
    start = demangled.find("<")
    if start < 0 or not demangled.endswith("()"):
        return None
    inner = demangled[start + 1 : demangled.rfind(">")].strip()
    opening = inner.find("(")
    if opening < 0 or not inner.endswith(")"):
        return None
    head, body = inner[:opening].strip(), inner[opening + 1 : -1]
    if head != "void":
        return None
    # A kernel named through a cast gives a pointer to its type: void (*)(int).
    pointer = re.match(r"\*\)\s*\(", body)
    if pointer:
        body = body[pointer.end() :]
    if body.strip() in ("", "void"):
        return ()
    return tuple(readable(part) for part in _split(body))


def _split(text: str) -> list[str]:
    """Parts between commas that stand in no bracket."""
    parts, depth, at = [], 0, 0
    for index, char in enumerate(text):
        if char in "<([{":
            depth += 1
        elif char in ">)]}":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[at:index])
            at = index + 1
    parts.append(text[at:])
    return [part.strip() for part in parts]


def readable(type_: str) -> str:
    """ "float const*" as people write it: "const float*"."""
    base, stars = type_, ""
    while base.endswith(("*", "&")) or re.search(r"[*&] (?:const|__restrict__|volatile)$", base):
        if base.endswith(("*", "&")):
            base, stars = base[:-1].rstrip(), base[-1] + stars
        else:
            base, word = base.rsplit(" ", 1)
            stars = f" {word}" + stars
    qualifiers: list[str] = []
    while (match := _QUALIFIER.match(base)) is not None:
        base = match[1]
        qualifiers.insert(0, match[2])
    return " ".join([*qualifiers, base]) + stars


def kind_of(type_: str) -> Kind:
    """Whether a C++ type is a pointer, an integer, a float or a struct."""
    bare = re.sub(r"\b(const|volatile)\b", "", type_).strip()
    if bare.endswith(("*", "&")) or "(*)" in bare:
        return "pointer"
    if bare in _INTEGERS:
        return "int"
    if bare in _FLOATS:
        return "float"
    return "struct" if bare else "unknown"
