"""Text from a candidate, a task or a proposer, made safe and short enough to draw.

A candidate is hostile until judged, and so is its text: an escape sequence in its source, name or compiler message
must not reach the terminal, and an override of the writing direction must not make code read as what it is not.
"""

from __future__ import annotations

import re
import time

from rich.cells import cell_len, set_cell_size

TAB_SIZE = 4

_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def clean(text: str) -> str:
    """`text` with control and direction characters made visible; newlines and tabs stay."""
    return _UNSAFE.sub(_visible, text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """`clean` on a single line."""
    return " ".join(clean(text).split())


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)  # the control pictures: "␛" for escape
    return "␡" if code == 0x7F else "�"


def fit(text: str, width: int) -> str:
    """`text` in exactly `width` cells: padded, or cut with an ellipsis."""
    if width <= 0:
        return ""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, width - 1) + "…"


def fit_right(text: str, width: int) -> str:
    """As `fit`, aligned to the right."""
    missing = width - cell_len(text)
    return " " * missing + text if missing >= 0 else fit(text, width)


def seconds(value: float) -> str:
    """Seconds for a narrow column: "0.04 s", "12.3 s", "2 min"."""
    if value < 9.995:
        return f"{value:.2f} s"
    return f"{value:.1f} s" if value < 120 else f"{value / 60:.0f} min"


def age(at: float, now: float | None = None) -> str:
    """How long ago `at` (seconds since the epoch) was: "8s", "5m", "3h", "12d"."""
    if not at:
        return ""
    passed = max(0.0, (time.time() if now is None else now) - at)
    for limit, size, unit in ((60, 1, "s"), (3600, 60, "m"), (86400, 3600, "h")):
        if passed < limit:
            return f"{int(passed / size)}{unit}"
    return f"{int(passed / 86400)}d"


def kib(count: int) -> str:
    """Bytes as a person reads them: "0 B", "512 B", "48.5 KiB", "3.2 MiB"."""
    if count < 1024:
        return f"{count} B"
    for size, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    raise AssertionError
