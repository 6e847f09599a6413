"""A one-line row of tabs: Textual's own take two or three, which a screen of 24 lines does not have."""

from __future__ import annotations

from dataclasses import dataclass

from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget


class TabLine(Widget):
    """Words to click; the owner changes `active`."""

    DEFAULT_CSS = """
    TabLine { height: 1; width: 1fr; background: $surface; color: $foreground 60%; padding: 0 1; text-wrap: nowrap; }
    """

    active: reactive[str] = reactive("")

    @dataclass
    class Chosen(Message):
        """A tab was clicked."""

        tabs: TabLine
        name: str

        @property
        def control(self) -> TabLine:
            """The row of tabs."""
            return self.tabs

    def __init__(self, tabs: dict[str, str], *, active: str, id: str | None = None) -> None:  # noqa: A002 (Textual's name)
        """Args: `tabs` from name to the words shown."""
        super().__init__(id=id)
        self._tabs = tabs
        self.set_reactive(TabLine.active, active)

    def render(self) -> Content:
        """The tabs in a row, the active one on a ground of its own."""
        parts: list[Content | str | tuple[str, str]] = []
        for name, words in self._tabs.items():
            style = "bold $text-primary on $primary-muted" if name == self.active else "$foreground 60%"
            parts += [(f" {words} ", style), " "]
        return Content.assemble(*parts)

    def on_click(self, event: events.Click) -> None:
        """Find the tab under the pointer."""
        place = event.get_content_offset(self)
        if place is None:
            return
        x = 0
        for name, words in self._tabs.items():
            if x <= place.x < x + len(words) + 2:
                self.post_message(self.Chosen(self, name))
                return
            x += len(words) + 3

    def rename(self, tabs: dict[str, str]) -> None:
        """Show other words for the same tabs."""
        if tabs != self._tabs:
            self._tabs = tabs
            self.refresh()
