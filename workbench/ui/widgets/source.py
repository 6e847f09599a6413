"""The task as the user wrote it, and as a function with explicit parameters (stage 1)."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content

from workbench.ui.code_rows import Row, file_rows
from workbench.ui.highlight import Line, plain_lines
from workbench.ui.text import one_line
from workbench.ui.view import View
from workbench.ui.widgets.code_view import CodeView
from workbench.ui.widgets.tab_line import TabLine


class SourcePane(Vertical):
    """PyTorch source in two tabs, Module and Functional."""

    ALLOW_MAXIMIZE = True

    TABS: ClassVar[dict[str, str]] = {"module": "Module", "functional": "Functional"}

    def __init__(self) -> None:
        super().__init__(id="source", classes="pane")
        self.border_title = Content("1 PyTorch")
        self._tab = "module"
        self._shown: tuple[object, ...] = ()
        self._view: View | None = None

    def compose(self) -> ComposeResult:
        """Tabs above the code."""
        yield TabLine(self.TABS, active="module", id="source-tabs")
        yield CodeView(id="source-code")

    @property
    def tab(self) -> str:
        """ "module" or "functional"."""
        return self._tab

    def switch(self, name: str | None = None) -> None:
        """Show the tab `name`, or the other one."""
        self._tab = name or ("functional" if self._tab == "module" else "module")
        self.query_one(TabLine).active = self._tab
        if self._view is not None:
            self.show(self._view)

    def recolour(self) -> None:
        """Colours have become available."""
        if self._view is not None and self._shown:
            self._shown = (self._shown[0],)
            self.show(self._view)

    def show(self, view: View) -> None:
        """Draw the task of this moment; work that would not change the picture is skipped."""
        self._view = view
        module = view.task.source if view.task else view.module_text
        key = (self._tab, module, view.functional, view.task_error, view.task is None)
        if key == self._shown:
            return
        keep = bool(self._shown) and self._shown[0] == self._tab
        self._shown = key
        self.query_one(CodeView).show(self._rows(view), keep_place=keep)
        self.border_subtitle = Content(self._about(view))

    def _rows(self, view: View) -> tuple[Row, ...]:
        if self._tab == "module":
            # A broken save does not take the last good revision from the screen; the banner says what is wrong.
            source = view.task.source if view.task else view.module_text
            return file_rows(self._lines(source)) if source else _words("The judge reads the task…")
        form = view.functional
        if form is None:
            return _words(
                "The functional form is not there\nyet.\n\ntorch.export traces the module in\n"
                "the background, and the judge\nchecks it against the module on\nrandom inputs before it is shown."
            )
        if form.source is None:
            return _words(f"There is no functional form:\n{form.note}")
        return file_rows(self._lines(form.source))

    def _lines(self, source: str) -> tuple[Line, ...]:
        return self.query_one(CodeView).lines_of("python", source)

    def _about(self, view: View) -> str:
        if self._tab == "functional" and view.functional is not None and view.functional.source is not None:
            return "✓ agrees with the module" if view.functional.validated else "! not validated"
        if view.task is None or not view.task.sizes:
            return "as it is on disk" if view.module_text else ""
        size = view.task.sizes[0]
        values = ", ".join(f"{name}={value}" for name, value in list(size.values.items())[:3])
        return one_line(f"judged at {size.name}" + (f" ({values})" if values else ""))


def _words(text: str) -> tuple[Row, ...]:
    lines: tuple[Line, ...] = plain_lines(text)
    return tuple(Row(tuple((piece, "comment") for piece, _ in line)) for line in lines)
