"""The top line: which task, where it is judged, how many candidates there are, and what the judge does now."""

from __future__ import annotations

from textual.content import Content
from textual.widget import Widget

from workbench.core.messages import EngineProgress
from workbench.ui.text import one_line
from workbench.ui.view import View
from workbench.ui.words import SPINNER

_JUDGE_WORDS = {
    "starting": "the judge starts",
    "loading": "the judge loads the task",
    "ready": "judge ready",
    "restarting": "the judge is started again",
    "stopped": "the judge has stopped",
}


class TaskHeader(Widget):
    """One line over the whole width. `show` and `spin` change it."""

    DEFAULT_CSS = """
    TaskHeader { height: 1; background: $panel; color: $foreground; padding: 0 1; text-wrap: nowrap; }
    """

    def __init__(self, view: View) -> None:
        super().__init__(id="header")
        self._view = view
        self._frame = 0

    def show(self, view: View) -> None:
        """Draw another moment."""
        self._view = view
        self.refresh()

    def spin(self, frame: int) -> None:
        """Turn the spinner."""
        self._frame = frame
        self.refresh()

    def render(self) -> Content:
        """Left: the task; right: the judge. The middle gives way first."""
        width = self.size.width - 2
        right = self._activity()
        for left in (self._left(full=True), self._left(full=False), self._task_words()):
            gap = width - left.cell_length - right.cell_length
            if gap >= 2:
                return Content.assemble(left, " " * gap, right)
        left = self._task_words().truncate(max(8, width // 3), ellipsis=True)
        right = right.truncate(max(0, width - left.cell_length - 2), ellipsis=True)
        return Content.assemble(left, " " * max(1, width - left.cell_length - right.cell_length), right)

    def _task_words(self) -> Content:
        return Content.styled(one_line(self._view.task_name), "bold $text-primary")

    def _left(self, *, full: bool) -> Content:
        view = self._view
        parts: list[Content | str | tuple[str, str]] = [self._task_words()]
        where = one_line(f"{view.target} {view.arch}")
        if full:
            if where:
                parts += ["  ", (where, "$foreground 60%")]
            if view.revision:
                parts += ["  ", (f"revision {view.revision}", "$foreground 60%")]
        counts = view.counts
        waiting = counts.get("queued", 0) + counts.get("waiting", 0)
        for symbol, count, word, style in (
            ("✓", counts.get("passed", 0), "passed", "$text-success"),
            ("✗", counts.get("failed", 0), "failed", "$text-error"),
            ("!", counts.get("could not judge", 0), "not judged", "$text-warning"),
            ("~", counts.get("stale", 0), "stale", "$text-warning 70%"),
            ("·", waiting, "queued", "$foreground 60%"),
            ("★", sum(c.mark == "accepted" for c in view.candidates.values()), "accepted", "$mark-accepted"),
        ):
            if count or word in ("passed", "failed"):
                parts += [
                    "  ",
                    (
                        f"{symbol} {count}" + (f" {word}" if full else ""),
                        style if count else "$foreground 38%",
                    ),
                ]
        return Content.assemble(*parts)

    def _activity(self) -> Content:
        view = self._view
        if view.link == "lost":
            return Content.styled("! the engine has stopped", "bold $text-error")
        if view.link == "connecting":
            return Content.styled(f"{self._spinner()} the engine starts", "$text-accent")
        progress = view.progress
        if view.judge_trouble:
            return Content.styled(f"! {_JUDGE_WORDS[progress.judge]}", "bold $text-warning")
        if view.held_up:
            return Content.styled(
                f"! {one_line(progress.judging[0].candidate)} waits to be kept", "bold $text-warning"
            )
        if progress.judging:
            words = one_line(f"judging {_judged(progress)}")
            return Content.styled(f"{self._spinner()} {words}{_short(progress)}", "$text-accent")
        if progress.activity:
            return Content.styled(f"{self._spinner()} {one_line(progress.activity)}", "$text-accent")
        if progress.judge != "ready":
            return Content.styled(_JUDGE_WORDS[progress.judge], "$text-warning")
        if progress.judges == 1:
            return Content.styled(_JUDGE_WORDS[progress.judge], "$foreground 60%")
        words = f"{progress.working} of " if progress.working < progress.judges else ""
        style = "$text-warning" if words else "$foreground 60%"
        return Content.styled(f"{words}{progress.judges} judges ready", style)

    def _spinner(self) -> str:
        return SPINNER[self._frame % len(SPINNER)]


def _judged(progress: EngineProgress) -> str:
    """What is judged: one candidate with its gate, or all of them."""
    first = progress.judging[0]
    if len(progress.judging) == 1:
        return first.candidate + (f": {first.gate}" if first.gate else "")
    return ", ".join(one.candidate for one in progress.judging)


def _short(progress: EngineProgress) -> str:
    """How many judges work, where some do not."""
    if progress.working >= progress.judges:
        return ""
    return f" ({progress.working} of {progress.judges} judges)"
