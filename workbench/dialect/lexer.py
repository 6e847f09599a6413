"""A C++ lexer that knows as much as the dialect needs: where comments, literals and the plan begin and end.

Linear in the text whatever it holds, since a candidate is hostile: no pattern looks past its own token but for the
comments and raw strings, which end the text where they do not end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

Kind = Literal["plan", "comment", "word", "literal", "mark", "newline"]


class Token(NamedTuple):
    """`text[start:end]`; white space and line splices are left out."""

    kind: Kind
    start: int
    end: int


PLAN_END = "@*/"

_TOKEN = re.compile(
    r"""
    (?P<newline>\n)
  | (?P<plan>/\*[ \t]*@plan\b)
  | (?P<block>/\*)
  | (?P<line>//(?:[^\n\\]|\\(?:\n|.)?)*)
  | (?P<raw>(?:u8|[uUL])?R"(?P<delimiter>[^()\\\s"]{0,16})\()
  | (?P<literal>(?:u8|[uUL])?(?:"(?:[^"\\\n]|\\(?:\n|.)?)*"?|'(?:[^'\\\n]|\\(?:\n|.)?)*'?))
  | (?P<word>[^\W\d]\w*|\.?\d(?:[eEpP][+-]|'?[\w.])*)
  | (?P<skip>[ \t\r\f\v]+|\\\n)
  | (?P<mark>.)
    """,
    re.VERBOSE,
)


def lex(text: str) -> Iterator[Token]:
    """The tokens of a file, in order. A plan is one token, from `/*@plan` past `@*/` (or to the end)."""
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        assert match is not None  # `mark` takes any character, `newline` the one it does not
        kind, start, end = match.lastgroup, position, match.end()
        if kind == "delimiter" or match["raw"] is not None:
            end = _past(text, f'){match["delimiter"]}"', end)
            yield Token("literal", start, end)
        elif kind == "plan":
            end = _past(text, PLAN_END, end)
            yield Token("plan", start, end)
        elif kind == "block":
            end = _past(text, "*/", end)
            yield Token("comment", start, end)
        elif kind == "line":
            yield Token("comment", start, end)
        elif kind in ("newline", "literal", "word", "mark"):
            yield Token(kind, start, end)  # type: ignore[arg-type]
        position = end


def _past(text: str, closing: str, start: int) -> int:
    found = text.find(closing, start)
    return len(text) if found < 0 else found + len(closing)
