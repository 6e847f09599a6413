"""What one judge does now, and what that of all of them amounts to on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from workbench.core.messages import BeingJudged, EngineProgress, JudgeWord

Place = JudgeWord | Literal["out"]

_FURTHEST: tuple[Place, ...] = ("ready", "loading", "starting", "restarting", "stopped", "out")


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One judge at a moment."""

    place: Place = "starting"
    """"out": it was taken out for good."""
    activity: str = ""
    trouble: str = ""
    """Why what it reached cannot be kept, such as a full disk."""
    judging: BeingJudged | None = None


def compose(standings: Sequence[Standing], queued: int) -> EngineProgress:
    """What a person is shown of `standings`, while `queued` candidates wait."""
    # One that cannot keep its verdict first: its sentence stands beside it.
    ordered = sorted(standings, key=lambda s: (not s.trouble, _FURTHEST.index(s.place)))
    judging = tuple(s.judging for s in ordered if s.judging is not None)
    place: Place = min((s.place for s in standings), key=_FURTHEST.index, default="starting")
    judge: JudgeWord = "stopped"
    if place != "out":
        judge = place
    if ordered and ordered[0].trouble:
        activity = ordered[0].trouble
    elif judging:
        activity = "judging " + ", ".join(one.candidate for one in judging)
    else:  # the others' is not what a person waits for
        activity = next((s.activity for s in ordered if s.place == place and s.activity), "")
    return EngineProgress(
        activity=activity,
        judging=judging,
        queued=queued,
        judge=judge,
        judges=len(standings),
        working=sum(s.place == "ready" for s in standings),
    )
