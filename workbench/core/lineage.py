"""Who descends from whom, and in which order a population is shown."""

from __future__ import annotations

from collections.abc import Iterable

from workbench.core.candidate import CandidateId, CandidateView

_STATE_ORDER = {
    "passed": 0,
    "judging": 1,
    "queued": 2,
    "writing": 2,
    "waiting": 2,
    "stale": 3,
    "failed": 4,
    "could not judge": 5,
    "duplicate": 6,
    "cancelled": 7,
    "retired": 8,
}


def ancestors(candidates: dict[CandidateId, CandidateView], of: CandidateId) -> list[CandidateId]:
    """All ancestors of `of`, nearest first, each once; a parent that is unknown is passed over."""
    found: dict[CandidateId, None] = {}
    front = [of]
    while front:
        following: list[CandidateId] = []
        for child in front:
            view = candidates.get(child)
            following.extend(p for p in (view.parents if view else ()) if p in candidates and p not in found)
            found.update(dict.fromkeys(following))
        front = following
    found.pop(of, None)
    return list(found)


def generation(candidates: dict[CandidateId, CandidateView], of: CandidateId) -> int:
    """Longest path to a founder: 0 for a candidate without known parents."""
    depth, front, seen = 0, {of}, {of}
    while front:
        front = {
            p
            for child in front
            if child in candidates
            for p in candidates[child].parents
            if p in candidates and p not in seen
        }
        seen |= front
        depth += bool(front)
    return depth


def rank_key(view: CandidateView) -> tuple[int, int, float, CandidateId]:
    """Sorts a population as `ranked` does; unique, as it ends with the id."""
    rank = view.verdict.rank if view.verdict is not None else None
    if rank is None or rank != rank:  # NaN would break the order of all
        rank = float("inf")
    return (_STATE_ORDER[view.state], view.mark != "accepted", rank, view.id)


def ranked(candidates: Iterable[CandidateView]) -> list[CandidateView]:
    """Best first: accepted before others that pass, then by rank; what fails, waits or is stale never above a pass."""
    return sorted(candidates, key=rank_key)
