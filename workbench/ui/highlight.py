"""Source code as lines of coloured pieces: CUDA with the plan block as Python, or Python alone.

Pygments is imported when the first code is shown, off the screen's thread: its lexers cost 30 ms that the first paint
does not have. Pieces name a kind, not a colour, so that a change of theme needs no new lexing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

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

COLOURED_BYTES = 300_000
"""Larger files are shown without colours: lexing them would take seconds."""
SHOWN_LINES = 50_000

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


@lru_cache(maxsize=64)
def cuda_lines(source: str) -> tuple[Line, ...]:
    """A candidate's lines; the text between the plan markers is coloured as Python."""
    text = clean(source).expandtabs(TAB_SIZE)
    if len(text) > COLOURED_BYTES:
        return plain_lines(text)
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


@lru_cache(maxsize=16)
def python_lines(source: str) -> tuple[Line, ...]:
    """The lines of a task or of its functional form."""
    text = clean(source).expandtabs(TAB_SIZE)
    return _split(_python(text)) if len(text) <= COLOURED_BYTES else plain_lines(text)


def plain_lines(source: str) -> tuple[Line, ...]:
    """Lines without colours: what is shown at once, and of what is too long to colour."""
    return _split([(clean(source).expandtabs(TAB_SIZE), "plain")])


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
            lines.append(tuple(current))
            current = [(part, kind)] if part else []
            if len(lines) >= SHOWN_LINES:
                return (*lines, ((f"… more than {SHOWN_LINES:,} lines; the rest is not shown", "comment"),))
    if current:
        lines.append(tuple(current))
    return tuple(lines)
