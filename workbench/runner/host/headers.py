"""Which headers the host target reads of those that a candidate includes: what NVRTC would read, and no other.

The C library's headers are empty under NVRTC (`runner/compiler/include`), and the prelude has what device code can use
of them. Were they read here, their macros and functions would tell the two targets apart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from workbench.core.plan import Diagnostic
from workbench.runner.compiler.headers import OWN
from workbench.runner.compiler.includes import directives

INCLUDE = Path(__file__).parent / "include"
STANDARD = ("algorithm", "array", "functional", "limits", "tuple", "type_traits", "utility")
"""The C++ library's headers that NVRTC gets as libcu++'s."""
CONSTANTS = "math_constants.h"
_GIVEN = ("cuda_fp16.h", "cuda_bf16.h", "cuda_fp8.h", "vector_types.h", "vector_functions.h")
"""NVIDIA's headers that the prelude reads."""
_CHOOSES = re.compile(r"NV_(?!PROVIDES|HAS_FEATURE|IS_)\w+|NV_IS_HOST|NV_IS_DEVICE|IF_DEVICE_OR_CUDACC")
"""Macros of NVIDIA's by which a text is one for the host and another for a GPU."""
_PLAIN = re.compile(r"(?:#|%:)[ \t]*include[ \t]*(?:<[^>\n]*>|\"[^\"\n]*\")")
_BODY = re.compile(r"\s*include\s*(?:<([^>]*)>|\"([^\"]*)\")\s*")
_DEFINED = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)", re.MULTILINE)
_PARTS = ("cuda", "cooperative_groups", "nv", "crt")


def shared_includes(text: str, folders: Sequence[str]) -> tuple[str, Diagnostic | None]:
    """`text` with the includes blanked that NVRTC finds empty, or would not find.

    Args:
        folders: with NVIDIA's headers.

    Returns:
        The text, each line and column where it was, and the first include that is not written plainly.
    """
    lines = text.split("\n")
    for line, column, body in directives(text):
        word = re.match(r"\s*(\w*)", body)
        if word is None or word[1] not in ("include", "include_next", "import", "embed"):
            continue
        named = _BODY.fullmatch(body)
        plain = _PLAIN.match(lines[line - 1], column - 1)
        if named is None or plain is None:
            odd = f"`#{word[1]}` is not written as `#include <header.h>` on one line; this needs cuda"
            return text, Diagnostic(odd, line, column)
        if not _shared(named[1] or named[2] or "", folders):
            row = lines[line - 1]
            lines[line - 1] = row[: column - 1] + " " * len(plain[0]) + row[plain.end() :]
    return "\n".join(lines), None


def _shared(name: str, folders: Sequence[str]) -> bool:
    if name in STANDARD:
        return True
    if name in _empty():
        return False
    return any(Path(folder, name).is_file() for folder in (str(INCLUDE), *folders))


def alike(name: str, folders: Sequence[str]) -> bool:
    """Whether it makes no difference on which target `#include <name>` is read; "" is no header, and makes none.

    The prelude has it already, its macros are known to `conditions.py`, or neither target reads it.
    """
    given = name in STANDARD or name in _GIVEN or (INCLUDE / name).exists()
    return given or not _shared(name, folders)


@cache
def _empty() -> frozenset[str]:
    """Headers of our own under which NVRTC finds nothing but the prelude."""
    found = set()
    for path in OWN.iterdir():
        said = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL).strip()
        if said == "#include <workbench_prelude.h>":
            found.add(path.name)
    return frozenset(found)


def cuda_macros(folders: Sequence[str]) -> frozenset[str]:
    """Names of the macros that NVIDIA's headers define somewhere; those of `CONSTANTS` apart (0.3 s)."""
    found: set[str] = set()
    for folder in folders:
        roots = [Path(folder, part) for part in _PARTS]
        paths = [*Path(folder).glob("*.h*"), *(p for root in roots for p in root.rglob("*") if p.is_file())]
        for path in paths:
            if path.name != CONSTANTS and path != Path(folder, "cuda.h"):  # for that there is one of our own
                found |= _defined(path)
    return frozenset(found)


def foreign_macros(known: frozenset[str], cuda: frozenset[str]) -> frozenset[str]:
    """Those of `known` that mean something else to NVRTC, or nothing, when code names them.

    Args:
        known: every macro of the host target.
        cuda: from `cuda_macros`.
    """
    own = {
        name for folder in (INCLUDE, OWN) for p in folder.rglob("*") if p.is_file() for name in _defined(p)
    }
    return frozenset(n for n in known if n not in own and (n not in cuda or _CHOOSES.fullmatch(n)))


def _defined(path: Path) -> set[str]:
    try:
        return set(_DEFINED.findall(path.read_text(errors="replace")))
    except OSError:
        return set()
