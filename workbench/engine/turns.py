"""Whose turn it is: what a person just asked for, what lost its judge, people's, proposers', then stale, best first."""

from __future__ import annotations

from collections.abc import Collection

from workbench.core.candidate import CandidateId, CandidateView
from workbench.core.session import SessionState

PEOPLE = frozenset({"human", "import", "agent"})
"""Provenances that somebody waits for; other candidates come from proposers."""


class Urgent:
    """What a person just saved or asked to verify again: newest first, before everything else."""

    def __init__(self) -> None:
        self._asked: dict[CandidateId, None] = {}

    def add(self, candidate: CandidateId) -> None:
        """Put `candidate` before all others."""
        self._asked.pop(candidate, None)
        self._asked[candidate] = None

    def done(self, candidate: CandidateId) -> None:
        """Forget it: it has its verdict, or was cancelled."""
        self._asked.pop(candidate, None)

    def __contains__(self, candidate: object) -> bool:
        return candidate in self._asked

    def newest_first(self) -> list[CandidateId]:
        """What was asked for, the last first."""
        return list(reversed(self._asked))


def order(state: SessionState, urgent: Urgent, orphaned: Collection[CandidateId] = ()) -> list[CandidateId]:
    """Every candidate that waits for a verdict, in the order in which they are judged.

    Args:
        orphaned: those whose judge died under them; they had their turn already.
    """
    queued = [view for view in state.candidates.values() if view.state == "queued"]
    waiting = {view.id for view in queued}
    first = [candidate for candidate in urgent.newest_first() if candidate in waiting]
    again_first = [candidate for candidate in orphaned if candidate in waiting and candidate not in urgent]
    queued = [v for v in queued if v.id not in urgent and v.id not in again_first]
    people = [v.id for v in queued if v.provenance in PEOPLE]
    # A verdict it has already makes a queued candidate a rejudged one: it was put back when another came before it.
    proposed = [v for v in queued if v.provenance not in PEOPLE]
    fresh = [v.id for v in proposed if v.verdict is None]
    again = [v for v in proposed if v.verdict is not None]
    stale = [view for view in state.candidates.values() if view.state == "stale"]
    return [*first, *again_first, *people, *fresh, *(v.id for v in sorted([*again, *stale], key=_promise))]


def _promise(view: CandidateView) -> tuple[bool, bool, bool, float, str]:
    """Best first: accepted, then what passed, by rank; what was rejected comes last."""
    verdict = view.verdict
    passed = verdict is not None and verdict.outcome == "pass"
    rank = verdict.rank if verdict is not None and verdict.rank is not None else float("inf")
    return (view.mark == "rejected", view.mark != "accepted", not passed, rank, view.id)
