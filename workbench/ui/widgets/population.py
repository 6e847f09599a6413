"""The population: one line a candidate, the best first.

A line-API view over a sorted list rather than a DataTable, which has no cheap way to put a row in its place: here a
change costs one bisection and the drawing of the visible lines, with 10,000 candidates as with ten.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from workbench.core.candidate import CandidateId, CandidateView
from workbench.core.lineage import rank_key
from workbench.ui.text import age, fit, fit_right, one_line
from workbench.ui.words import MARKS, SPINNER, STATES, speed_up

SortKey = tuple[int, int, float, str]


@dataclass(frozen=True)
class Column:
    """One column: its heading, width in cells, and what it says of a candidate."""

    name: str
    width: int
    text: Callable[[CandidateView, Population], str]
    right: bool = False
    style: Callable[[CandidateView], str] | None = None
    """The component class of a cell; None is the plain text's."""


class Population(ScrollView, can_focus=True):
    """Candidates with a cursor that stays on its candidate when the order changes."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "population--header",
        "population--cursor",
        "population--muted",
        "population--name",
        "population--passed",
        "population--failed",
        "population--could-not-judge",
        "population--judging",
        "population--stale",
        "population--accepted",
        "population--rejected",
        "population--shelved",
    }
    DEFAULT_CSS = """
    Population {
        background: $surface;
        color: $foreground;
        scrollbar-size: 1 1;
        overflow-x: hidden;
        overflow-y: auto;
        & .population--header { color: $foreground 55%; background: $panel; }
        & .population--cursor { background: $primary 18%; }
        & .population--muted { color: $foreground 50%; }
        & .population--name { color: $foreground; text-style: bold; }
        & .population--passed { color: $text-success; }
        & .population--failed { color: $text-error; }
        & .population--could-not-judge { color: $text-warning; }
        & .population--judging { color: $text-accent; }
        & .population--stale { color: $text-warning 70%; }
        & .population--accepted { color: $mark-accepted; text-style: bold; }
        & .population--rejected { color: $mark-rejected; }
        & .population--shelved { color: $mark-shelved; }
        &:focus .population--cursor { background: $primary 34%; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "move(1)", "Next", show=False, tooltip="Go to the next candidate."),
        Binding("up", "move(-1)", "Previous", show=False, tooltip="Go to the previous candidate."),
        Binding("pagedown", "page(1)", "Page down", show=False, tooltip="Go down by a page."),
        Binding("pageup", "page(-1)", "Page up", show=False, tooltip="Go up by a page."),
        Binding("home", "move(-1000000000)", "First", show=False, tooltip="Go to the best candidate."),
        Binding("end", "move(1000000000)", "Last", show=False, tooltip="Go to the last candidate."),
    ]

    @dataclass
    class Chosen(Message):
        """The cursor is on another candidate."""

        population: Population
        candidate: CandidateId | None
        by_person: bool
        """A key or a click, not the arrival of the first candidate."""

        @property
        def control(self) -> Population:
            """The population."""
            return self.population

    def __init__(self) -> None:
        super().__init__(id="population", classes="pane")
        self.target = "host"
        self._views: Mapping[CandidateId, CandidateView] = {}
        self._keys: list[SortKey] = []
        self._key_of: dict[CandidateId, SortKey] = {}
        self._filter: tuple[str, ...] = ()
        self._cursor: CandidateId | None = None
        self._judging: set[CandidateId] = set()
        self._frame = 0

    # --- what is shown

    @property
    def chosen(self) -> CandidateId | None:
        """The candidate under the cursor."""
        return self._cursor

    @property
    def shown(self) -> list[CandidateId]:
        """Ids in the order of the lines."""
        return [key[-1] for key in self._keys]

    def show(
        self, views: Mapping[CandidateId, CandidateView], changed: Iterable[CandidateId], target: str
    ) -> None:
        """Draw another moment: only `changed` are looked at again. A cursor in sight stays so when its line moves."""
        self._views, self.target = views, target
        before = len(self._keys)
        in_sight = self._in_sight()
        for candidate in changed:
            self._place(candidate)
        if len(self._keys) != before or not self.virtual_size.height:
            self._resize()
        if in_sight and not self._in_sight():
            self._reveal()
        self.refresh()

    def filter_by(self, words: str) -> None:
        """Show the candidates in which every word stands: in the id, name, state, mark, origin, parents or note."""
        self._filter = tuple(words.lower().split())
        self._keys.clear()
        self._key_of.clear()
        for candidate, view in self._views.items():
            if self._fits(view):
                self._key_of[candidate] = rank_key(view)
        self._keys = sorted(self._key_of.values())
        self._resize()
        if self._cursor not in self._key_of:
            self.choose(self._keys[0][-1] if self._keys else None, by_person=True)
        else:
            self._reveal()
        self.refresh()

    def choose(self, candidate: CandidateId | None, *, by_person: bool = False) -> None:
        """Put the cursor on `candidate`; clears the filter where that hides it."""
        if candidate is not None and candidate not in self._key_of:
            if candidate not in self._views:
                return
            self._cursor = candidate
            self.filter_by("")
        if candidate != self._cursor or by_person:
            self._cursor = candidate
            self.post_message(self.Chosen(self, candidate, by_person))
        self._reveal()
        self.refresh()

    def step(self, count: int) -> None:
        """Move the cursor by `count` lines; stops at the ends."""
        if not self._keys:
            return
        here = self._line_of(self._cursor)
        line = 0 if here is None else min(max(here + count, 0), len(self._keys) - 1)
        self.choose(self._keys[line][-1], by_person=True)

    def spin(self, frame: int) -> None:
        """Turn the spinner of the candidate that is being judged."""
        self._frame = frame
        for candidate in self._judging:
            line = self._line_of(candidate)
            if line is not None:
                self.refresh(Region(0, line - self.scroll_offset.y + 1, self.size.width, 1))

    @property
    def spinner(self) -> str:
        """The spinner's present form."""
        return SPINNER[self._frame % len(SPINNER)]

    def _place(self, candidate: CandidateId) -> None:
        view = self._views.get(candidate)
        old = self._key_of.pop(candidate, None)
        if old is not None:
            index = bisect.bisect_left(self._keys, old)
            del self._keys[index]
        if view is not None and self._fits(view):
            key = rank_key(view)
            self._key_of[candidate] = key
            bisect.insort(self._keys, key)
        (self._judging.add if view and view.state == "judging" else self._judging.discard)(candidate)

    def _fits(self, view: CandidateView) -> bool:
        if not self._filter:
            return True
        parts = (view.id, view.name, view.state, view.mark or "", view.provenance, view.note, *view.parents)
        text = " ".join(parts).lower()
        return all(word in text for word in self._filter)

    def _line_of(self, candidate: CandidateId | None) -> int | None:
        key = self._key_of.get(candidate) if candidate is not None else None
        return bisect.bisect_left(self._keys, key) if key is not None else None

    def _resize(self) -> None:
        self.virtual_size = Size(1, len(self._keys) + 1)  # and the header, which stays
        self.border_subtitle = f"{len(self._keys)} of {len(self._views)}" if self._filter else ""

    def _in_sight(self) -> bool:
        line = self._line_of(self._cursor)
        top = self.scroll_offset.y
        return line is not None and top <= line < top + max(1, self.size.height - 1)

    def _reveal(self) -> None:
        line = self._line_of(self._cursor)
        visible = self.size.height - 1
        if line is None or visible <= 0:
            return
        top = self.scroll_offset.y
        if line < top:
            self.scroll_to(y=line, animate=False)
        elif line >= top + visible:
            self.scroll_to(y=line - visible + 1, animate=False)

    # --- keys and mouse

    def action_move(self, count: int) -> None:
        """A key moves the cursor."""
        self.step(count)

    def action_page(self, direction: int) -> None:
        """A key moves the cursor by a page."""
        self.step(direction * max(1, self.size.height - 2))

    def on_click(self, event: events.Click) -> None:
        """Choose the line that was clicked."""
        place = event.get_content_offset(self)
        if place is None or place.y == 0:
            return
        line = place.y - 1 + self.scroll_offset.y
        if line < len(self._keys):
            self.choose(self._keys[line][-1], by_person=True)

    def on_resize(self) -> None:
        """Keep the cursor in sight."""
        self._reveal()

    # --- drawing

    def render_line(self, y: int) -> Strip:
        """The header, then the visible candidates."""
        width = self.size.width
        columns = _columns(width)
        if y == 0:
            style = self.get_component_rich_style("population--header")
            cells = [Segment(_cell(c.name, c) + "  ", style) for c in columns]
            return Strip([Segment(" ", style), *cells]).adjust_cell_length(width, style)
        line = self.scroll_offset.y + y - 1
        if line >= len(self._keys):
            return self._below(line - len(self._keys), width)
        view = self._views[self._keys[line][-1]]
        base = self.rich_style
        if view.id == self._cursor:
            base = base + Style(bgcolor=self.get_component_rich_style("population--cursor").bgcolor)
        edge = "▌" if view.id == self._cursor else " "
        segments = [Segment(edge, base + self._foreground("population--judging"))]
        for column in columns:
            name = column.style(view) if column.style else ""
            if view.id == self._cursor and name == "population--muted":
                name = ""  # muted on the cursor's ground is hard to read
            style = base + self._foreground(name) if name else base
            segments.append(Segment(_cell(one_line(column.text(view, self)), column), style))
            segments.append(Segment("  ", base))
        return Strip(segments).adjust_cell_length(width, base)

    def _below(self, line: int, width: int) -> Strip:
        if line == 0 and not self._keys:
            words = (
                f" No candidate has all of: {' '.join(self._filter)}"
                if self._filter
                else " No candidates yet: shipped kernels that fit appear here by themselves; o opens your own .cu file."
            )
            return Strip([Segment(fit(words, width), self.get_component_rich_style("population--muted"))])
        return Strip.blank(width, self.rich_style)

    def _foreground(self, name: str) -> Style:
        style = self.get_component_rich_style(name)
        return Style(color=style.color, bold=style.bold or None)


def _cell(text: str, column: Column) -> str:
    return fit_right(text, column.width) if column.right else fit(text, column.width)


def _state_text(view: CandidateView, population: Population) -> str:
    symbol, word = STATES[view.state]
    if view.state == "judging":
        symbol = population.spinner
    if view.state == "failed" and view.verdict is not None and view.verdict.failed_gate:
        word = view.verdict.failed_gate
    return f"{symbol} {word}"


def _symbol_text(view: CandidateView, population: Population) -> str:
    return population.spinner if view.state == "judging" else STATES[view.state][0]


def _state_class(view: CandidateView) -> str:
    if view.state in ("passed", "failed", "judging", "stale"):
        return f"population--{view.state}"
    return "population--could-not-judge" if view.state == "could not judge" else "population--muted"


def _mark_text(view: CandidateView, _: Population) -> str:
    return " ".join(MARKS[view.mark]) if view.mark else ""


def _mark_symbol(view: CandidateView, _: Population) -> str:
    return MARKS[view.mark][0] if view.mark else ""


def _mark_class(view: CandidateView) -> str:
    return f"population--{view.mark}" if view.mark else "population--muted"


def _muted(_: CandidateView) -> str:
    return "population--muted"


def _name_class(_: CandidateView) -> str:
    return "population--name"


def _parent_text(view: CandidateView, _: Population) -> str:
    return " × ".join(view.parents)


def _registers(view: CandidateView, _: Population) -> str:
    return "" if view.verdict is None or view.verdict.registers is None else str(view.verdict.registers)


def _spills(view: CandidateView, _: Population) -> str:
    spilled = view.verdict.spill_bytes if view.verdict else None
    return "" if spilled is None else (f"▲ {spilled}" if spilled else "0")


def _occupancy(view: CandidateView, _: Population) -> str:
    ratio = view.verdict.occupancy if view.verdict else None
    return "" if ratio is None else f"{100 * ratio:.0f} %"


def _notes(view: CandidateView, _: Population) -> str:
    if view.state_reason:
        return view.state_reason
    if view.mark and view.mark_reason:
        return f"“{view.mark_reason}” {view.mark_author}"
    if view.verdict is not None and view.verdict.outcome != "pass":
        return view.verdict.first_line.partition(": ")[2] or view.verdict.first_line
    return view.note


def _columns(width: int) -> list[Column]:
    """The columns that fit: all with a note from 140 cells, symbols instead of words below 100."""
    wide = width >= 100
    columns = [
        Column("State", 13, _state_text, style=_state_class)
        if wide
        else Column("", 1, _symbol_text, style=_state_class),
        Column("Mark", 10, _mark_text, style=_mark_class)
        if wide
        else Column("", 1, _mark_symbol, style=_mark_class),
        Column("Id", 6 if wide else 5, lambda v, _: v.id),
        Column("Name", 0, lambda v, _: v.name, style=_name_class),
        Column("Origin", 9 if wide else 7, lambda v, _: v.provenance),
        Column("Parent", 13 if width >= 140 else 6, _parent_text, style=_muted),
        Column("Regs", 4, _registers, right=True),
        *([Column("Spill", 5, _spills, right=True)] if wide else []),
        Column("Occ", 5, _occupancy, right=True),
        Column("Speed-up", 9, lambda v, p: speed_up(v, p.target), right=True, style=_muted),
        Column("Age", 4, lambda v, _: age(v.added_at), right=True, style=_muted),
    ]
    if width >= 140:
        columns.append(Column("Note", 0, _notes, style=_muted))
    rest = max(0, width - 1 - sum(c.width + 2 for c in columns))
    flexible = [c for c in columns if c.width == 0]
    name_width = rest if len(flexible) == 1 else max(18, rest * 3 // 5)
    widths = [name_width, rest - name_width]
    return [
        Column(c.name, widths.pop(0) if c.width == 0 else c.width, c.text, c.right, c.style) for c in columns
    ]
