"""Work that the events leave out is seen by the host's clock; a busy host blames nobody."""

from __future__ import annotations

import math
import random

import pytest

from workbench.judge.worker.timing.clocks import LEAST_PAIRS, PAIRS, ClockPair, calls_for, check_clocks


def pairs(
    count: int, us: float, *, seen: float | None = None, rng: random.Random | None = None
) -> list[ClockPair]:
    """Pairs of a call that takes `us`, of which the events see `seen`; a turn's overhead is 40 us, on a busy host more."""
    calls = calls_for(us)
    seen = us if seen is None else seen

    def host(n: int) -> float:
        late = 0.0
        if rng is not None:
            late = abs(rng.gauss(0, 4)) + (rng.uniform(50, 3000) if rng.random() < 0.1 else 0)
        return 40 + n * us + late

    return [
        ClockPair(calls, (host(calls), host(2 * calls)), (3 + calls * seen, 3 + 2 * calls * seen))
        for _ in range(count)
    ]


@pytest.mark.parametrize("us", [3.0, 20.0, 175.0, 5000.0, 400_000.0])
def test_an_honest_candidate_agrees_whatever_a_launch_costs(us: float) -> None:
    found = check_clocks(pairs(LEAST_PAIRS, us))
    assert found.status == "agree"
    assert found.host_us == pytest.approx(us)
    assert found.event_us == pytest.approx(us)


@pytest.mark.parametrize("us", [30.0, 175.0, 5000.0])
def test_work_that_the_events_do_not_see_disagrees(us: float) -> None:
    found = check_clocks(pairs(LEAST_PAIRS, us, seen=0.8 * us))
    assert found.status == "disagree"
    assert f"{us:.2f} us a call by the host's clock, {0.8 * us:.2f} us by the events" in found.reason


def test_the_border_is_five_percent_and_a_microsecond() -> None:
    for seen in (20.0, 400.0):
        inside, outside = 1.05 * seen + 0.99, 1.05 * seen + 1.01
        assert check_clocks(pairs(9, inside, seen=seen)).status == "agree"
        assert check_clocks(pairs(9, outside, seen=seen)).status == "disagree"
        below_in, below_out = 0.95 * seen - 0.99, 0.95 * seen - 1.01
        assert check_clocks(pairs(9, below_in, seen=seen)).status == "agree"
        assert check_clocks(pairs(9, below_out, seen=seen)).status == "disagree"


@pytest.mark.parametrize("us", [5.0, 60.0, 5000.0])
def test_a_busy_host_never_makes_an_honest_candidate_fail(us: float) -> None:
    seed = 3
    print(f"seed {seed}")
    rng = random.Random(seed)
    said = [check_clocks(pairs(PAIRS, us, rng=rng)).status for _ in range(400)]
    assert "disagree" not in said
    assert said.count("agree") > 380


def test_a_busy_host_does_not_hide_a_quarter_of_the_work() -> None:
    seed = 4
    print(f"seed {seed}")
    rng = random.Random(seed)
    said = [check_clocks(pairs(PAIRS, 100.0, seen=75.0, rng=rng)).status for _ in range(400)]
    assert "agree" not in said
    assert said.count("disagree") > 360


def test_too_few_pairs_or_impossible_times_prove_nothing() -> None:
    few = check_clocks(pairs(LEAST_PAIRS - 1, 100.0, seen=10.0))
    assert few.status == "unclear"
    assert "4 pairs" in few.reason
    broken = [ClockPair(10, (math.nan, 5.0), (1.0, 2.0)), ClockPair(0, (1.0, 2.0), (1.0, 2.0))] * 5
    assert check_clocks(broken).status == "unclear"
    assert math.isnan(check_clocks([]).host_us)


def test_pairs_that_contradict_each_other_are_unclear() -> None:
    mixed = pairs(4, 100.0, seen=50.0) + pairs(4, 50.0, seen=100.0)
    assert check_clocks(mixed).status in ("unclear", "agree")
    assert check_clocks(pairs(6, 100.0, seen=50.0) + pairs(3, 100.0)).status == "unclear"


def test_short_calls_get_longer_turns() -> None:
    assert calls_for(3.0) == 512
    assert calls_for(100.0) == 20
    assert calls_for(1e6) == 2
