"""A file whose `tune()` defaults are replaced, so that a swept candidate is a file like any other.

Nothing is executed or parsed into a tree: a plan is hostile, and Python's parser can be driven out of its stack.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Mapping
from typing import Any

from workbench.core.errors import UsageError
from workbench.core.plan import PlanFailure
from workbench.dialect.lexer import PLAN_END
from workbench.dialect.source import split

_OPENING, _CLOSING = "([{", ")]}"


def with_knobs(data: bytes, values: Mapping[str, Any]) -> bytes:
    """The file with each named knob's default replaced; everything else stays byte for byte.

    Args:
        data: a candidate's file.
        values: new default by the knob's name: int, float, bool or str.

    Raises:
        UsageError: the file has no readable plan, no such knob, or more than one of that name.
    """
    source = split(data)
    if isinstance(source, PlanFailure):
        raise UsageError(f"The candidate has no readable plan: {source.diagnostics[0].message}")
    places = _defaults(source.plan)
    text = data.decode()
    if re.search("\r(?!\n)", text):  # the plan's line numbers count these as line breaks too
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    edits: list[tuple[int, int, int, int, str]] = []
    for name, value in values.items():
        if not isinstance(value, bool | int | float | str):
            raise UsageError(
                f"The knob {name} takes a number, a bool or a string, not {type(value).__name__}."
            )
        found = places.get(name, [])
        if len(found) != 1:
            known = ", ".join(sorted(places)) or "none"
            raise UsageError(
                f"The plan assigns {name} from tune() {len(found)} times; exactly once is needed.",
                do=f"Knobs in it: {known}.",
            )
        edits.append((*found[0], _literal(value)))
    for start_line, start_column, end_line, end_column, text in sorted(edits, reverse=True):
        first, last = source.plan_line - 1 + start_line - 1, source.plan_line - 1 + end_line - 1
        head, tail = lines[first][:start_column], lines[last][end_column:]
        lines[first : last + 1] = [head + text + tail]
    return "\n".join(lines).encode()


def _literal(value: bool | int | float | str) -> str:
    """Python that reads back as the value, without what would end the plan."""
    return repr(value).replace(PLAN_END, "@*\\x2f")


def _defaults(plan: str) -> dict[str, list[tuple[int, int, int, int]]]:
    """Where the first argument of each `NAME = tune(...)` stands: first and last line (1-based) and column."""
    try:
        tokens = [
            t
            for t in tokenize.generate_tokens(io.StringIO(plan).readline)
            if t.type not in (tokenize.COMMENT, tokenize.NL)
        ]
    except (tokenize.TokenError, SyntaxError) as error:
        raise UsageError(f"The plan is not Python: {error}.") from None
    places: dict[str, list[tuple[int, int, int, int]]] = {}
    for i in range(len(tokens) - 1):
        if tokens[i].string != "tune" or tokens[i + 1].string != "(":
            continue
        name = _target(tokens, i)
        place = _argument(tokens, i + 2)
        if name and place:
            places.setdefault(name, []).append(place)
    return places


def _target(tokens: list[tokenize.TokenInfo], call: int) -> str | None:
    """The name before `= tune(`, also with an annotation (`NAME: int = tune(`) or a walrus."""
    if call < 2 or tokens[call - 1].string not in ("=", ":="):
        return None
    at = call - 2
    first = at
    while first > 0 and tokens[first - 1].type not in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT):
        if tokens[first - 1].string == ":" and tokens[call - 1].string == "=":
            return (
                tokens[first - 2].string if first >= 2 and tokens[first - 2].type == tokenize.NAME else None
            )
        if tokens[first - 1].string in (";", "="):
            break
        first -= 1
    return tokens[at].string if tokens[at].type == tokenize.NAME else None


def _argument(tokens: list[tokenize.TokenInfo], start: int) -> tuple[int, int, int, int] | None:
    """The first argument's place, or the value's of `default=` wherever it stands."""
    depth = 0
    first = start
    positional: tuple[int, int, int, int] | None = None
    for i in range(start, len(tokens)):
        text = tokens[i].string
        if depth == 0 and text in (",", ")"):
            if i > first:
                keyword = tokens[first + 1].string == "=" and tokens[first].type == tokenize.NAME
                begin = first + 2 if keyword else first
                place = (*tokens[begin].start, *tokens[i - 1].end)
                if keyword and tokens[first].string == "default":
                    return place
                if not keyword and positional is None:
                    positional = place
            if text == ")":
                return positional
            first = i + 1
        elif text in _OPENING and text:
            depth += 1
        elif text in _CLOSING and text:
            depth -= 1
    return None
