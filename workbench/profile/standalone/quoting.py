"""Words of candidates, tasks and files inside generated C++ and text, where they must stay words.

Kernel names, C++ types and parameter names come from a candidate or a task. In a comment they may not end the line (a
backslash would join the next one, and so would the trigraph for it), in a string literal not the string, and a file
name is made of letters alone. Nothing of theirs gets into the Makefile.
"""

from __future__ import annotations

import re

WORDS = 160
"""Characters of a name in a comment or a table."""
SYMBOL = re.compile(r"[A-Za-z_$][\w$.]{0,4095}", re.ASCII)
"""A (mangled) symbol, as compilers make them."""
_NAME = 32


def words(text: str, limit: int = WORDS) -> str:
    """`text` on one line of printable ASCII without backslashes and question marks, cut to `limit` characters."""
    kept = "".join(c if " " <= c <= "~" and c not in "\\?" else "_" for c in text)
    return kept if len(kept) <= limit else kept[: limit - 3] + "..."


def comment(text: str, limit: int = WORDS) -> str:
    """`text` as a `//` comment that ends where it seems to."""
    return f"// {words(text, limit)}"


def literal(text: str) -> str:
    """`text` as a C++ string literal of exactly its UTF-8 bytes."""
    escaped = []
    for byte in text.encode(errors="backslashreplace"):
        plain = 0x20 <= byte < 0x7F and chr(byte) not in '"\\?'
        # Three octal digits, always: a digit that follows is then no part of the escape.
        escaped.append(chr(byte) if plain else f"\\{byte:03o}")
    return f'"{"".join(escaped)}"'


def identifier(text: str) -> str:
    """A C++ identifier's or a file name's tail that reminds of `text`; letters, digits and underscores alone."""
    kept = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_")[:_NAME]
    # Two in a row, or one before a capital, are the implementation's names.
    return re.sub(r"_+", "_", kept) or "unnamed"
