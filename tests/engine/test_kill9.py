"""kill -9 of any process at any moment loses no event that was shown (tests/bench/kill9.py runs many more rounds)."""

from __future__ import annotations

import random

import pytest
from engine_world import World
from kill9_rounds import VICTIMS, Shown, one_round, settle, victims


async def test_no_event_that_was_shown_is_lost_whoever_is_killed_at_whatever_moment(
    opened: World, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRIPTED_CHILDREN", "1")  # for its compiler, runner and planner
    rng = random.Random(seed)
    shown = Shown()
    sources = [b"plain", b"SLOW", b"FAILS"]
    order = victims(rng, len(VICTIMS) + 1)
    print("killed:", ", ".join(order))
    for victim in order:  # a round ends only when its victim was really hit
        await one_round(opened, rng, shown, victim, sources=sources, limit_s=1.0)
    assert set(order) == set(VICTIMS)
    state = await settle(opened, shown)
    assert state.candidates
    assert shown.events
