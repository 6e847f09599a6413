"""Editing a copy of a candidate on the screen itself, for terminals without an editor or hands that stay here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Static, TextArea

from workbench.core.candidate import CandidateId
from workbench.ui.screens.dialogs import Question
from workbench.ui.text import one_line


class EditorScreen(Screen[None]):
    """A text area over the whole screen. Posts `Saved`; closing with unsaved changes asks once."""

    DEFAULT_CSS = """
    EditorScreen {
        background: $background;
        & #editor-head { height: 1; padding: 0 1; background: $panel; }
        & #editor-foot { height: 1; padding: 0 1; background: $panel; color: $foreground 70%; }
        & TextArea { border: round $primary; background: $surface; height: 1fr; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save", "Save", priority=True, tooltip="Have what changed judged as a child."),
        Binding(
            "escape", "leave", "Back", priority=True, tooltip="Close; asks where something is not saved."
        ),
        Binding("ctrl+q", "leave", "Back", show=False, priority=True, tooltip="As escape."),
    ]

    @dataclass
    class Saved(Message):
        """The text is to be judged as a child of `parent`."""

        parent: CandidateId
        name: str
        original: str
        text: str
        cursor: tuple[int, int]

    def __init__(
        self, parent: CandidateId, name: str, text: str, *, draft: EditorScreen.Saved | None = None
    ) -> None:
        """Edit `text`, or go on with the `draft` of it that was not taken."""
        super().__init__()
        self._of, self._named, self._saved = parent, one_line(name), text
        self._draft = draft

    def compose(self) -> ComposeResult:
        """What is edited, the text, and the keys."""
        head = f"A copy of {self._of} {self._named}: saved changes are judged as its child"
        yield Static(Content(head), id="editor-head", markup=False)
        text = self._draft.text if self._draft is not None else self._saved
        yield TextArea(text, id="editor", show_line_numbers=True, soft_wrap=False, tab_behavior="indent")
        keys: list[str | tuple[str, str]] = [
            ("ctrl+s", "bold $text-primary"),
            " judge it as a child   ",
            ("esc", "bold $text-primary"),
            " back   ",
        ]
        yield Static(Content.assemble(*keys, ("ctrl+z", "bold $text-primary"), " undo"), id="editor-foot")

    def on_mount(self) -> None:
        """CUDA colours where the grammar is installed; then write."""
        area = self.query_one(TextArea)
        _colour(area)
        area.focus()
        if self._draft is not None:
            area.move_cursor(self._draft.cursor)

    @property
    def changed(self) -> bool:
        """Something is not saved."""
        return self.query_one(TextArea).text != self._saved

    def action_save(self) -> None:
        """Submit it and close."""
        area = self.query_one(TextArea)
        if self.changed:
            self.post_message(self.Saved(self._of, self._named, self._saved, area.text, area.cursor_location))
            self._saved = area.text
        self.dismiss(None)

    def action_leave(self) -> None:
        """Close; ask first where something would be lost."""
        self.leave()

    def leave(self, then: Callable[[], None] = lambda: None) -> None:
        """Close as escape does, and call `then` where nothing is left to be lost.

        After saving it is not called: the engine may refuse, and then the editor comes back.
        """

        def close() -> None:
            self.dismiss(None)
            self.app.call_later(then)

        def answered(key: str | None) -> None:
            if key == "s":
                self.action_save()
            elif key == "d":
                close()

        if not self.changed:
            close()
            return

        self.app.push_screen(
            Question("Unsaved", "What you changed is not saved.", {"s": "saves", "d": "discards"}), answered
        )


def _colour(area: TextArea) -> None:
    try:
        import tree_sitter_cuda
        from tree_sitter import Language

        area.register_language("cuda", Language(tree_sitter_cuda.language()), _HIGHLIGHTS)
        area.language = "cuda"
    except Exception as error:  # a grammar of another ABI: the text is edited without colours
        area.log(f"no CUDA colours: {error}")


_HIGHLIGHTS = """
(comment) @comment
(string_literal) @string
(system_lib_string) @string
(number_literal) @number
(primitive_type) @type
(type_identifier) @type
(call_expression function: (identifier) @function)
(function_declarator declarator: (identifier) @function)
["if" "else" "for" "while" "return" "const" "static" "struct" "template" "typename" "extern" "using"] @keyword
["#include" "#define" "#if" "#endif" "#ifdef" "#else"] @keyword
"""
