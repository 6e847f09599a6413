"""The bench: PyTorch source, candidate, verdict; below them the population; at the foot the keys.

It shows a `View` and posts what a person asks for (`ui.intents`); it knows neither socket nor process.
"""

from __future__ import annotations

from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.content import Content
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Input, Static

from workbench.core.candidate import CandidateId, CandidateView, Mark
from workbench.core.errors import SessionError
from workbench.core.messages import (
    CancelCandidate,
    MarkCandidate,
    ToEngine,
    TuneCandidate,
    VerifyAgain,
)
from workbench.core.verdict import Verdict
from workbench.ui import intents, words
from workbench.ui.code_rows import blamed_lines
from workbench.ui.documents import Documents
from workbench.ui.highlight import Language, colour
from workbench.ui.hints import hint
from workbench.ui.screens.dialogs import CandidateFiles, LineDialog, Question
from workbench.ui.text import one_line
from workbench.ui.view import View
from workbench.ui.widgets.candidate import CandidatePane
from workbench.ui.widgets.code_view import CodeView
from workbench.ui.widgets.header import TaskHeader
from workbench.ui.widgets.keybar import HintLine, KeyBar
from workbench.ui.widgets.population import Population
from workbench.ui.widgets.source import SourcePane
from workbench.ui.widgets.tab_line import TabLine
from workbench.ui.widgets.verdict import VerdictPane

SPIN_S = 0.1
AGE_S = 5.0
"""How often ages are drawn anew while nothing else changes, seconds."""
PANES: dict[str, str] = {"source": "1 PyTorch", "candidate": "2 Candidate", "verdict": "3 Verdict"}


class BenchScreen(Screen[None]):
    """The product's face."""

    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (60, "-compact"), (120, "-wide")]  # noqa: RUF012
    ALLOW_IN_MAXIMIZED_VIEW = "#header, #banner, #hint, #keys"
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (16, "-short"), (34, "-tall")]  # noqa: RUF012
    DEFAULT_CSS = """
    BenchScreen {
        layout: vertical;
        background: $background;
        overflow: hidden;
        & #banner { display: none; height: auto; max-height: 4; padding: 0 1; background: $error 30%; color: $text-error; }
        & #panes { height: 1fr; }
        & .pane { border: round $foreground 20%; border-title-color: $foreground 70%;
                  border-subtitle-color: $foreground 45%; background: $surface; }
        & .pane:focus, & .pane:focus-within { border: round $primary; border-title-color: $text-primary; }
        & #source { width: 5fr; }
        & #candidate { width: 7fr; }
        & #verdict { width: 6fr; }
        & #pane-tabs { display: none; background: $background; }
        & #population { height: 32%; min-height: 8; }
        & #filter { display: none; height: 1; border: none; padding: 0 1; background: $panel; }
        & #too-small { display: none; height: 1fr; align: center middle; content-align: center middle;
                       text-align: center; padding: 0 2; }
        &.-short #population { height: 8; }
        &.-compact {
            & #pane-tabs { display: block; }
            & #panes > .pane { display: none; width: 1fr; border: none; }
            & #population { border: none; border-top: solid $foreground 20%; }
            & #headline { padding: 0 1; }
            & #verdict-body { padding: 0 1; }
        }
        &.-compact.show-source #source, &.-compact.show-candidate #candidate, &.-compact.show-verdict #verdict {
            display: block;
        }
        &.-maximized-view { align: left top; hatch: none; }
        & .pane.-maximized { width: 100% !important; height: 1fr !important; }
        &.-tiny, &.-flat {
            & > * { display: none; }
            & > #too-small { display: block; }
        }
    }
    """
    BINDINGS: ClassVar[list[Binding]] = [  # type: ignore[assignment]
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

    def __init__(self, view: View, documents: Documents) -> None:
        super().__init__()
        self.view = view
        self._documents = documents
        self._touched = False
        """A person chose a candidate; from then on the cursor is theirs."""
        self._composed = False
        self._news: frozenset[CandidateId] = frozenset()
        """Candidates that changed before there was a widget to draw them."""
        self._colouring: set[tuple[Language, str]] = set()
        self._frame = 0
        self._spinner: Timer | None = None
        self._detail_of: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        """Top to bottom."""
        yield TaskHeader(self.view)
        yield Static("", id="banner", markup=False)
        yield TabLine(PANES, active="verdict", id="pane-tabs")
        with Horizontal(id="panes"):
            yield SourcePane()
            yield CandidatePane()
            yield VerdictPane()
        population = Population()
        population.border_title = Content("4 Population")
        yield population
        yield Input(placeholder="words to filter by: passed tune c0003 …", id="filter", compact=True)
        yield HintLine()
        yield KeyBar()
        yield Static(
            "workbench needs at least 60 columns and 16 lines.\n\nMake this terminal larger, or its letters smaller."
            "\nThe engine goes on meanwhile; q quits.",
            id="too-small",
            markup=False,
        )

    def on_mount(self) -> None:
        """The population has the keys; timers run only while something moves."""
        self._composed = True
        self.add_class("show-verdict")
        self._spinner = self.set_interval(SPIN_S, self._spin)
        self.set_interval(AGE_S, self.query_one(Population).refresh)
        self.query_one(Population).focus()
        self.show(self.view)

    # --- showing

    def show(self, view: View) -> None:
        """Draw another moment, all widgets in one batch."""
        self.view = view
        if not self._composed:
            # An engine that runs already answers before the widgets are there; nothing of its news is lost by waiting.
            self._news |= view.changed
            return
        population = self.query_one(Population)
        with self.app.batch_update():
            self.query_one(TaskHeader).show(view)
            self.query_one(SourcePane).show(view)
            population.show(view.candidates, view.changed | self._news, view.target)
            self._news = frozenset()
            self._choose_for(population)
            self._show_banner()
            self._show_chosen()
        if self._spinner is not None:
            (self._spinner.resume if view.busy else self._spinner.pause)()

    @property
    def chosen(self) -> CandidateView | None:
        """The candidate under the cursor, as it is now."""
        candidate = self.query_one(Population).chosen
        return self.view.candidates.get(candidate) if candidate is not None else None

    def choose(self, candidate: CandidateId) -> None:
        """Put the cursor on a candidate that the person made."""
        self._touched = True
        self.query_one(Population).choose(candidate, by_person=True)

    def _choose_for(self, population: Population) -> None:
        # Until a person chooses, the first candidate that gets a verdict is shown, and then kept: a cursor that moved
        # by itself under somebody's finger would accept another candidate than the one they read.
        if self._touched or not self.view.candidates:
            return
        chosen = self.chosen
        if chosen is not None and chosen.verdict is not None:
            return
        judging = self.view.progress.judging
        judged = next((c for c in population.shown if self.view.candidates[c].verdict is not None), None)
        wanted = judged or (judging if judging in self.view.candidates else None) or population.shown[0]
        if wanted != population.chosen:
            population.choose(wanted)

    def _show_banner(self) -> None:
        banner = self.query_one("#banner", Static)
        view = self.view
        if view.link == "lost":
            reason = one_line(view.link_reason).rstrip(".")
            text = f"The engine has stopped: {reason}. Nothing that was shown is lost; r starts it again."
        elif view.task_error:
            text = f"The task cannot be loaded: {one_line(view.task_error)}"
            text += " The last good revision stays shown." if view.task else ""
        elif view.judge_trouble:
            text = one_line(view.judge_trouble)
        else:
            text = ""
        banner.display = bool(text)
        banner.update(Content(text))

    def _show_chosen(self) -> None:
        chosen = self.chosen
        self.query_one(HintLine).show(hint(self.view, chosen))
        candidate_pane, verdict_pane = self.query_one(CandidatePane), self.query_one(VerdictPane)
        if chosen is None:
            candidate_pane.show_nothing(
                "No candidate yet." if not self.view.candidates else "Choose a candidate below."
            )
            verdict_pane.show(None, None, self.view.progress)
            self._name_tabs(None)
            return
        verdict = self._documents.verdict_at_hand(chosen.id, chosen.verdict)
        verdict_pane.show(chosen, verdict, self.view.progress)
        self._name_tabs(chosen)
        source = self._documents.source_at_hand(chosen.id)
        parent = self._parent_of(chosen)
        if source is not None and (parent is None or parent[1] is not None or candidate_pane.mode == "code"):
            against = (parent[0], _text(parent[1])) if parent and parent[1] is not None else None
            candidate_pane.show(chosen, _text(source), against, _blamed(verdict))
        key = (chosen.id, chosen.verdict, candidate_pane.mode)
        missing = source is None or (chosen.verdict is not None and verdict is None)
        missing = missing or (candidate_pane.mode != "code" and parent is not None and parent[1] is None)
        if missing and key != self._detail_of and self.view.link == "live":
            self._detail_of = key
            self._read_detail(chosen, with_parent=candidate_pane.mode != "code")

    def _parent_of(self, chosen: CandidateView) -> tuple[CandidateId, bytes | None] | None:
        parent = next((p for p in chosen.parents if p in self.view.candidates), None)
        return (parent, self._documents.source_at_hand(parent)) if parent is not None else None

    @work(exclusive=True, group="detail")
    async def _read_detail(self, chosen: CandidateView, *, with_parent: bool) -> None:
        try:
            await self._documents.source(chosen.id)
            if chosen.verdict is not None and chosen.state != "judging":
                await self._documents.verdict(chosen.id, chosen.verdict)
            parent = self._parent_of(chosen)
            if with_parent and parent is not None:
                await self._documents.source(parent[0])
        except SessionError as error:
            if self.view.link == "live":
                self.post_message(intents.Tell(str(error), "error"))
            return
        self._show_chosen()

    @on(CodeView.ColoursWanted)
    def _colour(self, event: CodeView.ColoursWanted) -> None:
        event.stop()
        wanted = (event.language, event.source)
        if wanted not in self._colouring:
            self._colouring.add(wanted)
            self.run_worker(
                lambda: self._colour_beside(*wanted), thread=True, group="colours", exit_on_error=False
            )

    def _colour_beside(self, language: Language, source: str) -> None:
        colour(language, source)
        self.app.call_from_thread(self._recolour, (language, source))

    def _recolour(self, wanted: tuple[Language, str]) -> None:
        self._colouring.discard(wanted)
        self.query_one(SourcePane).recolour()
        self.query_one(CandidatePane).recolour()
        self._show_chosen()

    def _name_tabs(self, chosen: CandidateView | None) -> None:
        tabs = self.query_one("#pane-tabs", TabLine)
        named = dict(PANES)
        if chosen is not None:
            named["candidate"] = f"2 {chosen.id} {one_line(chosen.name)}"[:34]
            named["verdict"] = f"3 {words.STATES[chosen.state][0]} Verdict"
        tabs.rename(named)

    def _spin(self) -> None:
        self._frame += 1
        self.query_one(TaskHeader).spin(self._frame)
        population = self.query_one(Population)
        population.spin(self._frame)
        self.query_one(VerdictPane).spin(population.spinner)

    # --- what a person does

    @on(Population.Chosen)
    def _person_chose(self, event: Population.Chosen) -> None:
        event.stop()
        self._touched = self._touched or event.by_person
        self._show_chosen()

    @on(TabLine.Chosen, "#pane-tabs")
    def _pane_clicked(self, event: TabLine.Chosen) -> None:
        event.stop()
        self.action_pane(event.name)

    @on(TabLine.Chosen, "#source-tabs")
    def _source_clicked(self, event: TabLine.Chosen) -> None:
        event.stop()
        self.query_one(SourcePane).switch(event.name)

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
        parent = self._parent_of(chosen) if chosen is not None else None
        if parent is not None:
            self.query_one(Population).choose(parent[0], by_person=True)
        elif chosen is not None:
            self.post_message(intents.Tell(f"{chosen.id} has no parent: it is a founder.", "information"))

    def action_diff(self) -> None:
        """Code or difference."""
        self._diff(self.query_one(CandidatePane).toggle_diff)

    def action_diff_style(self) -> None:
        """Unified or inline."""
        self._diff(self.query_one(CandidatePane).toggle_style)

    def _diff(self, change: object) -> None:
        chosen = self._with_chosen()
        if chosen is None or not callable(change):
            return
        if self._parent_of(chosen) is None and self.query_one(CandidatePane).mode == "code":
            self.post_message(intents.Tell(f"{chosen.id} has no parent to compare with.", "information"))
            return
        change()
        self._reveal_pane("candidate")
        self._show_chosen()

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
        if self.app.messages_shown:  # type: ignore[attr-defined]
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
        if self.view.link != "live" or (judging is None and not waiting):
            self.post_message(intents.Leave())
            return
        doing = f"{judging} is being judged" if judging else "The judge is busy"
        doing += f" and {waiting} wait." if waiting else "."

        def answered(key: str | None) -> None:
            if key in ("q", "s"):
                self.post_message(intents.Leave(stop_engine=key == "s"))

        keys = {"q": "quits, the judge goes on", "s": "stops it and quits"}
        self.app.push_screen(Question("Quit", f"{doing} Nothing is lost either way.", keys), answered)


def _text(source: bytes) -> str:
    return source.decode("utf-8", "replace")


def _blamed(verdict: Verdict | None) -> frozenset[int]:
    if verdict is None or verdict.failed_gate is None:
        return frozenset()
    failed = [g for g in verdict.gates if g.name == verdict.failed_gate]
    return blamed_lines(failed[0].evidence) if failed else frozenset()
