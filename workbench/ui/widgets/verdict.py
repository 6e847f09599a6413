"""What the judge says of the chosen candidate: the first line, the gates as they pass, the cause of a failure."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from workbench.core.candidate import CandidateView
from workbench.core.messages import EngineProgress
from workbench.core.verdict import Verdict
from workbench.ui import verdict_text as vt
from workbench.ui import words
from workbench.ui.text import one_line


class VerdictPane(VerticalScroll, can_focus=True):
    """The verdict of one candidate; live while it is judged."""

    DEFAULT_CSS = """
    VerdictPane {
        background: $surface;
        color: $foreground;
        scrollbar-size: 1 1;
        scrollbar-gutter: stable;
        & #headline { padding: 1 2; text-style: bold; background: $panel; color: $foreground; }
        & #headline.pass { background: $success 18%; color: $text-success; }
        & #headline.fail { background: $error 18%; color: $text-error; }
        & #headline.error { background: $warning 18%; color: $text-warning; }
        & #headline.live { background: $accent 12%; color: $text-accent; }
        & #mark { padding: 0 2; height: auto; display: none; }
        & #verdict-body { padding: 1 1 0 1; height: auto; }
    }
    """
    ALLOW_MAXIMIZE = True
    CLASSES: ClassVar[tuple[str, ...]] = ("pass", "fail", "error", "live")

    def __init__(self) -> None:
        super().__init__(id="verdict", classes="pane")
        self.border_title = Content("3 Verdict")
        self._chosen: CandidateView | None = None
        self._verdict: Verdict | None = None
        self._progress = EngineProgress()
        self._spinner = words.SPINNER[0]
        self._drawn: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        """The first line on a ground of its colour, a person's mark, and the rest."""
        yield Static("", id="headline", markup=False)
        yield Static("", id="mark", markup=False)
        yield Static("", id="verdict-body", markup=False)

    @property
    def live(self) -> bool:
        """The chosen candidate is being judged now."""
        return self._chosen is not None and self._chosen.state == "judging"

    def show(self, chosen: CandidateView | None, verdict: Verdict | None, progress: EngineProgress) -> None:
        """Draw `chosen`; `verdict` is None until it is there."""
        before = self._chosen.id if self._chosen else None
        self._chosen, self._verdict, self._progress = chosen, verdict, progress
        self._draw()
        if chosen is not None and chosen.id != before:
            self.scroll_home(animate=False)

    def spin(self, spinner: str) -> None:
        """Turn the spinner of the gate that runs."""
        self._spinner = spinner
        if self.live:
            self._draw()

    def on_resize(self) -> None:
        """Lines are cut to the pane's width."""
        self._drawn = ()
        self._draw()

    def _draw(self) -> None:
        key = (
            self._chosen,
            self._verdict,
            self._progress if self.live else None,
            self._spinner if self.live else "",
        )
        if key == self._drawn:
            return
        self._drawn = key
        headline, body = self.query_one("#headline", Static), self.query_one("#verdict-body", Static)
        kind, line = self._headline()
        for name in self.CLASSES:
            headline.set_class(name == kind, name)
        headline.update(line)
        body.update(Content.assemble(*map(vt.safe, self._body())))
        self._draw_mark()

    def _draw_mark(self) -> None:
        mark = self.query_one("#mark", Static)
        chosen = self._chosen
        mark.display = chosen is not None and chosen.mark is not None
        if chosen is not None and chosen.mark is not None:
            symbol, word = words.MARKS[chosen.mark]
            by = f" by {one_line(chosen.mark_author)}" if chosen.mark_author else ""
            why = f": {one_line(chosen.mark_reason)}" if chosen.mark_reason else ""
            mark.update(Content.styled(f"{symbol} {word}{by}{why}", words.MARK_STYLES[chosen.mark]))

    def _headline(self) -> tuple[str, Content]:
        chosen = self._chosen
        if chosen is None:
            return "", Content.styled("No candidate is chosen", "$foreground 60%")
        if chosen.state == "judging":
            live = self._progress.of(chosen.id)
            now = one_line(f"judging {chosen.id}: {(live.gate if live else None) or 'starting'}")
            return "live", Content(f"{self._spinner} {now}")
        summary = chosen.verdict
        if summary is None or chosen.state in ("queued", "cancelled", "duplicate"):
            symbol, word = words.STATES[chosen.state]
            why = f": {one_line(chosen.state_reason)}" if chosen.state_reason else ""
            return "", Content(f"{symbol} {word}{why}")
        badge, kind = words.OUTCOMES[summary.outcome]
        _, _, rest = summary.first_line.partition(" ")
        line = Content.assemble((f"{badge} ", "bold"), one_line(rest))
        if chosen.state == "stale":
            return "", Content.assemble(
                ("~ STALE ", "bold $text-warning"), line, f"\n{one_line(chosen.state_reason)}"
            )
        return kind, line

    def _body(self) -> list[vt.Part]:
        chosen, verdict = self._chosen, self._verdict
        # Of this pane rather than of the text in it, which is laid out later; less the text's padding.
        width = max(20, self.scrollable_content_region.width - 2)
        if chosen is None:
            return [("Choose one below with n and p, the arrows or the mouse.", "$foreground 60%")]
        if chosen.state == "judging":
            mine = self._progress.of(chosen.id)
            gates, gate = (mine.gates, mine.gate) if mine else ((), None)
            return vt.gate_lines(gates, gate, self._spinner, width, live=True)
        if verdict is None:
            return [
                (
                    "Its verdict is being read…" if chosen.verdict else "The judge has not seen it yet.",
                    "$foreground 60%",
                )
            ]
        parts = vt.gate_lines(verdict.gates, None, "", width, live=False)
        failed = next(
            (g for g in verdict.gates if g.status == "fail" and g.name == verdict.failed_gate), None
        )
        if failed is not None:
            parts += vt.cause(failed)
        elif verdict.outcome == "error":
            parts += [
                *vt.heading("Why it could not be judged"),
                (one_line(verdict.reason), "$text-warning"),
                "\n",
            ]
        parts += vt.warnings(verdict.gates)
        parts += vt.timings(verdict.timing)
        sass = f"profiles/{chosen.id}.sass" if chosen.sass_sha256 else ""
        parts += vt.kernels(verdict.resources.kernels, verdict.resources.arch, sass)
        parts += vt.estimate(verdict.estimate)
        parts += vt.unchecked(verdict.unchecked)
        return [*parts, *vt.footnote(verdict)]
