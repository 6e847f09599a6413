"""The bench: PyTorch source, candidate, verdict; below them the population; at the foot the keys.

It shows a `View`; what its keys do stands in `bench_keys`. It knows neither socket nor process.
"""

from __future__ import annotations

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Input, Static

from workbench.core.candidate import CandidateId, CandidateView
from workbench.core.errors import SessionError
from workbench.core.verdict import Verdict
from workbench.ui import intents, words
from workbench.ui.code_rows import blamed_lines
from workbench.ui.documents import Documents
from workbench.ui.highlight import Language, colour
from workbench.ui.hints import hint
from workbench.ui.screens.bench_keys import PANES, BenchKeys
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

TOO_SMALL = (
    "workbench needs at least 60 columns and 16 lines.\n\nMake this terminal larger, or its letters smaller."
)


class BenchScreen(BenchKeys):
    """The product's face."""

    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (60, "-compact"), (120, "-wide")]  # noqa: RUF012 (Textual has no ClassVar)
    ALLOW_IN_MAXIMIZED_VIEW = "#header, #banner, #hint, #keys"
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (16, "-short"), (34, "-tall")]  # noqa: RUF012 (as above)
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

    def __init__(self, view: View, documents: Documents) -> None:
        super().__init__()
        self.view = view
        self._documents = documents
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
        yield Static(f"{TOO_SMALL}\nThe engine goes on meanwhile; q quits.", id="too-small", markup=False)

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
            self.show_chosen()
        if self._spinner is not None:
            (self._spinner.resume if view.busy else self._spinner.pause)()

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
        judging = next((c.candidate for c in self.view.progress.judging), None)
        judged = next((c for c in population.shown if self.view.candidates[c].verdict is not None), None)
        wanted = judged or (judging if judging in self.view.candidates else None) or population.shown[0]
        if wanted != population.chosen:
            population.choose(wanted)

    def _show_banner(self) -> None:
        banner = self.query_one("#banner", Static)
        view = self.view
        if view.link == "lost":
            reason = one_line(view.link_reason).rstrip(".")
            if view.session:
                text = f"The engine has stopped: {reason}. Nothing that was shown is lost; r starts it again."
            else:
                text = f"No session could be opened: {reason}. r tries again, q quits."
        elif view.task_error:
            text = f"The task cannot be loaded: {one_line(view.task_error)}"
            text += " The last good revision stays shown." if view.task else ""
        elif view.judge_trouble:
            text = one_line(view.judge_trouble)
        elif view.held_up:
            text = one_line(view.held_up)
        else:
            text = ""
        banner.display = bool(text)
        banner.update(Content(text))
        more = f"\n{text}" if text else "The engine goes on meanwhile; q quits."
        self.query_one("#too-small", Static).update(Content(f"{TOO_SMALL}\n{more}"))

    def show_chosen(self) -> None:
        """Draw the chosen candidate's panes with what is at hand; read what is not."""
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
        parent = self._parent_source(chosen)
        if source is not None and (parent is None or parent[1] is not None or candidate_pane.mode == "code"):
            against = (parent[0], _text(parent[1])) if parent and parent[1] is not None else None
            candidate_pane.show(chosen, _text(source), against, _blamed(verdict))
        # A verdict is read only once it is reached: that the judge is done with it asks for another read.
        key = (chosen.id, chosen.verdict, candidate_pane.mode, chosen.state == "judging")
        missing = source is None or (chosen.verdict is not None and verdict is None)
        missing = missing or (candidate_pane.mode != "code" and parent is not None and parent[1] is None)
        if missing and key != self._detail_of and self.view.link == "live":
            self._detail_of = key
            self._read_detail(chosen, with_parent=candidate_pane.mode != "code")

    def _parent_source(self, chosen: CandidateView) -> tuple[CandidateId, bytes | None] | None:
        parent = self.parent_of(chosen)
        return (parent, self._documents.source_at_hand(parent)) if parent is not None else None

    @work(exclusive=True, group="detail")
    async def _read_detail(self, chosen: CandidateView, *, with_parent: bool) -> None:
        try:
            await self._documents.source(chosen.id)
            if chosen.verdict is not None and chosen.state != "judging":
                await self._documents.verdict(chosen.id, chosen.verdict)
            parent = self._parent_source(chosen)
            if with_parent and parent is not None:
                await self._documents.source(parent[0])
        except SessionError as error:
            link = self._documents.link
            if link is None or link.closed is not None:
                self._detail_of = ()  # asked of the next engine again
            else:
                self.post_message(intents.Tell(str(error), "error"))
            return
        self.show_chosen()

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
        self.show_chosen()

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
        self.show_chosen()

    @on(TabLine.Chosen, "#pane-tabs")
    def _pane_clicked(self, event: TabLine.Chosen) -> None:
        event.stop()
        self.action_pane(event.name)

    @on(TabLine.Chosen, "#source-tabs")
    def _source_clicked(self, event: TabLine.Chosen) -> None:
        event.stop()
        self.query_one(SourcePane).switch(event.name)


def _text(source: bytes) -> str:
    return source.decode("utf-8", "replace")


def _blamed(verdict: Verdict | None) -> frozenset[int]:
    if verdict is None or verdict.failed_gate is None:
        return frozenset()
    failed = [g for g in verdict.gates if g.name == verdict.failed_gate]
    return blamed_lines(failed[0].evidence) if failed else frozenset()
