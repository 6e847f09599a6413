"""Words of candidates, tasks and files on a terminal: as text only, whatever they hold."""

from __future__ import annotations


def plain(text: str) -> str:
    """`text` without control and direction characters: a candidate's message must not drive the terminal."""
    return "".join(c if c.isprintable() else " " for c in text)


def json_line(encoded: str) -> str:
    """JSON in which what is not printable is escaped, C1 controls and direction overrides included.

    It says the same (outside of strings JSON is ASCII), and nothing of it drives a terminal.
    """
    if encoded.isprintable():
        return encoded
    return "".join(c if c.isprintable() else _escaped(c) for c in encoded)


def _escaped(c: str) -> str:
    code = ord(c)
    if code < 0x10000:
        return f"\\u{code:04x}"
    return f"\\u{0xD7C0 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
