"""The bench's keys: each posts what a person asks for (`ui.intents`), or turns what is shown.

Apart from `bench`, which lays the screen out and draws it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Input

from workbench.core.candidate import CandidateId, CandidateView, Mark
from workbench.core.messages import CancelCandidate, MarkCandidate, ToEngine, TuneCandidate, VerifyAgain
from workbench.ui import intents
from workbench.ui.screens.dialogs import CandidateFiles, LineDialog, Question
from workbench.ui.text import one_line
from workbench.ui.view import View
from workbench.ui.widgets.candidate import CandidatePane
from workbench.ui.widgets.code_view import CodeView
from workbench.ui.widgets.population import Population
from workbench.ui.widgets.source import SourcePane
from workbench.ui.widgets.tab_line import TabLine

PANES: dict[str, str] = {"source": "1 PyTorch", "candidate": "2 Candidate", "verdict": "3 Verdict"}


class BenchKeys(Screen[None]):
    """Bindings and actions; `BenchScreen` has the widgets that they move."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "a", "accept", "Accept", tooltip="Accept it: your word, beside the judge's. u takes it back."
        ),
        Binding("A", "accept_why", "Accept, with a reason", tooltip="Accept it and say why."),
        Binding("x", "reject", "Reject", tooltip="Reject it and say why."),
        Binding("s", "shelve", "Shelve", tooltip="Put it aside without a judgement."),
        Binding("u", "unmark", "Undo the mark", tooltip="Take back your accept, reject or shelve."),
        Binding(
            "e",
            "edit(False)",
            "Edit",
            tooltip="Edit a copy in $VISUAL or $EDITOR; what changed is its child.",
        ),
        Binding("E", "edit(True)", "Edit here", tooltip="Edit a copy on this screen."),
        Binding("v", "verify", "Verify again", tooltip="Have it judged again, with new random inputs."),
        Binding("t", "tune", "Tune", tooltip="Try the values of its knobs; each is a child."),
        Binding("c", "cancel", "Cancel", tooltip="Stop judging it, or take it out of the queue."),
        Binding(
            "o",
            "open_file",
            "Open a file",
            tooltip="Add a .cu file as a candidate; saving it later adds a child.",
        ),
        Binding("n", "step(1)", "Next", tooltip="Go to the next candidate."),
        Binding("p", "step(-1)", "Previous", tooltip="Go to the previous candidate."),
        Binding("g", "parent", "Go to the parent", tooltip="Go to the candidate that it came from."),
        Binding("d", "diff", "Diff", tooltip="Show what it changed of its parent's code, and back."),
        Binding("D", "diff_style", "Diff style", tooltip="Draw the difference unified or inline."),
        Binding("m", "source_tab", "Module or functional", tooltip="Switch the task's form."),
        Binding(
            "slash", "filter", "Filter", key_display="/", tooltip="Show only candidates with these words."
        ),
        Binding("1", "pane('source')", "PyTorch", tooltip="Go to the task's source."),
        Binding("2", "pane('candidate')", "Candidate", tooltip="Go to the candidate's code."),
        Binding("3", "pane('verdict')", "Verdict", tooltip="Go to the verdict."),
        Binding("4", "pane('population')", "Population", tooltip="Go to the population."),
        Binding("z", "zoom", "Zoom", tooltip="Give the pane in focus the whole screen, and back."),
        Binding("r", "restart", "Restart the engine", tooltip="Start the engine again after it stopped."),
        Binding("escape", "dismiss_all", "Dismiss", tooltip="Dismiss messages, the filter and the zoom."),
        Binding("question_mark", "help", "Help", key_display="?", tooltip="All keys."),
        Binding(
            "q,ctrl+q",
            "quit_bench",
            "Quit",
            key_display="q",
            tooltip="Leave; reopening shows the same population.",
        ),
    ]

    view: View
    _touched = False
    """A person chose a candidate; from then on the cursor is theirs."""

    @property
    def chosen(self) -> CandidateView | None:
        """The candidate under the cursor, as it is now."""
        candidate = self.query_one(Population).chosen
        return self.view.candidates.get(candidate) if candidate is not None else None

    def parent_of(self, chosen: CandidateView) -> CandidateId | None:
        """The first parent that is in the population."""
        return next((p for p in chosen.parents if p in self.view.candidates), None)

    def show_chosen(self) -> None:
        """Draw the chosen candidate's panes."""
        raise NotImplementedError

    def _with_chosen(self) -> CandidateView | None:
        self._touched = True
        chosen = self.chosen
        if chosen is None:
            self.post_message(
                intents.Tell("There is no candidate yet; o opens a .cu file as one.", "warning")
            )
        return chosen

    def _ask(self, request: ToEngine) -> None:
        self.post_message(intents.Ask(request))

    def _mark(self, mark: Mark | None, reason: str = "", *, of: CandidateView | None = None) -> None:
        chosen = of or self.chosen
        if chosen is not None:
            self._ask(MarkCandidate(candidate=chosen.id, mark=mark, reason=reason))

    def action_accept(self) -> None:
        """Accept the chosen candidate; one that has not passed, only after a question."""
        chosen = self._with_chosen()
        if chosen is None or chosen.state == "passed":
            self._mark("accepted", of=chosen)
            return

        def answered(key: str | None) -> None:
            if key == "y":
                self._mark("accepted", of=chosen)

        said = f"{chosen.id} has not passed: it is {chosen.state}. Accept it all the same?"
        self.app.push_screen(Question("Accept", said, {"y": "accepts it"}), answered)

    def action_accept_why(self) -> None:
        """Accept it with a reason."""
        self._mark_with_reason("accepted", "Accept", "what makes it good (may stay empty)")

    def action_reject(self) -> None:
        """Reject it with a reason."""
        self._mark_with_reason("rejected", "Reject", "what is wrong with it (may stay empty)")

    def _mark_with_reason(self, mark: Mark, title: str, placeholder: str) -> None:
        chosen = self._with_chosen()
        if chosen is None:
            return

        def answered(reason: str | None) -> None:
            if reason is not None:
                self._mark(mark, reason, of=chosen)

        about = f"enter {title.lower()}s it, esc goes back; the reason is kept in the session"
        dialog = LineDialog(
            f"{title} {chosen.id} {one_line(chosen.name)}", "Why?", placeholder=placeholder, about=about
        )
        self.app.push_screen(dialog, answered)

    def action_shelve(self) -> None:
        """Put it aside."""
        if self._with_chosen() is not None:
            self._mark("shelved")

    def action_unmark(self) -> None:
        """Take the mark back."""
        chosen = self._with_chosen()
        if chosen is not None and chosen.mark is None:
            self.post_message(intents.Tell(f"{chosen.id} has no mark to take back.", "warning"))
        elif chosen is not None:
            self._mark(None, of=chosen)

    def action_verify(self) -> None:
        """Judge it again."""
        if (chosen := self._with_chosen()) is not None:
            self._ask(VerifyAgain(candidate=chosen.id))

    def action_tune(self) -> None:
        """Sweep its knobs."""
        if (chosen := self._with_chosen()) is not None:
            self._ask(TuneCandidate(candidate=chosen.id))

    def action_cancel(self) -> None:
        """Stop or dequeue it."""
        if (chosen := self._with_chosen()) is not None:
            self._ask(CancelCandidate(candidate=chosen.id))

    def action_edit(self, inline: bool) -> None:
        """Edit a copy."""
        if (chosen := self._with_chosen()) is not None:
            self.post_message(intents.Edit(chosen.id, inline))

    def action_open_file(self) -> None:
        """Ask for a file."""

        def answered(path: str | None) -> None:
            if path:
                self.post_message(intents.OpenFile(path))

        self.app.push_screen(
            LineDialog(
                "Open a file as a candidate",
                "A .cu file with its plan. It stays where it is; each save adds a child.",
                placeholder="path/to/kernel.cu",
                about="→ completes, enter opens, esc goes back",
                suggester=CandidateFiles(),
            ),
            answered,
        )

    def action_step(self, count: int) -> None:
        """Go to another candidate."""
        self.query_one(Population).step(count)

    def action_parent(self) -> None:
        """Go to the parent."""
        chosen = self._with_chosen()
        parent = self.parent_of(chosen) if chosen is not None else None
        if parent is not None:
            self.query_one(Population).choose(parent, by_person=True)
        elif chosen is not None:
            self.post_message(intents.Tell(f"{chosen.id} has no parent: it is a founder.", "information"))

    def action_diff(self) -> None:
        """Code or difference."""
        self._diff(self.query_one(CandidatePane).toggle_diff)

    def action_diff_style(self) -> None:
        """Unified or inline."""
        self._diff(self.query_one(CandidatePane).toggle_style)

    def _diff(self, change: Callable[[], None]) -> None:
        chosen = self._with_chosen()
        if chosen is None:
            return
        if self.parent_of(chosen) is None and self.query_one(CandidatePane).mode == "code":
            self.post_message(intents.Tell(f"{chosen.id} has no parent to compare with.", "information"))
            return
        change()
        self._reveal_pane("candidate")
        self.show_chosen()

    def action_source_tab(self) -> None:
        """Module or functional."""
        self._reveal_pane("source")
        self.query_one(SourcePane).switch()

    def action_pane(self, name: str) -> None:
        """Focus a pane; on a small screen, show it."""
        self._reveal_pane(name)
        pane = self.query_one(f"#{name}")
        if self.maximized is not None:
            self.maximized = pane  # the zoom goes along
        inner = pane.query(CodeView)
        target = inner.first() if inner else pane
        if target.focusable:
            self.set_focus(target)
        else:  # it is shown by the next layout only
            self.call_after_refresh(target.focus)

    def _reveal_pane(self, name: str) -> None:
        if name not in PANES:
            return
        for other in PANES:
            self.set_class(other == name, f"show-{other}")
        self.query_one("#pane-tabs", TabLine).active = name

    def action_zoom(self) -> None:
        """Give the focused pane the screen."""
        if self.maximized is not None:
            self.minimize()
        elif self.focused is not None:
            self.maximize(self.focused)

    def action_filter(self) -> None:
        """Write words to filter by."""
        line = self.query_one("#filter", Input)
        line.display = True
        line.focus()

    @on(Input.Changed, "#filter")
    def _filter_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.query_one(Population).filter_by(event.value)

    @on(Input.Submitted, "#filter")
    def _filter_done(self, event: Input.Submitted) -> None:
        event.stop()
        self.query_one("#filter", Input).display = bool(event.value)
        self.query_one(Population).focus()

    def action_dismiss_all(self) -> None:
        """Messages first, then the filter, then the zoom."""
        line = self.query_one("#filter", Input)
        if self.app.messages_shown:  # type: ignore[attr-defined] # WorkbenchApp's
            self.app.clear_notifications()
        elif line.display:
            line.value = ""
            line.display = False
            self.query_one(Population).focus()
        elif self.maximized is not None:
            self.minimize()
        else:
            self.query_one(Population).focus()

    def action_restart(self) -> None:
        """Start the engine again."""
        if self.view.link == "lost":
            self.post_message(intents.Restart())
        elif self.view.link == "connecting":
            self.post_message(intents.Tell("The engine is still starting.", "information"))
        else:
            self.post_message(
                intents.Tell("The engine is running; v verifies a candidate again.", "information")
            )

    def action_help(self) -> None:
        """All keys."""
        from workbench.ui.screens.help import HelpScreen

        self.app.push_screen(HelpScreen(self))

    def action_quit_bench(self) -> None:
        """Leave; asks once while work is under way."""
        waiting = self.view.counts.get("queued", 0)
        judging = self.view.progress.judging
        if self.view.link != "live" or not (judging or waiting):
            self.post_message(intents.Leave())
            return
        names = " and ".join(one.candidate for one in judging)
        doing = (
            f"{names} {'is' if len(judging) == 1 else 'are'} being judged" if judging else "The judge is busy"
        )
        doing += f" and {waiting} wait." if waiting else "."

        def answered(key: str | None) -> None:
            if key in ("q", "s"):
                self.post_message(intents.Leave(stop_engine=key == "s"))

        keys = {"q": "quits, the judge goes on", "s": "stops it and quits"}
        self.app.push_screen(Question("Quit", f"{doing} Nothing is lost either way.", keys), answered)
