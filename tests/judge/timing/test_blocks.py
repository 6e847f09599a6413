"""A block is one log ratio in which drift and a single interruption cancel, or is dropped for a reason that has a name."""

from __future__ import annotations

import itertools
import math

import msgspec
import pytest

from workbench.core.verdict import Speedup
from workbench.judge.worker.timing.blocks import (
    CLOCK_STEP,
    HARMFUL_THROTTLES,
    REASONS,
    Block,
    Environment,
    Reason,
    Side,
    Turn,
    dropped_sentence,
    reason_to_drop,
    sort_out,
    too_many_dropped,
)
from workbench.judge.worker.timing.comparison import Comparison, conclude, fastest
from workbench.judge.worker.timing.looks import SCREENING, confirming
from workbench.judge.worker.timing.margin import Margin

DELTA = 0.01


def turn(side: Side, *us: float) -> Turn:
    return Turn(side, us)


def block(
    candidate: float = 100.0,
    baseline: float = 150.0,
    *,
    control: tuple[float, float] | None = (50.0, 50.0),
    environment: Environment | None = None,
) -> Block:
    a, b = turn("candidate", candidate), turn("baseline", baseline)
    return Block(turns=(a, b, b, a), control_us=control, environment=environment or Environment())


def test_the_log_ratio_is_that_of_baseline_over_candidate() -> None:
    assert block().log_ratio == pytest.approx(math.log(1.5))
    assert block().us("candidate") == pytest.approx(100.0)


def test_a_device_that_slows_down_steadily_changes_no_ratio() -> None:
    us = [100.0 * 1.05**k for k in range(4)]
    sides: tuple[Side, ...] = ("baseline", "candidate", "candidate", "baseline")
    turns = [turn(side, t) for side, t in zip(sides, us, strict=True)]
    drifting = Block(turns=(turns[0], turns[1], turns[2], turns[3]), control_us=(50.0, 50.0))
    assert drifting.log_ratio == pytest.approx(0.0)


def test_one_interrupted_call_in_a_turn_changes_no_ratio() -> None:
    plain, hit = turn("candidate", 100, 101, 99), turn("candidate", 100, 101, 4000)
    other = turn("baseline", 200, 200, 200)
    quiet = Block(turns=(plain, other, other, plain), control_us=(50.0, 50.0))
    disturbed = Block(turns=(plain, other, other, hit), control_us=(50.0, 50.0))
    assert abs(disturbed.log_ratio - quiet.log_ratio) < 0.006


@pytest.mark.parametrize("order", ["abab", "aabb", "aaaa", "bbaa"])
def test_turns_in_another_order_are_no_block(order: str) -> None:
    sides: dict[str, Side] = {"a": "candidate", "b": "baseline"}
    turns = [turn(sides[letter], 1.0) for letter in order]
    with pytest.raises(ValueError, match="ABBA or BAAB"):
        Block(turns=(turns[0], turns[1], turns[2], turns[3]), control_us=None)


NAMED: list[tuple[Reason, Block]] = [
    ("sample", block(candidate=math.nan)),
    ("sample", block(candidate=math.inf)),
    ("sample", block(baseline=0.0)),
    ("sample", block(baseline=-3.0)),
    ("sample", msgspec.structs.replace(block(), turns=(turn("candidate"), *block().turns[1:]))),
    ("process", block(environment=Environment(processes=(4711,)))),
    *(
        ("throttle", block(environment=Environment(throttle=frozenset({name}))))
        for name in sorted(HARMFUL_THROTTLES)
    ),
    ("clock", block(environment=Environment(sm_mhz=(1980.0, 1900.0)))),
    ("no control", block(control=None)),
    ("no control", block(control=(50.0, math.nan))),
    ("no control", block(control=(0.0, 50.0))),
    ("control", block(control=(50.0, 50.6))),
    ("control", block(control=(50.6, 50.0))),
]


@pytest.mark.parametrize(("reason", "disturbed"), NAMED)
def test_each_disturbance_drops_its_block_by_name(reason: Reason, disturbed: Block) -> None:
    assert reason_to_drop(disturbed, DELTA) == reason
    assert sort_out([disturbed], DELTA).dropped == {reason: 1}


def test_every_reason_has_a_case_above() -> None:
    assert {reason for reason, _ in NAMED} == set(REASONS)


@pytest.mark.parametrize(
    "harmless",
    [
        Environment(sm_mhz=(1980.0, 1980.0 / (1 + CLOCK_STEP))),
        Environment(sm_mhz=(1965.0,)),
        Environment(throttle=frozenset({"sw_power_cap", "gpu_idle", "applications_clocks_setting"})),
    ],
)
def test_what_hardly_moves_a_ratio_drops_nothing(harmless: Environment) -> None:
    assert reason_to_drop(block(environment=harmless), DELTA) is None


def test_the_control_kernel_may_differ_by_delta_and_no_more() -> None:
    assert reason_to_drop(block(control=(50.0, 50.49)), DELTA) is None
    assert reason_to_drop(block(control=(50.0, 50.51)), DELTA) == "control"
    assert reason_to_drop(block(control=(50.0, 51.0)), 0.03) is None


def test_no_ratio_however_wild_drops_its_block() -> None:
    # Who drops blocks by the ratio that they show chooses the result.
    for candidate, baseline in itertools.product((1.0, 1e6), repeat=2):
        assert reason_to_drop(block(candidate, baseline), DELTA) is None


def conclude_with(good: int, bad: list[Block]) -> Comparison:
    return conclude([block()] * good + bad, SCREENING, Margin(DELTA, "test"), DELTA)


def speedup_of(comparison: Comparison) -> Speedup:
    assert comparison.speedup is not None
    return comparison.speedup


def test_a_fifth_of_the_blocks_may_be_dropped_and_one_more_is_undecided() -> None:
    voided = block(control=(50.0, 60.0))
    assert speedup_of(conclude_with(80, [voided] * 20)).word == "faster"
    over = conclude_with(80, [voided] * 21)
    assert speedup_of(over).word == "undecided"
    assert speedup_of(over).dropped == {"control": 21}
    assert over.why == (
        "21 of 101 blocks were dropped: 21 as the control kernel's times in the two contexts differed by more than delta."
    )
    assert too_many_dropped(0, 1)
    assert not too_many_dropped(0, 0)


def test_a_dropped_block_changes_neither_ratio_nor_times() -> None:
    wild = block(candidate=1.0, environment=Environment(processes=(1,)))
    clean, mixed = conclude_with(12, []), conclude_with(12, [wild])
    assert speedup_of(mixed).ratio == speedup_of(clean).ratio
    assert mixed.candidate_us == clean.candidate_us
    assert (mixed.usable, mixed.dropped) == (12, {"process": 1})


def test_too_few_blocks_are_undecided_and_say_how_many_it_takes() -> None:
    few = conclude_with(5, [])
    assert speedup_of(few).word == "undecided"
    assert few.why == "Only 5 blocks could be used; a word needs 6."
    margin = Margin(DELTA, "test")
    confirmed = conclude([block()] * 47, confirming(0.025), margin, DELTA)
    assert speedup_of(confirmed).word == "undecided"
    assert confirmed.why == "Only 47 blocks could be used; a word needs 48."
    assert speedup_of(conclude([block()] * 48, confirming(0.025), margin, DELTA)).word == "faster"


@pytest.mark.parametrize("usable", [0, 1])
def test_without_two_blocks_there_is_no_ratio_but_a_reason(usable: int) -> None:
    found = conclude_with(usable, [])
    assert found.speedup is None
    assert (found.candidate_us is None) == (usable == 0)
    timing = found.timing("eager")
    assert (timing.status, timing.speedup) == ("failed", None)
    assert timing.note == f"Only {usable} blocks could be used; a word needs 6."


def test_the_verdict_gets_level_margin_blocks_and_times() -> None:
    found = conclude_with(12, []).timing("compile")
    assert found.status == "ok"
    assert found.us is not None
    assert found.us.median == pytest.approx(150.0)
    assert found.speedup is not None
    assert found.speedup.ratio == pytest.approx(1.5)
    assert (found.speedup.level, found.speedup.delta, found.speedup.blocks) == (0.05, DELTA, 12)


def test_a_doubt_from_elsewhere_leaves_the_interval_and_takes_the_word() -> None:
    doubt = "The host's clock was too unsteady to compare."
    found = conclude([block()] * 48, confirming(0.025), Margin(DELTA, "test"), DELTA, doubt=doubt)
    assert (speedup_of(found).word, speedup_of(found).why) == ("undecided", doubt)
    assert speedup_of(found).low > 1.4


def test_the_faster_way_of_a_baseline_is_chosen_by_medians() -> None:
    assert fastest({"default": [10.0, 11.0, 10.0], "max-autotune": [9.0, 9.5, 90.0]}) == "max-autotune"
    assert fastest({"default": [10.0], "max-autotune": []}) == "default"
    with pytest.raises(ValueError, match="no times"):
        fastest({"default": []})


def test_dropped_blocks_are_named_by_reason_the_most_frequent_first() -> None:
    assert dropped_sentence({"sample": 1, "process": 7}, 40) == (
        "8 of 40 blocks were dropped: 7 as another process was on the device, "
        "1 as a time was missing, not finite or not above zero."
    )
