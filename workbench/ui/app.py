"""The application: it owns the link to the engine, carries out what a person asks for, and hands pictures to the bench.

It never imports torch and never executes a task. All state is the engine's: quitting loses nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import msgspec
from textual import on, work
from textual.binding import Binding, BindingType
from textual.notifications import SeverityLevel
from textual.screen import Screen

from workbench.core.candidate import CandidateId
from workbench.core.errors import SessionError, WorkbenchError
from workbench.core.events import Noticed, ProposalsMade, TaskLoaded
from workbench.core.locate import LocatedTask
from workbench.core.messages import (
    Answer,
    EngineProgress,
    EventHappened,
    MarkCandidate,
    StopEngine,
    ToEngine,
)
from workbench.ui import intents, themes
from workbench.ui.documents import Documents
from workbench.ui.edits import Edits
from workbench.ui.link import Link, Opener, Opening
from workbench.ui.screens.bench import BenchScreen
from workbench.ui.text import clean
from workbench.ui.view import View, take_picture

FRAME_S = 0.05
"""At most twenty pictures a second."""
MODULE_CHARACTERS = 200_000
TOAST_S = 5.0
WARNINGS_SHOWN = 5
"""Of those from before the screen was there, the latest."""
ONCE_S = 2.0
"""The same words are not said twice within so many seconds."""
STOP_LIMIT_S = 5.0
"""How long an engine may take to answer that it stops."""
STAYS_S = 7 * 86400.0
"""Errors stay until they are dismissed."""


class WorkbenchApp(Edits):
    """One terminal on one session."""

    TITLE = "workbench"
    ENABLE_COMMAND_PALETTE = True
    CSS = """
    * {
        scrollbar-color: $foreground 18%; scrollbar-color-hover: $primary 60%; scrollbar-color-active: $primary;
        scrollbar-background: $surface; scrollbar-background-hover: $surface; scrollbar-background-active: $surface;
        scrollbar-corner-color: $surface;
    }
    ToastRack { margin-bottom: 2; }  /* the hint and the keys stay in sight */
    Toast { width: 56; max-width: 75%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "leave", "Quit", show=False, tooltip="Leave."),
    ]

    def __init__(
        self,
        opener: Opener,
        *,
        task: LocatedTask | None = None,
        opening: Opening | None = None,
        candidates: Sequence[str] = (),
        theme: str | None = None,
        editor: str | None = None,
    ) -> None:
        """Show `task`, whose engine is `opening` already; without a task, a picker.

        Args:
            opener: starts engines.
            task: what to show before the engine answers.
            opening: an engine that was started before this toolkit was imported.
            candidates: files to submit once attached.
            theme: "dark", "light" or the name of one of Textual's themes.
            editor: the command that edits a copy; without it $VISUAL, $EDITOR, else the inline editor.
        """
        super().__init__()
        for ours in themes.THEMES.values():
            self.register_theme(ours)
        self.theme = _theme_name(theme, self.available_themes)
        known = theme is None or theme in themes.THEMES or theme in self.available_themes
        self._unknown_theme = "" if known else theme
        self._opener, self._opening, self._candidates = opener, opening, tuple(candidates)
        self._editor = editor
        self._located = task
        self._link: Link | None = None
        self._documents = Documents()
        self._bench: BenchScreen | None = None
        self._changed: set[CandidateId] = set()
        self._drawn_at = 0.0
        self._draw_waits = False
        self._lost = ""
        self._told = ("", 0.0)
        self.unopened: WorkbenchError | None = None
        """Why there is no session, while none has been opened; the command line ends with it."""

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Colours of marks and code under themes that are not ours."""
        return themes.defaults(dark=self.current_theme.dark)

    @property
    def messages_shown(self) -> bool:
        """Toasts are on the screen."""
        return bool(self._notifications)

    @property
    def link(self) -> Link | None:
        """The connection to the engine, once there is one."""
        return self._link

    def get_default_screen(self) -> Screen[None]:
        """The bench at once, so that the first paint is the real one; or the picker."""
        if self._located is None:
            from workbench.ui.screens.picker import PickerScreen

            return PickerScreen()
        return self._make_bench(self._located.name, module_text(self._located.path))

    def on_mount(self) -> None:
        """Attach, once there is something to attach to."""
        if self._unknown_theme:
            choices = ", ".join([*themes.THEMES, *sorted(self.available_themes)])
            self.tell(f"There is no theme {self._unknown_theme}. Choices: {choices}.", "warning")
        if self._opening is not None:
            self._follow(self._opening)

    def open_task(self, task: LocatedTask) -> None:
        """A person picked a task."""
        self._located = task
        self._show_bench(task.name, lambda: self._opener.open(task.path), module_text(task.path))

    def open_session(self, session: str, name: str) -> None:
        """A person picked a session."""
        self._show_bench(name, lambda: self._opener.reopen(session))

    def _show_bench(self, name: str, start: Callable[[], Opening], text: str = "") -> None:
        try:
            opening = start()
        except WorkbenchError as error:
            self.tell(str(error), "error")
            return
        self.push_screen(self._make_bench(name, text))
        self._follow(opening)

    def _make_bench(self, name: str, text: str = "") -> BenchScreen:
        self._bench = BenchScreen(View(task_name=name, target="", module_text=text), self._documents)
        return self._bench

    # --- the session

    @work(exclusive=True, group="session")
    async def _follow(self, opening: Opening) -> None:
        """Attach, then fold until the engine ends."""
        try:
            link = await opening.connect()
            attached = await link.attach()
        except WorkbenchError as error:
            self.unopened = error if self._link is None else None
            self._lose(str(error))
            return
        self.unopened = None
        self._link = self._documents.link = link
        self._lost = ""
        self._changed.update(attached.state.candidates)
        self._draw()
        for notice in attached.state.warnings[-WARNINGS_SHOWN:]:  # nobody was there to hear them
            self.tell(notice.text, notice.level, stays=True)
        self._submit_named()
        async for message in link.messages():
            self._fold(message)
        await link.close()
        self._lose(link.closed or "the connection ended")

    def _fold(self, message: EventHappened | EngineProgress) -> None:
        if isinstance(message, EventHappened):
            event = message.event
            candidate = getattr(event, "candidate", None)
            if isinstance(candidate, str):
                self._changed.add(candidate)
            if isinstance(event, TaskLoaded) and self._link is not None:
                self._changed.update(self._link.state.candidates)  # verdicts may have become stale
            if isinstance(event, Noticed):
                self.tell(event.text, "information" if event.level == "info" else event.level)
            if isinstance(event, ProposalsMade) and event.summary:
                self.tell(event.summary)
        self._draw_soon()

    def _draw_soon(self) -> None:
        if self._draw_waits:
            return
        self._draw_waits = True
        self.set_timer(max(0.001, self._drawn_at + FRAME_S - time.monotonic()), self._draw)

    def _draw(self) -> None:
        self._draw_waits = False
        self._drawn_at = time.monotonic()
        if self._bench is None:
            return
        changed, self._changed = frozenset(self._changed), set()
        link = self._link
        if link is None:
            view = msgspec.structs.replace(
                self._bench.view, link="lost", link_reason=self._lost, changed=changed
            )
        else:
            view = take_picture(
                link.state,
                link.progress,
                task_name=self._bench.view.task_name,
                link="lost" if self._lost else "live",
                link_reason=self._lost,
                session=link.session,
                module_text=self._bench.view.module_text,
                changed=changed,
            )
        self._bench.show(view)

    def _lose(self, why: str) -> None:
        self._lost = why
        self._documents.link = None
        self._draw_soon()

    @work(group="named")
    async def _submit_named(self) -> None:
        waiting, self._candidates = self._candidates, ()
        for path in waiting:
            await self._submit_file(path)

    # --- what a person asks for

    @on(intents.Ask)
    def _asked(self, event: intents.Ask) -> None:
        event.stop()
        self._send(event.request)

    @work(group="requests")
    async def _send(self, request: ToEngine) -> None:
        await self._request(request, _marked(request) if isinstance(request, MarkCandidate) else "")

    async def _request(self, request: ToEngine, done: str = "") -> Answer | None:
        """Send, and show what the engine says, after the words `done` where it agreed; None where it is gone."""
        link = self._link_now()
        if link is None:
            return None
        try:
            answer = await link.request(request)
        except SessionError as error:
            self.tell(str(error), "error")
            return None
        self._tell_answer(answer, done)
        return answer

    def _link_now(self) -> Link | None:
        """The link while the engine is there; else None, which is said."""
        if self._link is not None and not self._lost:
            return self._link
        if self._bench is not None and self._bench.view.link == "connecting":
            self.tell("The engine is still starting; try again in a moment.", "warning")
        else:
            self.tell("The engine is not there; press r once it can be started.", "error")
        return None

    def _tell_answer(self, answer: Answer, done: str = "") -> None:
        if words := f"{done if answer.ok else ''} {answer.message}".strip():
            self.tell(words, "information" if answer.ok else "error")

    @on(intents.OpenFile)
    def _open_file(self, event: intents.OpenFile) -> None:
        event.stop()
        self._submit_and_choose(str(Path(event.path).expanduser()))

    @work(group="requests")
    async def _submit_and_choose(self, path: str) -> None:
        answer = await self._submit_file(path)
        if answer is not None and answer.ok:
            self._choose(answer.candidate)

    async def _submit_file(self, path: str) -> Answer | None:
        link = self._link_now()
        if link is None:
            return None
        try:
            answer = await link.submit_file(path)
        except SessionError as error:
            self.tell(str(error), "error")
            return None
        self._tell_answer(answer)
        return answer

    def _choose(self, candidate: CandidateId | None) -> None:
        """Put the cursor on a candidate that a person just made."""
        if candidate is not None and self._bench is not None:
            self._draw()
            self._bench.choose(candidate)

    @on(intents.Restart)
    def _restart(self, event: intents.Restart) -> None:
        event.stop()
        bench = self._bench
        if bench is None or bench.view.link != "lost":
            return
        session = self._link.session if self._link is not None else ""
        try:
            if session:
                opening = self._opener.reopen(session)
            elif self._located is not None:
                opening = self._opener.open(self._located.path)
            else:
                self.tell("Quit and open the task again.", "error")
                return
        except WorkbenchError as error:
            self.tell(str(error), "error")
            return
        bench.show(msgspec.structs.replace(bench.view, link="connecting", changed=frozenset()))
        self._follow(opening)

    @on(intents.Tell)
    def _tell(self, event: intents.Tell) -> None:
        event.stop()
        self.tell(event.words, event.level)

    def tell(self, text: str, level: str = "information", *, stays: bool = False) -> None:
        """A toast; an error, or what `stays`, is there until it is dismissed."""
        now = time.monotonic()
        if text == self._told[0] and now - self._told[1] < ONCE_S:
            return  # an answer and an event may say the same
        self._told = (text, now)
        severity: SeverityLevel = (
            "error" if level == "error" else "warning" if level == "warning" else "information"
        )
        stays = stays or severity == "error"
        timeout = STAYS_S if stays else TOAST_S
        words = f"{clean(text)}  (esc dismisses this)" if stays else clean(text)
        self.notify(words, severity=severity, timeout=timeout, markup=False)

    @on(intents.Leave)
    def _leave(self, event: intents.Leave) -> None:
        event.stop()
        self._close(event.stop_engine)

    async def action_quit(self) -> None:
        """The palette's Quit: each edit that is not saved is asked about first, and then the judge's work."""
        self._quit()

    async def action_leave(self) -> None:
        """Leave from any other screen."""
        await self.action_quit()

    def _quit(self) -> None:
        if self.leave_editor(self._quit):
            return
        if self._bench is not None and self._bench in self.screen_stack:
            self._bench.action_quit_bench()
        else:
            self._close(False)

    @work(exclusive=True, group="leave")
    async def _close(self, stop: bool) -> None:
        if self._link is not None and not self._lost:
            try:
                if stop:
                    answer = await asyncio.wait_for(self._link.request(StopEngine()), STOP_LIMIT_S)
                    if not answer.ok:
                        self.tell(answer.message, "warning")
                        return
                await self._link.close()
            except SessionError:
                pass  # it is gone already, which is what was asked for
            except TimeoutError:
                self.exit(message=f"The engine did not answer within {STOP_LIMIT_S:.0f} s; it may still run.")
                return
        self.exit()


def module_text(path: str) -> str:
    """The task file's text, to read while the judge loads it; "" for a folder or a class. Nothing is executed."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(MODULE_CHARACTERS)
    except OSError:
        return ""


def _marked(request: MarkCandidate) -> str:
    if request.mark is None:
        return f"{request.candidate} has no mark any more."
    return f"{request.candidate} is {request.mark}; u takes it back."


def _theme_name(wanted: str | None, available: Mapping[str, object]) -> str:
    if wanted in themes.THEMES:
        return themes.THEMES[wanted].name
    return wanted if wanted is not None and wanted in available else themes.DARK.name
