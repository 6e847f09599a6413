"""Small dialogs: a line of text, and a question with a few keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.suggester import Suggester
from textual.widgets import Input, Static

_CSS = """
    {name} {{ align: center middle; background: $background 60%; }}
    {name} > Vertical {{
        width: 72; max-width: 94%; height: auto; max-height: 90%;
        background: $panel; border: round $primary; padding: 1 2; border-title-color: $text-primary;
    }}
    {name} Input {{ margin: 1 0; background: $surface; border: tall $primary-muted; }}
    {name} .about {{ color: $foreground 60%; height: auto; }}
    {name} .words {{ height: auto; }}
"""


class LineDialog(ModalScreen[str | None]):
    """Asks for one line; None where it was left with escape."""

    DEFAULT_CSS = _CSS.format(name="LineDialog")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Back", tooltip="Close without doing it."),
    ]

    def __init__(
        self, title: str, words: str, *, placeholder: str, about: str, suggester: Suggester | None = None
    ) -> None:
        super().__init__()
        self._title, self._words, self._about = title, words, about
        self._input = Input(placeholder=placeholder, suggester=suggester, id="line")

    def compose(self) -> ComposeResult:
        """The question, the line and what the keys do."""
        with Vertical() as box:
            box.border_title = Content(self._title)
            yield Static(self._words, classes="words", markup=False)
            yield self._input
            yield Static(self._about, classes="about", markup=False)

    def on_mount(self) -> None:
        """Write at once."""
        self._input.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter answers."""
        event.stop()
        self.dismiss(event.value.strip())

    def action_leave(self) -> None:
        """Escape answers nothing."""
        self.dismiss(None)


class Question(ModalScreen[str]):
    """Asks for one key of several; the answer is the key, "escape" to stay."""

    DEFAULT_CSS = _CSS.format(name="Question")

    def __init__(self, title: str, words: str, keys: dict[str, str]) -> None:
        """Args: `keys` from key to what it does; escape is always there."""
        super().__init__()
        self._title, self._words = title, words
        self._keys = {**keys, "escape": "stays here"}

    def compose(self) -> ComposeResult:
        """The question over its keys."""
        parts: list[Content | str | tuple[str, str]] = []
        for key, words in self._keys.items():
            shown = "esc" if key == "escape" else key
            parts += [(f" {shown} ", "bold $text-primary on $primary-muted"), f" {words}   "]
        with Vertical() as box:
            box.border_title = Content(self._title)
            yield Static(self._words, classes="words", markup=False)
            yield Static("")
            yield Static(Content.assemble(*parts), classes="words")

    def on_key(self, event: events.Key) -> None:
        """Only the keys that are shown count."""
        event.stop()
        if event.key in self._keys:
            self.dismiss(event.key)


class CandidateFiles(Suggester):
    """Completes a path to a folder or a .cu file; a folder that cannot be read suggests nothing."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        """The first name that goes on from `value`."""
        if not value:
            return None
        head, _, tail = value.rpartition("/")
        folder = Path(f"{head}/" if "/" in value else ".").expanduser()
        prefix = f"{head}/" if "/" in value else ""
        for name in _names(folder, lambda n: n.startswith(tail) and n != tail):
            return prefix + name
        return None


def _names(folder: Path, fits: Callable[[str], bool]) -> Iterable[str]:
    try:
        entries = sorted(folder.iterdir(), key=lambda p: (p.suffix != ".cu", p.name))[:2000]
    except OSError:
        return
    for entry in entries:
        if fits(entry.name) and (entry.suffix == ".cu" or entry.is_dir()):
            yield entry.name + ("/" if entry.is_dir() else "")
