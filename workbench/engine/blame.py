"""Whose fault it is when a judge dies under a candidate: told apart by what happens to both of them afterwards.

A death is held against both. The candidate goes to another judge where there is one: if that reaches a verdict, the
death was the first judge's own; if it dies too, the candidate's. A judge's own deaths count until it reaches a verdict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from workbench.core.candidate import CandidateId

DEATHS = 2
"""A candidate under which judges died so often could not be judged."""
OWN_DEATHS = 3
"""A judge that died so often by itself, with no verdict in between, is at fault."""


class Blame:
    """The deaths of a session's judges. Judges are known by their numbers."""

    def __init__(self) -> None:
        self._under: dict[CandidateId, list[int]] = {}
        self._own: Counter[int] = Counter()

    @property
    def orphaned(self) -> Collection[CandidateId]:
        """Candidates whose judge died under them, and that were not judged since, the longest first."""
        return self._under.keys()

    def died(self, candidate: CandidateId, judge: int) -> None:
        """`judge` died under `candidate`."""
        self._under.setdefault(candidate, []).append(judge)

    def judged(self, candidate: CandidateId, judge: int) -> None:
        """`judge` reached a verdict on `candidate`: it works, and those that died under it do not."""
        self._own[judge] = 0
        for other in self._under.pop(candidate, ()):
            if other != judge:
                self._own[other] += 1

    def forget(self, candidate: CandidateId) -> None:
        """`candidate` was cancelled, or could not be judged: its deaths are no judge's own."""
        self._under.pop(candidate, None)

    def taken_out(self, judge: int) -> None:
        """`judge` works no more; its deaths are held against no candidate any longer."""
        for candidate, judges in list(self._under.items()):
            self._under[candidate] = [other for other in judges if other != judge]

    def hopeless(self, candidate: CandidateId) -> bool:
        """No further judge is risked under `candidate`."""
        return len(self._under.get(candidate, ())) >= DEATHS

    def died_under(self, candidate: CandidateId, judge: int) -> bool:
        """`judge` died under `candidate`; another one should have it."""
        return judge in self._under.get(candidate, ())

    def at_fault(self, judge: int) -> bool:
        """`judge` died by itself too often."""
        return self._own[judge] >= OWN_DEATHS
