"""What a candidate says reaches the terminal as text only."""

from __future__ import annotations

from workbench.cli.verify_table import plain


def test_plain_leaves_no_escape_control_or_direction_character() -> None:
    said = plain("a\x1b[31m\x9b2J\u202e\u2066\x07\r\nb\ud800")
    assert said.isprintable() and said.startswith("a") and said.rstrip().endswith("b")
