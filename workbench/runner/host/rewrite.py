"""What must change in device code before a C++ compiler takes it, and what the host target cannot run, by name.

Almost everything is done by macros in the prelude, so that lines and columns stay the file's own. What is left is
`extern __shared__ T name[];`, which becomes a reference to the block's dynamic shared memory. The few columns by which
that moves the rest of its line are noted, and taken back in diagnostics.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from workbench.core.plan import Diagnostic

_TOKEN = re.compile(
    r"""
    (?P<blank>[ \t\r\f\v]+|\\\r?\n)
  | (?P<newline>\n)
  | (?P<comment>//[^\n]*|/\*.*?\*/)
  | (?P<raw>(?:u8|[uUL])?R"(?P<delimiter>[^\s()\\]{0,16})\(.*?\)(?P=delimiter)")
  | (?P<string>(?:u8|[uUL])?"(?:\\.|[^"\\\n])*"|(?:u8|[uUL])?'(?:\\.|[^'\\\n])*')
  | (?P<number>\.?\d(?:[eEpP][+-]|'[0-9a-zA-Z]|[0-9a-zA-Z_.])*)
  | (?P<name>[A-Za-z_$][\w$]*)
  | (?P<mark><<<|>>>|::|->|.)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Token:
    """A token that means something to the compiler."""

    kind: str
    text: str
    start: int
    """Offset in the text, characters."""
    line: int
    column: int
    first: bool
    """Whether it is the first one of its line."""


def tokens(text: str) -> Iterator[Token]:
    """Tokens of C++ without blanks and comments; lines and columns count from 1."""
    line, line_start, first = 1, 0, True
    for match in _TOKEN.finditer(text):
        kind, piece = match.lastgroup or "mark", match.group()
        if kind == "delimiter":
            kind = "raw"
        if kind not in ("blank", "newline", "comment"):
            yield Token(kind, piece, match.start(), line, match.start() - line_start + 1, first)
            first = False
        breaks = piece.count("\n")
        if breaks:
            line += breaks
            line_start = match.start() + piece.rindex("\n") + 1
            first = first or kind == "newline"


@dataclass
class Rewritten:
    """Device code as the C++ compiler gets it."""

    text: str
    moved: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """By line: columns (of the new text) from which on it is shifted, and by how many characters."""
    dynamic_image: bool = False
    """Dynamic shared memory is declared outside of functions."""

    def column(self, line: int, column: int) -> int:
        """The file's own column of a place in the new text."""
        shift = sum(by for start, by in self.moved.get(line, ()) if column >= start)
        return max(1, column - shift)


_INCLUDES_ONLY_CUDA = re.compile(
    r"(mma\.h|cub/|cuda/|nvcuda|thrust/|cute/|cutlass/|cuda_pipeline|cooperative_groups/(?!reduce\.h|scan\.h)|cudaTypedefs|"
    r"cuda_awbarrier|curand|nvfunctional|texture_|surface_)"
)
_NAMES_ONLY_CUDA = {
    "wmma": "wmma",
    "nvcuda": "wmma (namespace nvcuda)",
    "CUtensorMap": "TMA",
    "this_cluster": "clusters",
    "cluster_group": "clusters",
    "__cluster_dims__": "clusters",
    "cudaTextureObject_t": "textures",
    "cudaSurfaceObject_t": "surfaces",
    "clock": "clock()",
    "clock64": "clock64()",
    "malloc": "device malloc",
}
_CALLS_ONLY = frozenset({"clock", "clock64", "malloc"})


def unsupported(text: str) -> Diagnostic | None:
    """The first feature in `text` that only a GPU can run, or None."""
    stream = list(tokens(text))
    for i, token in enumerate(stream):
        following = stream[i + 1].text if i + 1 < len(stream) else ""
        if token.kind == "mark":
            if token.text == "<<<":
                return _needs_cuda("a kernel launch from device code", token)
            if token.text == "#" and token.first and following == "include":
                end = text.find("\n", token.start)
                line = text[token.start : end if end >= 0 else len(text)]
                named = re.match(r"#\s*include\s*[<\"]([^>\"]+)", line)
                if named and _INCLUDES_ONLY_CUDA.match(named[1]):
                    return _needs_cuda(f"<{named[1]}>", token)
            continue
        if token.kind != "name":
            continue
        if token.text in ("asm", "__asm__", "__asm"):
            j = i + 1
            while j < len(stream) and stream[j].text in ("volatile", "__volatile__", "inline", "goto"):
                j += 1
            # `asm volatile("" ::: "memory")` only keeps the compiler from moving things, here too.
            template = stream[j + 1].text if j + 1 < len(stream) else ""
            if template != '""':
                return _needs_cuda("inline PTX", token)
        elif token.text in _NAMES_ONLY_CUDA:
            member = i > 0 and stream[i - 1].text in (".", "->", "::")
            if token.text in _CALLS_ONLY and (following != "(" or member):
                continue
            return _needs_cuda(_NAMES_ONLY_CUDA[token.text], token)
    return None


def _needs_cuda(what: str, token: Token) -> Diagnostic:
    return Diagnostic(f"{what} at line {token.line}; this needs cuda", token.line, token.column)


def rewrite(text: str) -> Rewritten:
    """Turn each `extern __shared__` declaration into a reference to the block's dynamic shared memory.

    Also drops `static` beside `__shared__`, which the prelude's `static thread_local` would double.
    """
    stream = list(tokens(text))
    result = Rewritten(text)
    edits: list[tuple[int, int, str]] = []  # start, end, replacement
    depth: list[bool] = []  # for each open brace: whether it is a function's (or inside one)
    for i, token in enumerate(stream):
        if token.text == "{" and token.kind == "mark":
            depth.append(_opens_body(stream, i) or (bool(depth) and depth[-1]))
        elif token.text == "}" and token.kind == "mark":
            if depth:
                depth.pop()
        elif token.text == "static" and token.kind == "name":
            end = i
            while end < len(stream) and stream[end].text not in (";", "{", "}", "(", "="):
                end += 1
            if any(t.text == "__shared__" for t in stream[_statement_start(stream, i) : end]):
                edits.append((token.start, token.start + len(token.text), ""))
        elif token.text == "extern" and token.kind == "name":
            end = i
            while end < len(stream) and stream[end].text not in (";", "{", "}"):
                end += 1
            statement = stream[_statement_start(stream, i) : end]
            if (
                end < len(stream)
                and stream[end].text == ";"
                and any(t.text == "__shared__" for t in statement)
            ):
                in_macro = _in_directive(text, token.start)
                inside = (bool(depth) and depth[-1]) or in_macro
                if not inside:
                    result.dynamic_image = True
                edits += _edit(statement, stream[end], inside)
    _apply(result, edits)
    return result


def _statement_start(stream: list[Token], i: int) -> int:
    while i > 0 and stream[i - 1].text not in (";", "{", "}", ":") and stream[i - 1].kind != "directive":
        if stream[i].first and stream[i - 1].text != ")" and not _continues(stream, i):
            break
        i -= 1
    return i


def _continues(stream: list[Token], i: int) -> bool:
    """Whether the token before `i`, on an earlier line, may belong to the same declaration (an attribute, a type)."""
    line = stream[i - 1].line
    k = i - 1
    while k > 0 and stream[k - 1].line == line:
        k -= 1
    return stream[k].text != "#"


def _in_directive(text: str, offset: int) -> bool:
    start = offset
    while True:
        start = text.rfind("\n", 0, start) + 1
        if start >= 2 and text[start - 2] == "\\":
            start -= 1
            continue
        return text[start:offset].lstrip().startswith("#")


_TYPES = frozenset({"namespace", "struct", "class", "union", "enum"})
_BEFORE_BODIES = frozenset(
    {"const", "noexcept", "override", "final", "volatile", "mutable", "try", "else", "do", "constexpr"}
)
_ATTRIBUTES = frozenset({"__align__", "alignas", "__attribute__", "__declspec"})


def _opens_body(stream: list[Token], i: int) -> bool:
    """Whether the brace at `i` opens a function's body (or a block in one) and not a namespace, a class or a list."""
    k = i - 1
    while k >= 0 and stream[k].text == ")":
        depth = 0
        while k >= 0:
            depth += (stream[k].text == ")") - (stream[k].text == "(")
            if depth == 0:
                break
            k -= 1
        if k > 0 and stream[k - 1].text in _ATTRIBUTES:
            k -= 2
            continue
        # `struct __align__(8) P {` ends with a name; whatever ends with other parentheses takes parameters.
        return True
    if k < 0:
        return False
    if stream[k].text in _BEFORE_BODIES:
        return True
    while k >= 0 and stream[k].text not in (";", "{", "}"):
        if stream[k].text == "->":  # a trailing return type
            return True
        if stream[k].text in _TYPES or stream[k].text == "=":
            return False
        k -= 1
    return False


def _edit(statement: list[Token], semicolon: Token, inside: bool) -> list[tuple[int, int, str]]:
    """Edits of one declaration: attributes and `extern __shared__` blanked, each declarator made a reference."""
    edits: list[tuple[int, int, str]] = []
    i = 0
    declarators: list[Token] = []
    while i < len(statement):
        token = statement[i]
        if token.text in ("__align__", "alignas", "__attribute__"):
            j, depth = i + 1, 0
            while j < len(statement):
                depth += (statement[j].text == "(") - (statement[j].text == ")")
                if depth == 0:
                    break
                j += 1
            end = statement[min(j, len(statement) - 1)]
            edits.append((token.start, end.start + len(end.text), ""))
            i = j + 1
            continue
        following = statement[i + 1].text if i + 1 < len(statement) else ""
        if token.kind == "name" and following == "[" and (i + 2 < len(statement)):
            declarators.append(token)
            depth = 0
            i += 1
            while i < len(statement):
                depth += (statement[i].text == "[") - (statement[i].text == "]")
                i += 1
                if depth == 0 and (i >= len(statement) or statement[i].text != "["):
                    break
            if inside:
                place = statement[i].start if i < len(statement) else semicolon.start
                edits.append((place, place, " = wb::dynamic_shared"))
            else:
                place = statement[i].start if i < len(statement) else semicolon.start
                edits.append((place, place, ' __asm__("wb_dynamic_image")'))
            continue
        i += 1
    for token in statement:
        if token.text == "__shared__":
            edits.append((token.start, token.start + len(token.text), "" if inside else "__thread"))
        elif token.text == "extern" and inside:
            edits.append((token.start, token.start + len(token.text), ""))
    if inside:
        edits += [(t.start, t.start + len(t.text), f"(&{t.text})") for t in declarators]
    return edits


def _apply(result: Rewritten, edits: list[tuple[int, int, str]]) -> None:
    text = result.text
    pieces: list[str] = []
    done = 0
    shifts: dict[int, int] = {}
    for start, end, replacement in sorted(edits):
        if start < done:
            continue
        old = text[start:end]
        # What is removed leaves blanks (and its line breaks), so that nothing after it moves.
        new = replacement + "".join("\n" if c == "\n" else " " for c in old[len(replacement) :])
        pieces += [text[done:start], new]
        done = end
        grown = len(new) - len(old)
        if grown:
            line = text.count("\n", 0, start) + 1
            column = start - (text.rfind("\n", 0, start) + 1) + 1
            before = shifts.get(line, 0)
            result.moved.setdefault(line, []).append((column + before + 1, grown))
            shifts[line] = before + grown
    pieces.append(text[done:])
    result.text = "".join(pieces)
