"""kill -9 of any process at any moment loses no event that was shown (tests/bench/kill9.py runs many more rounds)."""

from __future__ import annotations

import random

from engine_world import World
from kill9_rounds import Shown, one_round, settle

ROUNDS = 8


async def test_no_event_that_was_shown_is_lost_whoever_is_killed_at_whatever_moment(
    opened: World, seed: int
) -> None:
    rng = random.Random(seed)
    shown = Shown()
    sources = [b"plain", b"SLOW", b"FAILS"]
    killed = [await one_round(opened, rng, shown, sources=sources, limit_s=1.0) for _ in range(ROUNDS)]
    print("killed:", ", ".join(killed), "; shown:", len(shown.events))
    state = await settle(opened, shown)
    assert state.candidates
    assert shown.events
