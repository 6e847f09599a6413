"""Source code as lines of coloured pieces: CUDA with the plan block as Python, or Python alone.

Pygments is imported when the first code is shown, off the screen's thread: its lexers cost 30 ms that the first paint
does not have, and a long file some tenths of a second that no key should wait for. Until then, and for what is too long,
there are plain lines. Pieces name a kind, not a colour, so that a change of theme needs no new lexing.
"""

from __future__ import annotations

import re
import sys
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from workbench.ui.text import TAB_SIZE, clean

Piece = tuple[str, str]
"""Text and its kind, one of KINDS."""
Line = tuple[Piece, ...]

KINDS: tuple[str, ...] = (
    "plain",
    "comment",
    "keyword",
    "type",
    "builtin",
    "function",
    "number",
    "string",
    "preprocessor",
    "operator",
    "plan",
)

Language = Literal["cuda", "python"]

AT_ONCE_CHARACTERS = 6_000
"""Coloured while the key waits: some 15 ms."""
COLOURED_CHARACTERS = 300_000
"""Longer files are shown without colours: lexing them would take seconds."""
SHOWN_CHARACTERS = 2_000_000
KEPT = 64
SHOWN_LINES = 50_000
LINE_CHARACTERS = 2_000

_PLAN_OPEN = re.compile(r"/\*@plan\b[^\n]*")
_PLAN_CLOSE = "@*/"

# The words of the launch plan and of the execution model that neither lexer knows.
_PLAN_WORDS = frozenset(
    [
        "launch",
        "empty",
        "empty_like",
        "zeros",
        "view",
        "pointers",
        "tune",
        "require",
        "compile",
        "save",
        "torch_op",
        "tensor_map",
        "f32",
        "f64",
        "i32",
        "i64",
        "params",
    ]
)
_CUDA_TYPES = frozenset(
    [
        "size_t",
        "half",
        "half2",
        "float2",
        "float3",
        "float4",
        "int2",
        "int4",
        "uint4",
        "dim3",
        "__nv_bfloat16",
        "nv_bfloat16",
    ]
)
_CUDA_WORDS = frozenset(["threadIdx", "blockIdx", "blockDim", "gridDim", "warpSize"])
_QUALIFIERS = frozenset(
    [
        "__global__",
        "__device__",
        "__shared__",
        "__constant__",
        "__restrict__",
        "__forceinline__",
        "__launch_bounds__",
        "__host__",
        "__noinline__",
        "__grid_constant__",
        "extern",
    ]
)


_coloured: OrderedDict[tuple[Language, str], tuple[Line, ...]] = OrderedDict()


def at_hand(language: Language, source: str) -> tuple[Line, ...] | None:
    """Coloured lines, where that takes no noticeable time; None where `colour` should be run beside the screen."""
    kept = _coloured.get((language, source))
    if kept is not None or len(source) > COLOURED_CHARACTERS:
        return kept or plain_lines(source)
    ready = "pygments.lexers.c_like" in sys.modules and "pygments.lexers.python" in sys.modules
    return colour(language, source) if ready and len(source) <= AT_ONCE_CHARACTERS else None


def colour(language: Language, source: str) -> tuple[Line, ...]:
    """Coloured lines, however long that takes; kept for `at_hand`. May run in any thread."""
    import pygments.lexers.c_like
    import pygments.lexers.python  # noqa: F401 (`at_hand` looks for both)

    lines = cuda_lines(source) if language == "cuda" else python_lines(source)
    _coloured[language, source] = lines
    while len(_coloured) > KEPT:
        _coloured.popitem(last=False)
    return lines


def cuda_lines(source: str) -> tuple[Line, ...]:
    """A candidate's lines; the text between the plan markers is coloured as Python."""
    if len(source) > COLOURED_CHARACTERS:
        return plain_lines(source)
    text = clean(source).expandtabs(TAB_SIZE)
    opened = _PLAN_OPEN.search(text)
    closed = text.find(_PLAN_CLOSE, opened.end()) if opened else -1
    if opened is None or closed < 0:
        return _split(_cuda(text))
    return _split(
        [
            *_cuda(text[: opened.start()]),
            (opened[0], "plan"),
            *_python(text[opened.end() : closed]),
            (_PLAN_CLOSE, "plan"),
            *_cuda(text[closed + len(_PLAN_CLOSE) :]),
        ]
    )


def python_lines(source: str) -> tuple[Line, ...]:
    """The lines of a task or of its functional form."""
    if len(source) > COLOURED_CHARACTERS:
        return plain_lines(source)
    return _split(_python(clean(source).expandtabs(TAB_SIZE)))


def plain_lines(source: str) -> tuple[Line, ...]:
    """Lines without colours: what is shown at once, and of what is too long to colour."""
    shown = source[:SHOWN_CHARACTERS]
    lines = _split([(clean(shown).expandtabs(TAB_SIZE), "plain")])
    if len(shown) == len(source):
        return lines
    return (*lines, ((f"… {len(source):,} characters; the rest is not shown", "comment"),))


def text_of(line: Line) -> str:
    """The line's text."""
    return "".join(text for text, _ in line)


def _python(text: str) -> Iterator[Piece]:
    from pygments.lexers.python import PythonLexer

    for token, piece in PythonLexer(stripnl=False, ensurenl=False).get_tokens(text):
        yield piece, "builtin" if piece in _PLAN_WORDS else _kind(token)


def _cuda(text: str) -> Iterator[Piece]:
    from pygments.lexers.c_like import CudaLexer

    if not text:
        return
    pieces = list(CudaLexer(stripnl=False, ensurenl=False).get_tokens(text))
    for i, (token, piece) in enumerate(pieces):
        kind = _kind(token)
        if piece in _QUALIFIERS:
            kind = "preprocessor"
        elif piece in _CUDA_TYPES:
            kind = "type"
        elif piece in _CUDA_WORDS:
            kind = "builtin"
        elif kind == "plain" and piece.isidentifier() and i + 1 < len(pieces) and pieces[i + 1][1][:1] == "(":
            kind = "function"
        yield piece, kind


def _kind(token: Any) -> str:
    name = str(token)
    for prefix, kind in _KIND_OF:
        if name.startswith(prefix):
            return kind
    return "plain"


_KIND_OF = (
    ("Token.Comment.Preproc", "preprocessor"),
    ("Token.Comment", "comment"),
    ("Token.Literal.String.Doc", "comment"),
    ("Token.Literal.String", "string"),
    ("Token.Literal.Number", "number"),
    ("Token.Keyword.Type", "type"),
    ("Token.Keyword.Constant", "number"),
    ("Token.Keyword", "keyword"),
    ("Token.Operator.Word", "keyword"),
    ("Token.Operator", "operator"),
    ("Token.Name.Builtin", "builtin"),
    ("Token.Name.Function", "function"),
    ("Token.Name.Class", "type"),
    ("Token.Name.Decorator", "preprocessor"),
)


def _split(pieces: Iterable[Piece]) -> tuple[Line, ...]:
    lines: list[Line] = []
    current: list[Piece] = []
    for text, kind in pieces:
        first, *rest = text.split("\n")
        if first:
            current.append((first, kind))
        for part in rest:
            lines.append(_cut(current))
            current = [(part, kind)] if part else []
            if len(lines) >= SHOWN_LINES:
                return (*lines, ((f"… more than {SHOWN_LINES:,} lines; the rest is not shown", "comment"),))
    if current:
        lines.append(_cut(current))
    return tuple(lines)


def _cut(pieces: list[Piece]) -> Line:
    # A line of a million characters would be measured anew at each redraw.
    room = LINE_CHARACTERS
    for i, (text, kind) in enumerate(pieces):
        if len(text) > room:
            return (*pieces[:i], (text[:room], kind), ("…", "comment"))
        room -= len(text)
    return tuple(pieces)
