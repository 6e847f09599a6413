"""A read-only view of code: line numbers, colours by kind, diff signs, and marks on lines that a verdict names.

It draws only the lines that are visible, so that a file of 50,000 lines scrolls like one of ten.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from workbench.ui.code_rows import Row
from workbench.ui.highlight import KINDS, Language, Line, at_hand, plain_lines, text_of
from workbench.ui.text import fit_right

_SIGN_CLASS = {"+": "code--added", "-": "code--removed", "@": "code--hunk", "!": "code--blamed"}
_SIGN_SHOWN = {"": " ", "+": "+", "-": "-", "@": " ", "!": "▶"}


class CodeView(ScrollView, can_focus=True):
    """Rows of code. `show` replaces them."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        *(f"code--{kind}" for kind in KINDS),
        *_SIGN_CLASS.values(),
        "code--gutter",
        "code--added-bright",
        "code--removed-bright",
    }
    DEFAULT_CSS = """
    CodeView {
        background: $surface;
        color: $foreground;
        scrollbar-size: 0 1;
        scrollbar-gutter: auto;
        & .code--gutter { color: $foreground 32%; }
        & .code--comment { color: $code-comment; text-style: italic; }
        & .code--keyword { color: $code-keyword; }
        & .code--type { color: $code-type; }
        & .code--builtin { color: $code-builtin; }
        & .code--function { color: $code-function; text-style: bold; }
        & .code--number { color: $code-number; }
        & .code--string { color: $code-string; }
        & .code--preprocessor { color: $code-preprocessor; }
        & .code--operator { color: $code-operator; }
        & .code--plan { color: $code-preprocessor; text-style: bold; }
        & .code--added { background: $success 12%; }
        & .code--removed { background: $error 12%; }
        & .code--added-bright { background: $success 35%; }
        & .code--removed-bright { background: $error 35%; }
        & .code--hunk { background: $panel; }
        & .code--blamed { background: $error 22%; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("home", "scroll_home", "Top", show=False, tooltip="Go to the first line."),
        Binding("end", "scroll_end", "End", show=False, tooltip="Go to the last line."),
    ]

    @dataclass
    class ColoursWanted(Message):
        """A text is shown without colours until `highlight.colour` has run."""

        view: CodeView
        language: Language
        source: str

        @property
        def control(self) -> CodeView:
            """Where it is shown."""
            return self.view

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id)
        self._rows: tuple[Row, ...] = ()
        self._gutter = 0
        self._styles_of: dict[str, Style] = {}
        self._tags: dict[str, Style] = {}

    def lines_of(self, language: Language, source: str) -> tuple[Line, ...]:
        """The lines of `source`, plain where colours are not at hand; those are then asked for."""
        lines = at_hand(language, source)
        if lines is None:
            self.post_message(self.ColoursWanted(self, language, source))
        return plain_lines(source) if lines is None else lines

    @property
    def rows(self) -> tuple[Row, ...]:
        """What is shown."""
        return self._rows

    def show(self, rows: tuple[Row, ...], *, keep_place: bool = False) -> None:
        """Replace the rows; go to the first line that the verdict names or that changed, unless `keep_place`."""
        if rows == self._rows:
            return
        marked = next((i for i, row in enumerate(rows) if row.sign in ("!", "+", "-")), 0)
        self._rows = rows
        last = max((row.number or 0 for row in rows), default=0)
        self._gutter = len(str(last)) + 3 if last else 0
        widest = max((sum(len(text) for text, _ in row.line) for row in rows), default=0)
        self.virtual_size = Size(self._gutter + widest + 1, len(rows))
        if not keep_place:
            self.scroll_to(x=0, y=max(0, marked - 4), animate=False)
        self.refresh()

    def notify_style_update(self) -> None:
        """A theme or a class changed: styles are looked up again."""
        super().notify_style_update()
        self._styles_of.clear()
        self._tags.clear()

    def render_line(self, y: int) -> Strip:
        """One visible line: the gutter stays, the code scrolls sideways beneath it."""
        left, top = self.scroll_offset
        width = self.size.width
        index = top + y
        if index >= len(self._rows):
            return Strip.blank(width, self.rich_style)
        row = self._rows[index]
        base = self._row_style(row)
        code = Strip(self._segments(row, base, index))
        code = code.crop_extend(left, left + width - self._gutter, base).apply_offsets(left, index)
        return Strip.join([self._gutter_strip(row, base), code])

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected code, without line numbers."""
        return selection.extract("\n".join(text_of(row.line) for row in self._rows)), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        """Show the selection."""
        self.refresh()

    def _gutter_strip(self, row: Row, base: Style) -> Strip:
        if not self._gutter:
            return Strip([])
        number = fit_right(str(row.number), self._gutter - 3) if row.number else " " * (self._gutter - 3)
        dim = base + self._style("code--gutter")
        sign = base + Style(bold=True) if row.sign else dim
        return Strip([Segment(number + " ", dim), Segment(_SIGN_SHOWN[row.sign] + " ", sign)])

    def _segments(self, row: Row, base: Style, index: int) -> list[Segment]:
        segments = [Segment(text, base + self._style(f"code--{kind}")) for text, kind in row.line]
        if row.bright:
            tag = self._tag("code--added-bright" if row.sign == "+" else "code--removed-bright")
            segments = _restyle(segments, row.bright, Style(bgcolor=tag.bgcolor))
        chosen = self.text_selection
        if chosen is not None and (span := chosen.get_span(index)) is not None:
            start, end = span
            end = sum(len(s.text) for s in segments) if end == -1 else end
            segments = _restyle(
                segments, ((start, end),), self.screen.get_component_rich_style("screen--selection")
            )
        return segments

    def _row_style(self, row: Row) -> Style:
        return self._tag(_SIGN_CLASS[row.sign]) if row.sign else self.rich_style

    def _style(self, name: str) -> Style:
        style = self._styles_of.get(name)
        if style is None:
            style = self.get_component_rich_style(name)
            style = Style(color=style.color, bold=style.bold or None, italic=style.italic or None)
            self._styles_of[name] = style
        return style

    def _tag(self, name: str) -> Style:
        style = self._tags.get(name)
        if style is None:
            style = self._tags[name] = self.get_component_rich_style(name)
        return style


def _restyle(segments: list[Segment], ranges: tuple[tuple[int, int], ...], style: Style) -> list[Segment]:
    """Lay `style` over character ranges of a line."""
    changed: list[Segment] = []
    at = 0
    for text, old, _ in segments:
        cuts = {0, len(text)}
        for start, end in ranges:
            cuts.update(min(max(place - at, 0), len(text)) for place in (start, end))
        places = sorted(cuts)
        for a, b in pairwise(places):
            inside = any(start <= at + a < end for start, end in ranges)
            changed.append(Segment(text[a:b], (old or Style()) + style if inside else old))
        at += len(text)
    return changed
