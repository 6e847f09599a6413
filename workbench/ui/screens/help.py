"""Every key, by the widget that knows it; read from the bindings, so that it cannot be out of date."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Static

from workbench.ui import words
from workbench.ui.text import fit
from workbench.ui.widgets.code_view import CodeView
from workbench.ui.widgets.population import Population

_SECTIONS: tuple[tuple[str, type[Widget]], ...] = (
    ("In the population", Population),
    ("In code", CodeView),
)
_NAMES = {"slash": "/", "question_mark": "?", "pagedown": "page down", "pageup": "page up", "escape": "esc"}


class HelpScreen(ModalScreen[None]):
    """A scrollable list of keys and symbols."""

    DEFAULT_CSS = """
    HelpScreen { align: center middle; background: $background 60%; }
    HelpScreen > VerticalScroll {
        width: 96; max-width: 96%; height: auto; max-height: 92%; background: $panel; border: round $primary;
        padding: 1 2; border-title-color: $text-primary; scrollbar-size: 1 1;
    }
    HelpScreen Static { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter", "dismiss", "Close", tooltip="Close the help."),
    ]

    def __init__(self, bench: Screen[None]) -> None:
        super().__init__()
        self._bench = bench

    def compose(self) -> ComposeResult:
        """One text, in sections."""
        with VerticalScroll() as box:
            box.border_title = Content("Keys")
            box.border_subtitle = Content("esc closes")
            yield Static(self._text())

    def _text(self) -> Content:
        parts: list[Content | str | tuple[str, str]] = [("Everywhere\n", "bold $text-primary")]
        parts += _rows(type(self._bench))
        parts += [(fit("  tab", 14), "bold"), "Go to the next pane; shift+tab to the one before.\n"]
        parts += [(fit("  ctrl+p", 14), "bold"), "Themes and other commands by name.\n"]
        for title, widget in _SECTIONS:
            parts += [(f"\n{title}\n", "bold $text-primary"), *_rows(widget)]
        parts += [("\nThe judge's words\n", "bold $text-primary")]
        for state, (symbol, word) in words.STATES.items():
            parts += [(f"  {symbol} {word}", words.state_style(state)), "  "]
        parts += [("\n\nYours\n", "bold $text-primary")]
        for mark, (symbol, word) in words.MARKS.items():
            parts += [(f"  {symbol} {word}", words.MARK_STYLES[mark]), "  "]
        parts += [
            "\n\nA pass says that no gate found a fault; it never says that you want the kernel. ",
            "Accepting does, and starts from what the verdict lists as not checked.",
        ]
        return Content.assemble(*parts)


def _rows(widget: type[Widget]) -> list[Content | str | tuple[str, str]]:
    rows: list[Content | str | tuple[str, str]] = []
    for binding in widget.BINDINGS:
        if not isinstance(binding, Binding):
            continue
        keys = " ".join(_NAMES.get(key, key) for key in binding.key.split(","))
        rows += [(fit(f"  {keys}", 14), "bold"), f"{binding.tooltip}\n"]
    return rows
