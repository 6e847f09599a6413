"""What a candidate may not ask of the preprocessor: files outside the toolkit, and lines that are not its own.

The sandbox is what keeps files unread; this names the attempt at its own line, before anything is compiled. `#line`
is refused because the audit trusts line numbers to tell the candidate's code from the toolkit's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from workbench.core.plan import CompileOptions, Diagnostic

_RAW = re.compile(r'(?:u8|[uUL])?R"([^\s()\\"]{0,16})\(')
_WHY_NO_LINE = "errors and the audit count the lines of the file itself. Remove it."
_INCLUDES = ("include", "include_next", "import", "embed")
_HAS = re.compile(r"\b__has_(?:include|include_next|embed)\b\s*\(?\s*(<[^>\n]*>|\"[^\"\n]*\")?")
DEFINE = re.compile(r"[A-Za-z_]\w*(\([\w ,.]*\))?", re.ASCII)
_WORD = re.compile(r"\w+")
_TRIGRAPH = re.compile(r"\?\?[=/'()!<>-]")
_GAP = r"(?:[^\S\n]|/\*.*?\*/)*"
_MARKER = re.compile(rf"(?:#|%:){_GAP}(?:line\b|\d+{_GAP}\")", re.DOTALL)
_SPLICE = re.compile(r"\\[ \t]*\r?\n")


def check_includes(device: str) -> tuple[Diagnostic, ...]:
    """Errors for every include, `__has_include`, `#embed`, `#line` and trigraph that is not allowed."""
    found: list[Diagnostic] = []
    for match in _TRIGRAPH.finditer(device):
        # "??/" would splice lines and "??=" would be a "#" in one compiler and not in another.
        line, column = _place(device, match.start())
        found.append(
            Diagnostic(f"The trigraph `{match[0]}` is not allowed; write the character.", line, column)
        )
    for line, column, text in directives(device):
        problem = _problem(text)
        if problem:
            found.append(Diagnostic(problem, line, column))
    if not found and (marker := _MARKER.search(_SPLICE.sub("", device))) is not None:
        # Also in comments and strings: whatever hides it from the scanner above must not hide it from here.
        line, column = _place(device, _with_splices(device, marker.start()))
        found.append(Diagnostic(f"`{marker[0][:20]}` is not allowed anywhere: {_WHY_NO_LINE}", line, column))
    return tuple(found)


def check_options(options: CompileOptions, plan_line: int) -> tuple[Diagnostic, ...]:
    """Errors for defines that are no macro of one line, and for register limits that ptxas would not take."""
    found: list[Diagnostic] = []
    for name, text in options.defines:
        if not DEFINE.fullmatch(name) or name in ("defined", "__VA_ARGS__"):
            found.append(Diagnostic(f"compile(defines=...): `{name}` is no name for a macro.", plan_line))
        elif any(mark in text for mark in ("\n", "\r", "\0", "\\", "//", "/*", "??")):
            found.append(
                Diagnostic(f"compile(defines=...): the text of `{name}` must be one plain line.", plan_line)
            )
    registers = options.max_registers
    if registers is not None and not 16 <= registers <= 255:
        found.append(
            Diagnostic(f"compile(max_registers={registers}): it must lie between 16 and 255.", plan_line)
        )
    return tuple(found)


def _problem(text: str) -> str:
    word = re.match(r"\s*(\w*)", text)
    name = word[1] if word else ""
    rest = text[word.end() :].strip() if word else ""
    if name in _INCLUDES:
        return _bad_operand(f"#{name}", rest)
    if name == "line" or name.isdigit():
        return f"`#{name}` is not allowed: {_WHY_NO_LINE}"
    if name in ("if", "elif"):
        for match in _HAS.finditer(text):
            problem = _bad_operand("__has_include", match[1] or "")
            if problem:
                return problem
    if name == "define" and re.search(r"\b__has_(?:include|embed)|\b_Pragma\b.*\binclude_alias", text):
        return "`__has_include` may stand only in `#if`, with the header's name spelt out."
    if name == "pragma" and re.search(r"\binclude_alias\b|\bnv_hdrstop\b|\bhdrstop\b", text):
        return f"`#pragma {rest.split()[0]}` is not allowed. Remove it."
    return ""


def _bad_operand(directive: str, operand: str) -> str:
    literal = re.match(r"<([^>]*)>|\"([^\"]*)\"", operand)
    if literal is None:
        return f"`{directive}` needs the header's name spelt out, as in `#include <cuda_fp16.h>`."
    path = literal[1] if literal[1] is not None else literal[2]
    if path.startswith(("/", "~")) or re.match(r"[A-Za-z]:", path):
        return f"`{directive} {literal[0]}` names an absolute path; only CUDA's own headers may be included."
    if ".." in re.split(r"[/\\]", path):
        return (
            f"`{directive} {literal[0]}` leaves the include folders; only CUDA's own headers may be included."
        )
    if directive == "#embed":
        return "`#embed` is not allowed; write the table as an array."
    return ""


def _with_splices(text: str, index: int) -> int:
    """Where a character stands that is the `index`-th once the splices are taken out."""
    for splice in _SPLICE.finditer(text):
        if splice.start() > index:
            break
        index += splice.end() - splice.start()
    return index


def _place(text: str, index: int) -> tuple[int, int]:
    before = text.rfind("\n", 0, index)
    return text.count("\n", 0, index) + 1, index - before


def directives(text: str) -> Iterator[tuple[int, int, str]]:
    """(line, column, what follows the `#`) of each directive, after splices and comments as a compiler sees them."""
    at, size = 0, len(text)
    fresh = True  # nothing but white space and comments so far on this logical line
    while at < size:
        char = text[at]
        if char == "\n":
            fresh, at = True, at + 1
        elif (splice := _SPLICE.match(text, at)) is not None:
            at = splice.end()
        elif char in " \t\r\f\v":
            at += 1
        elif (end := _comment(text, at)) is not None:
            at = end
        elif fresh and (char == "#" or text.startswith("%:", at)):
            start = at
            body, at = _logical_line(text, at + (1 if char == "#" else 2))
            yield (*_place(text, start), body)
        else:
            fresh = False
            at = _token(text, at)


def _comment(text: str, at: int) -> int | None:
    """Where the comment that starts at `at` ends; None where none starts. The slashes may be spliced apart."""
    if text[at] != "/":
        return None
    second = _unspliced(text, at + 1)
    mark = text[second : second + 1]
    if mark == "/":
        return _logical_line(text, second + 1, comments=False)[1]
    if mark == "*":
        after = second + 1
        while after < len(text):
            star = text.find("*", after)
            if star < 0:
                return len(text)
            slash = _unspliced(text, star + 1)
            if text[slash : slash + 1] == "/":
                return slash + 1
            after = star + 1
        return len(text)
    return None


def _unspliced(text: str, at: int) -> int:
    while (splice := _SPLICE.match(text, at)) is not None:
        at = splice.end()
    return at


def _logical_line(text: str, at: int, *, comments: bool = True) -> tuple[str, int]:
    """The rest of the logical line without comments, and where it ends."""
    out: list[str] = []
    while at < len(text) and text[at] != "\n":
        if (splice := _SPLICE.match(text, at)) is not None:
            at = splice.end()
        elif comments and (end := _comment(text, at)) is not None:
            out.append(" ")
            at = end
        elif comments and text[at] in "\"'":
            end = _quoted(text, at)
            out.append(_SPLICE.sub("", text[at:end]))
            at = end
        else:
            out.append(text[at])
            at += 1
    return "".join(out), at


def _quoted(text: str, at: int) -> int:
    """End of a character or string literal; an unterminated one ends at the line's end."""
    quote, at = text[at], at + 1
    while at < len(text) and text[at] != "\n":
        if (splice := _SPLICE.match(text, at)) is not None:
            at = splice.end()
        elif text[at] == "\\":
            at += 2
        elif text[at] == quote:
            return at + 1
        else:
            at += 1
    return at


def _token(text: str, at: int) -> int:
    raw = _RAW.match(text, at)
    if raw is not None:
        # A raw string hides what looks like directives; the compiler sees none in it either.
        end = text.find(f'){raw[1]}"', raw.end())
        return len(text) if end < 0 else end + len(raw[1]) + 2
    if text[at] == '"':
        return _quoted(text, at)
    if text[at] == "'":
        # A digit separator is no quote: 1'000.
        return at + 1 if at and text[at - 1].isalnum() else _quoted(text, at)
    word = _WORD.match(text, at)
    return word.end() if word is not None else at + 1
