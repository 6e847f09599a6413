"""The chosen candidate's file, or what it changed of its parent's."""

from __future__ import annotations

from typing import Literal

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content

from workbench.core.candidate import CandidateId, CandidateView
from workbench.ui.code_rows import Row, changed_counts, diff_rows, file_rows
from workbench.ui.highlight import Line, plain_lines
from workbench.ui.text import one_line
from workbench.ui.widgets.code_view import CodeView

Mode = Literal["code", "unified", "inline"]


class CandidatePane(Vertical):
    """CUDA code with its plan. It is given sources; it reads no files."""

    ALLOW_MAXIMIZE = True

    def __init__(self) -> None:
        super().__init__(id="candidate", classes="pane")
        self.border_title = Content("2 Candidate")
        self._mode: Mode = "code"
        self._diff_style: Mode = "unified"
        self._shown: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        """The code fills the pane."""
        yield CodeView(id="candidate-code")

    @property
    def mode(self) -> Mode:
        """ "code", "unified" or "inline"."""
        return self._mode

    def toggle_diff(self) -> None:
        """Between the code and the difference."""
        self._mode = "code" if self._mode != "code" else self._diff_style

    def toggle_style(self) -> None:
        """Between the unified and the inline difference; shows it where the code stood."""
        if self._mode != "code":
            self._diff_style = "inline" if self._diff_style == "unified" else "unified"
        self._mode = self._diff_style

    def recolour(self) -> None:
        """Colours have become available: the next `show` draws again, at the same place."""
        if self._shown:
            self._shown = (self._shown[0], self._shown[-1])

    def show_nothing(self, words: str) -> None:
        """No candidate is chosen, or its file is on its way."""
        self._shown = ()
        self.border_title = Content("2 Candidate")
        self.border_subtitle = Content("")
        self.query_one(CodeView).show(_words(words))

    def show(
        self,
        chosen: CandidateView,
        source: str,
        parent: tuple[CandidateId, str] | None,
        blamed: frozenset[int] = frozenset(),
    ) -> None:
        """Draw `chosen`.

        Args:
            chosen: whose file it is.
            source: its text.
            parent: the first parent's id and text, where it has one.
            blamed: lines that the verdict names.
        """
        key = (chosen.id, source, parent, blamed, self._mode)
        if key == self._shown:
            return
        keep = bool(self._shown) and (self._shown[0], self._shown[-1]) == (chosen.id, self._mode)
        self._shown = key
        lines = self.query_one(CodeView).lines_of("cuda", source)
        rows, about = self._rows(lines, parent, blamed)
        self.border_title = Content(f"2 {chosen.id} {one_line(chosen.name)}")
        self.border_subtitle = Content(about)
        self.query_one(CodeView).show(rows, keep_place=keep)

    def _rows(
        self, lines: tuple[Line, ...], parent: tuple[CandidateId, str] | None, blamed: frozenset[int]
    ) -> tuple[tuple[Row, ...], str]:
        if self._mode == "code":
            return file_rows(lines, blamed), f"{len(lines)} lines"
        if parent is None:
            return file_rows(lines, blamed), "no parent to compare with"
        rows = diff_rows(self.query_one(CodeView).lines_of("cuda", parent[1]), lines, self._mode)
        if not rows:
            return _words(f"The same code as {parent[0]}."), f"{self._mode} diff against {parent[0]}"
        added, removed = changed_counts(rows)
        return rows, f"{self._mode} diff against {parent[0]}  +{added} -{removed}"


def _words(text: str) -> tuple[Row, ...]:
    return tuple(Row(tuple((piece, "comment") for piece, _ in line)) for line in plain_lines(text))
