"""One symbol, word and style for each state, mark and gate status, so that no meaning hangs on colour alone.

*Pass* is the judge's word and *accept* a person's: they share no colour and no symbol. Every symbol is one cell wide.
"""

from __future__ import annotations

from workbench.core.candidate import CandidateView

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"

STATES: dict[str, tuple[str, str]] = {
    "waiting": ("?", "waiting"),
    "writing": ("✎", "writing"),
    "queued": ("·", "queued"),
    "judging": ("▶", "judging"),
    "passed": ("✓", "passed"),
    "failed": ("✗", "failed"),
    "could not judge": ("!", "could not judge"),
    "duplicate": ("≡", "duplicate"),
    "cancelled": ("⊘", "cancelled"),
    "stale": ("~", "stale"),
    "retired": ("▪", "retired"),
}
"""State to symbol and word."""

STATE_STYLES: dict[str, str] = {
    "passed": "$text-success",
    "failed": "$text-error",
    "could not judge": "$text-warning",
    "judging": "$text-accent",
    "stale": "$text-warning 70%",
}
"""Style of a state; those that are not here are muted."""

MARKS: dict[str, tuple[str, str]] = {
    "accepted": ("★", "accepted"),
    "rejected": ("⊖", "rejected"),
    "shelved": ("▽", "shelved"),
}

MARK_STYLES: dict[str, str] = {
    "accepted": "$mark-accepted",
    "rejected": "$mark-rejected",
    "shelved": "$mark-shelved",
}

GATES: dict[str, tuple[str, str]] = {
    "pass": ("✓", "$text-success"),
    "fail": ("✗", "$text-error"),
    "warn": ("▲", "$text-warning"),
    "skipped": ("–", "$foreground 60%"),
    "waits": ("·", "$foreground 38%"),
}
"""Gate status to symbol and style."""

OUTCOMES: dict[str, tuple[str, str]] = {
    "pass": ("✓ PASS", "pass"),
    "fail": ("✗ FAIL", "fail"),
    "error": ("! COULD NOT JUDGE", "error"),
}
"""Outcome to badge and CSS class."""


def state_style(state: str) -> str:
    """The style of a state's symbol and word."""
    return STATE_STYLES.get(state, "$foreground 60%")


def speed_up(view: CandidateView, target: str) -> str:
    """The speed-up column: never a number on the host, where only a GPU could tell."""
    if target != "cuda":
        return "needs GPU"
    verdict = view.verdict
    if verdict is None or verdict.outcome != "pass" or verdict.rank is None:
        return ""
    return f"{verdict.rank:.1f} us"
