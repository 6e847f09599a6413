"""The two lowest lines: one hint about the key that is likely next, and the keys."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.content import Content
from textual.widget import Widget

from workbench.ui.text import one_line

KEYS: tuple[tuple[str, str, str], ...] = (
    ("a", "accept", "accept"),
    ("x", "reject", "reject"),
    ("e", "edit(False)", "edit"),
    ("d", "diff", "diff"),
    ("v", "verify", "verify"),
    ("t", "tune", "tune"),
    ("?", "help", "help"),
    ("q", "quit_bench", "quit"),
    ("n/p", "step(1)", "next/prev"),
    ("m", "source_tab", "source"),
    ("s", "shelve", "shelve"),
    ("u", "unmark", "undo"),
    ("c", "cancel", "cancel"),
    ("o", "open_file", "open"),
    ("/", "filter", "filter"),
    ("z", "zoom", "zoom"),
)
"""Key, screen action and word, the most needed first: what does not fit is left out."""


class HintLine(Widget):
    """One sentence; its key stands out."""

    DEFAULT_CSS = """
    HintLine { height: 1; padding: 0 1; background: $background; color: $foreground 75%; text-wrap: nowrap;
               text-overflow: ellipsis; }
    """

    def __init__(self) -> None:
        super().__init__(id="hint")
        self._hint = ("", "")

    @property
    def hint(self) -> tuple[str, str]:
        """Key and sentence."""
        return self._hint

    def show(self, hint: tuple[str, str]) -> None:
        """Say something else."""
        if hint != self._hint:
            self._hint = hint
            self.refresh()

    def render(self) -> Content:
        """An arrow, the key, and what it does."""
        key, words = self._hint
        if key:
            return Content.assemble(
                ("→ ", "$text-accent"),
                (f" {key} ", "bold $text-primary on $primary-muted"),
                f" {one_line(words)}",
            )
        return Content.assemble(("  ", ""), one_line(words))


class KeyBar(Widget):
    """The keys, as many as fit; each can be clicked."""

    DEFAULT_CSS = """
    KeyBar { height: 1; padding: 0 1; background: $panel; color: $foreground 70%; text-wrap: nowrap; }
    """

    def __init__(self, keys: Sequence[tuple[str, str, str]] = KEYS) -> None:
        super().__init__(id="keys")
        self._keys = keys

    def render(self) -> Content:
        """The keys that fit, in order."""
        parts: list[Content | str | tuple[str, str]] = []
        for key, _, word in self._fitting():
            parts += [(key, "bold $text-primary"), (f" {word}", "$foreground 60%"), "  "]
        return Content.assemble(*parts)

    async def on_click(self, event: events.Click) -> None:
        """A click is the key."""
        place = event.get_content_offset(self)
        x = 0
        for key, action, word in self._fitting():
            width = len(key) + len(word) + 3
            if place is not None and x <= place.x < x + width:
                await self.screen.run_action(action)
                return
            x += width

    def _fitting(self) -> list[tuple[str, str, str]]:
        room = self.size.width - 2
        fitting = []
        for key, action, word in self._keys:
            room -= len(key) + len(word) + 3
            if room < -2:
                break
            fitting.append((key, action, word))
        return fitting
