"""What a code pane draws, line by line: a file, or its difference from its parent, unified or inline."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from workbench.ui.highlight import Line, text_of

DiffStyle = Literal["unified", "inline"]

CONTEXT_LINES = 3
"""Lines around a change in the unified form."""
DIFF_LINES = 4_000
"""Longer files are not compared: difflib would take minutes."""


class Row(msgspec.Struct, frozen=True):
    """One line of a code pane."""

    line: Line
    number: int | None = None
    """Line in the file shown, 1-based; None for a line that only the parent has."""
    sign: Literal["", "+", "-", "@", "!"] = ""
    """Added, removed, a hunk's heading, or named by the verdict."""
    bright: tuple[tuple[int, int], ...] = ()
    """Parts of a changed line that differ, as character ranges."""


def file_rows(lines: tuple[Line, ...], blamed: frozenset[int] = frozenset()) -> tuple[Row, ...]:
    """A whole file; the verdict names the lines `blamed`."""
    return tuple(Row(line, n, "!" if n in blamed else "") for n, line in enumerate(lines, 1))


def diff_rows(old: tuple[Line, ...], new: tuple[Line, ...], style: DiffStyle) -> tuple[Row, ...]:
    """`new` against `old`: every line of it (inline), or hunks with some context (unified). Empty where they agree."""
    if max(len(old), len(new)) > DIFF_LINES:
        note = f"These files are too long to compare (over {DIFF_LINES:,} lines)."
        return (Row(((note, "comment"),), sign="@"),)
    matcher = difflib.SequenceMatcher(
        None, [text_of(x) for x in old], [text_of(x) for x in new], autojunk=False
    )
    groups: list[list[Any]] = (
        [list(matcher.get_opcodes())]
        if style == "inline"
        else list(matcher.get_grouped_opcodes(CONTEXT_LINES))
    )
    if all(op[0] == "equal" for group in groups for op in group):
        return ()
    rows: list[Row] = []
    for group in groups:
        if style == "unified":
            rows.append(_heading(group))
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                rows.extend(Row(new[j], j + 1) for j in range(j1, j2))
            else:
                rows.extend(_change(old[i1:i2], new[j1:j2], j1))
    return tuple(rows)


def changed_counts(rows: tuple[Row, ...]) -> tuple[int, int]:
    """Lines added and removed."""
    return sum(r.sign == "+" for r in rows), sum(r.sign == "-" for r in rows)


def blamed_lines(evidence: Mapping[str, object]) -> frozenset[int]:
    """Lines of the candidate's own file that a failed gate's evidence names, at any depth under "line"."""
    return frozenset(_lines(evidence, 0))


def _lines(value: object, depth: int) -> Iterator[int]:
    if depth > 4:
        return
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key == "line" and type(inner) is int and inner > 0:
                yield inner
            else:
                yield from _lines(inner, depth + 1)
    elif isinstance(value, list | tuple):
        for inner in value[:50]:
            yield from _lines(inner, depth + 1)


def _heading(group: list[tuple[str, int, int, int, int]]) -> Row:
    first, last = group[0], group[-1]
    where = f"@@ -{first[1] + 1},{last[2] - first[1]} +{first[3] + 1},{last[4] - first[3]} @@"
    return Row(((where, "comment"),), sign="@")


def _change(old: tuple[Line, ...], new: tuple[Line, ...], start: int) -> Iterator[Row]:
    pairs = [_differing(text_of(a), text_of(b)) for a, b in zip(old, new, strict=False)]
    for i, line in enumerate(old):
        yield Row(line, None, "-", pairs[i][0] if i < len(pairs) else ())
    for j, line in enumerate(new):
        yield Row(line, start + j + 1, "+", pairs[j][1] if j < len(pairs) else ())


def _differing(a: str, b: str) -> tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]:
    if max(len(a), len(b)) > 400:
        return (), ()
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    if matcher.ratio() < 0.5:  # two different lines: marking nearly all of both helps nobody
        return (), ()
    changes = [op for op in matcher.get_opcodes() if op[0] != "equal"]
    return (
        tuple((i1, i2) for _, i1, i2, _, _ in changes if i1 < i2),
        tuple((j1, j2) for _, _, _, j1, j2 in changes if j1 < j2),
    )
