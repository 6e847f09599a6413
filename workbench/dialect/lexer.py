"""A C++ lexer that knows as much as the dialect needs: where comments, literals and the plan begin and end.

Linear in the text whatever it holds, since a candidate is hostile: each pattern either consumes what it looked at, or
looks no further than its own token. A comment, raw string or plan that does not end takes the rest of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

Kind = Literal["plan", "comment", "raw", "literal", "word", "mark", "newline"]


class Token(NamedTuple):
    """`text[start:end]`; white space and line splices are left out."""

    kind: Kind
    start: int
    end: int


PLAN_END = "@*/"

_OPAQUE = r"""
    (?P<plan>/\*[ \t]*@plan\b(?:.*?@\*/|.*))
  | (?P<comment>/\*(?:.*?\*/|.*)|//(?:[^\n\\]|\\.?)*)
  | (?P<raw>(?<!\w)(?:u8|[uUL])?R"(?P<delimiter>[^()\\\s"]{0,16})\((?:.*?\)(?P=delimiter)"|.*))
  | (?P<literal>"(?:[^"\\\n]|\\.?)*"?|'(?:[^'\\\n]|\\.?)*'?)
"""
"""What can hide the beginning of something else. A quote inside a number (1'000) is taken by the number."""

_NUMBER = r"(?<!\w)\.?\d(?:[eEpP][+-]|'?[\w.])*"

_TOKEN = re.compile(
    rf"(?P<newline>\n)|{_OPAQUE}|(?P<word>[^\W\d]\w*|{_NUMBER})|[ \t\r\f\v]+|\\\n|(?P<mark>.)",
    re.VERBOSE | re.DOTALL,
)
_SKIP = re.compile(rf"{_OPAQUE}|(?P<word>{_NUMBER})", re.VERBOSE | re.DOTALL)


def lex(text: str) -> Iterator[Token]:
    """The tokens of a file, in order. A plan is one token, from `/*@plan` past `@*/` (or to the end)."""
    for match in _TOKEN.finditer(text):
        if match.lastgroup is not None:
            yield Token(match.lastgroup, *match.span())  # type: ignore[arg-type]  # the groups are named like kinds


def plans(text: str) -> list[tuple[int, int]]:
    """Where the plan blocks stand, markers included; those in comments and strings are none."""
    return [match.span() for match in _SKIP.finditer(text) if match.lastgroup == "plan"]
