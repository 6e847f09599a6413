"""What a candidate may not say on the host target, where its text meets things that a GPU does not have: names of the
target's own runtime, attributes and pragmas that only the host's compiler follows (one of them would switch off the
instrumented build's eyes), and functions of the C library that the runtime calls.

None of it means anything to CUDA, so a file that does it is left to a GPU (`needs cuda`), which blames nobody.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from workbench.core.plan import Diagnostic
from workbench.runner.host.conditions import Preprocessor
from workbench.runner.host.rewrite import Token, tokens

HERE = Path(__file__).parent
NEEDS = "needs.txt"
"""In the prepared folder: functions of other libraries that the runtime calls."""

_OWN = re.compile(r"\bwb_\w+")
_SANITIZER = re.compile(
    r"__(?:tsan|asan|msan|ubsan|hwasan|sanitizer|cyg_profile)_\w*|_init|_fini|_start"
    # Expanded inline, where nothing sees what they touch; NVRTC knows none of them.
    r"|__builtin_(?:__)?(?:mem|str|stp|bzero|bcopy|bcmp)\w*"
)
_ATTRIBUTES = frozenset(
    [
        "aligned",
        "always_inline",
        "assume_aligned",
        "assume",
        "cold",
        "const",
        "const_expr",
        "deprecated",
        "fallthrough",
        "flatten",
        "gnu_inline",
        "hot",
        "likely",
        "may_alias",
        "maybe_unused",
        "nodiscard",
        "no_unique_address",
        "noinline",
        "nonnull",
        "noreturn",
        "nothrow",
        "packed",
        "pure",
        "returns_nonnull",
        "unlikely",
        "unused",
        "used",
        "visibility",
        "vector_size",
        "warn_unused_result",
        "warning",
        "error",
        "carries_dependency",
        "gnu",
        "clang",
        "nv",
    ]
)
"""Known to both compilers and alike in what a program computes."""
_PRAGMAS = re.compile(
    r"(?:unroll|nounroll|once|nv_\w+|diag_\w+|hd_warning_disable|pack|push|pop|push_macro|pop_macro|STDC|omp|message|warning|region|endregion|"
    r"(?:GCC|clang)\s+(?:diagnostic|unroll|ivdep|loop|warning|system_header))\b"
)
_NAMESPACES = frozenset({"std", "wb", "__gnu_cxx"})


def reserved(text: str, preprocessor: Preprocessor, defines: Sequence[tuple[str, str]]) -> Diagnostic | None:
    """The first thing in a candidate's `text` that is the host target's own; None where nothing is.

    Raises:
        subprocess.TimeoutExpired: the preprocessor was not done in time.
    """
    found = _first(text)
    if found is None and ("##" in text or "%:%:" in text or re.search(r"\b_Pragma\s*\(\s*[^\s\"]", text)):
        # Names and pragmas that only come into being when macros are expanded.
        given = "".join(f"#define {name} {value}\n" for name, value in defines)
        hidden = _first(preprocessor.expanded(given + text, "expanded.cpp"))
        found = None if hidden is None else (hidden[0], None)
    if found is None:
        return None
    what, token = found
    place = (token.line, token.column) if token is not None else (0, 0)
    return Diagnostic(f"{what} means something else to the host's compiler; this needs cuda", *place)


def _first(text: str) -> tuple[str, Token | None] | None:
    stream = list(tokens(text))
    own = own_names()
    for i, token in enumerate(stream):
        following = stream[i + 1].text if i + 1 < len(stream) else ""
        if token.kind == "name":
            if token.text in own or _SANITIZER.fullmatch(token.text):
                return f"the name `{token.text}`", token
            if token.text in ("__attribute__", "__attribute"):
                if odd := next(
                    (a for a in _listed(stream, i + 1) if a.text.strip("_") not in _ATTRIBUTES), None
                ):
                    return f"the attribute `{odd.text}`", odd
            elif token.text == "namespace" and _opens_foreign(stream, i):
                return f"adding to namespace {following}", token
            elif token.text in ("_Pragma", "__pragma"):
                said = stream[i + 2].text.strip('"') if i + 2 < len(stream) else ""
                if stream[i + 2 : i + 3] and stream[i + 2].kind == "string" and not _PRAGMAS.match(said):
                    return f"the pragma `{said[:40]}`", token
        elif token.kind == "mark" and token.text == "#" and token.first and following == "pragma":
            said = re.sub(r"\\\r?\n", " ", text[stream[i + 1].start + 6 :]).split("\n", 1)[0].strip()
            if said and not _PRAGMAS.match(said):
                return f"the pragma `{said[:40]}`", token
        elif token.text in ("[", "<") and (opening := _opens_attributes(stream, i)):
            listed = _bracketed(stream, i + opening)
            if odd := next((a for a in listed if a.text.strip("_") not in _ATTRIBUTES), None):
                return f"the attribute `{odd.text}`", odd
    return None


def _opens_attributes(stream: Sequence[Token], i: int) -> int:
    """How many tokens open attributes at `i`: those of `[[`, each of which may be the digraph `<:`; 0 for none."""
    at = i
    for _ in range(2):
        texts = [t.text for t in stream[at : at + 2]]
        if texts[:1] == ["["]:
            at += 1
        elif texts == ["<", ":"]:
            at += 2
        else:
            return 0
    return at - i


def _listed(stream: Sequence[Token], i: int) -> Iterator[Token]:
    """The attributes' names in `((a, b(c)))` at `i`."""
    depth = 0
    for token in stream[i:]:
        depth += (token.text == "(") - (token.text == ")")
        if depth <= 0:
            return
        if depth == 2 and token.kind == "name":
            yield token


def _bracketed(stream: Sequence[Token], i: int) -> Iterator[Token]:
    """The attributes' names after `[[` at `i`, their namespaces too."""
    depth = 0
    for token in stream[i:]:
        if depth <= 0 and token.text in ("]", ":>"):
            return
        depth += (token.text == "(") - (token.text == ")")
        if depth == 0 and token.kind == "name" and token.text != "using":
            yield token


def _opens_foreign(stream: Sequence[Token], i: int) -> bool:
    """Whether `namespace` at `i` opens one that is not the candidate's."""
    if i and stream[i - 1].text == "using":
        return False
    names: list[str] = []
    for token in stream[i + 1 : i + 8]:
        if token.text in ("{", "="):
            return token.text == "{" and bool(names) and names[0] in _NAMESPACES
        if token.kind == "name" and token.text != "inline":
            names.append(token.text)
    return False


@cache
def own_names() -> frozenset[str]:
    """Every `wb_...` that the host target's headers and runtime say."""
    found: set[str] = set()
    for folder in (HERE / "include", HERE / "runtime"):
        for path in folder.rglob("*"):
            if path.is_file():
                found |= set(_OWN.findall(path.read_text(errors="replace")))
    return frozenset(found | {"wb_entry_0"})


_SYMBOL = struct.Struct("<IBBHQQ")
"""st_name, st_info, st_other, st_shndx, st_value, st_size."""
_SECTION = struct.Struct("<IIQQQQIIQQ")
"""sh_name, sh_type, sh_flags, sh_addr, sh_offset, sh_size, sh_link, sh_info, sh_addralign, sh_entsize."""
_SYMTAB = 2
_KINDS = (0, 1, 2, 10)
"""Symbols of no kind, objects, functions and indirect functions."""


def symbols(data: bytes, *, defined: bool) -> frozenset[str]:
    """Names in the symbol table of a 64-bit little-endian object file, defined in it or needed by it.

    Raises:
        ValueError: it is no such file.
    """
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a 64-bit little-endian ELF file")
    start, count = int.from_bytes(data[40:48], "little"), int.from_bytes(data[60:62], "little")
    try:
        sections = list(_SECTION.iter_unpack(data[start : start + count * _SECTION.size]))
        found: set[str] = set()
        for _, kind, _, _, offset, size, link, _, _, _ in sections:
            if kind != _SYMTAB:
                continue
            text_at, text_size = sections[link][4:6]
            text = data[text_at : text_at + text_size]
            for name, info, _, section, _, _ in _SYMBOL.iter_unpack(data[offset : offset + size]):
                if name and (section != 0) == defined and info & 15 in _KINDS:
                    found.add(text[name : text.index(b"\0", name)].decode("ascii", "replace"))
    except (struct.error, IndexError) as error:
        raise ValueError(f"not a whole ELF file: {error}") from None
    return frozenset(found)


def needs(objects: Iterable[Path]) -> str:
    """What the runtime's object files take from other libraries, one name a line."""
    found: set[str] = set()
    for path in objects:
        found |= symbols(path.read_bytes(), defined=False)
    return "\n".join(sorted(n for n in found if not n.startswith(("wb_", "_Z", "__tsan", "_GLOBAL_")))) + "\n"


def interposed(library: bytes, needed: frozenset[str]) -> Diagnostic | None:
    """A function that the runtime takes from the C library and that the candidate defines itself; None for none."""
    taken = sorted(symbols(library, defined=True) & needed)
    if not taken:
        return None
    return Diagnostic(
        f"`{taken[0]}` is a function of the C library, and this file defines another one; give it another name, or "
        "judge it on a GPU: this needs cuda"
    )
