"""What to work on, for `workbench` alone: recent sessions, tasks in ./tasks, and the shipped tasks."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from workbench.core.locate import LocatedTask, local_tasks, recent_sessions, shipped_tasks
from workbench.ui.text import age, fit, one_line

SESSIONS_SHOWN = 8


class PickerScreen(Screen[None]):
    """A list to choose from with the arrows and enter, or the mouse."""

    DEFAULT_CSS = """
    PickerScreen {
        align: center middle;
        background: $background;
        & > Vertical { width: 84; max-width: 100%; height: auto; max-height: 100%; background: $surface;
                       border: round $primary; border-title-color: $text-primary; padding: 1 2; }
        & OptionList { height: auto; max-height: 30; background: $surface; border: none; padding: 0;
                       scrollbar-size: 1 1; text-wrap: nowrap; text-overflow: ellipsis; }
        & #picker-about { height: auto; color: $foreground 60%; margin-bottom: 1; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,escape,ctrl+q", "leave", "Quit", tooltip="Leave."),
        Binding("n", "cursor('cursor_down')", "Next", tooltip="Go down."),
        Binding("p", "cursor('cursor_up')", "Previous", tooltip="Go up."),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._tasks: dict[str, LocatedTask] = {}
        self._sessions: dict[str, Path] = {}

    def compose(self) -> ComposeResult:
        """Everything that can be opened without typing a path."""
        with Vertical() as box:
            box.border_title = Content("workbench")
            box.border_subtitle = Content("enter opens   q quits")
            yield Static(
                Content("Choose a PyTorch task. Your own: workbench path/to/task.py"), id="picker-about"
            )
            yield OptionList(*self._options(), id="picker", markup=False)

    def on_mount(self) -> None:
        """The list has the keys."""
        self.query_one(OptionList).focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Open it."""
        event.stop()
        key = event.option.id or ""
        if key in self._tasks:
            self.app.open_task(self._tasks[key])  # type: ignore[attr-defined] # WorkbenchApp's
        elif key in self._sessions:
            session = self._sessions[key]
            self.app.open_session(str(session.resolve()), session.name)  # type: ignore[attr-defined] # WorkbenchApp's

    def action_leave(self) -> None:
        """Nothing is open yet."""
        self.app.exit()

    def action_cursor(self, action: str) -> None:
        """Move the list's cursor."""
        getattr(self.query_one(OptionList), f"action_{action}")()

    def _options(self) -> list[Option | None]:
        options: list[Option | None] = []
        for title, tasks in (("Tasks in ./tasks", local_tasks()), ("Shipped tasks", shipped_tasks())):
            if tasks:
                options.append(_title(title))
            for task in tasks:
                key = f"task-{len(self._tasks)}"
                self._tasks[key] = task
                words = Content.assemble(
                    ("  " + fit(one_line(task.name), 28), "bold"), (_about(task.path), "$foreground 60%")
                )
                options.append(Option(words, id=key))
        sessions = recent_sessions(limit=SESSIONS_SHOWN)
        if sessions:
            options = [_title("Recent sessions"), *(self._session_option(s) for s in sessions), *options]
        return options

    def _session_option(self, session: Path) -> Option:
        key = f"session-{len(self._sessions)}"
        self._sessions[key] = session
        try:
            used = f"used {age((session / 'events.jsonl').stat().st_mtime)} ago"
        except OSError:
            used = ""
        return Option(
            Content.assemble(("  " + fit(one_line(session.name), 40), "bold"), (used, "$foreground 60%")),
            id=key,
        )


def _title(text: str) -> Option:
    return Option(Content.styled(text, "bold $text-primary"), disabled=True)


def _about(path: str) -> str:
    """The first line of a task's docstring, read as text: nothing is executed."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            first = file.readline(300)
    except OSError:
        return ""
    return one_line(first.strip().strip('"').rstrip(".")) if first.lstrip().startswith('"""') else ""
