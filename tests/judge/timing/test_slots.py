"""A block's plan: short calls batched alike, a ring beyond L2 where memory allows it, and an order that nobody can foresee."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest

from workbench.judge.worker.timing.slots import BlockPlan, Ring, batch_calls, calls_in_turn, plan_blocks, ring

MIB = 1 << 20
L2 = 50 * MIB


def plans(blocks: int, *, slots: int = 200, calls: int = 3, batch: int = 1, seed: int = 1) -> list[BlockPlan]:
    return list(plan_blocks(blocks, slots=slots, calls=calls, batch=batch, rng=random.Random(seed)))


def slots_of(plan: BlockPlan) -> list[int]:
    taken = [slot for warm in plan.warm_up.values() for slot in warm]
    return taken + [slot for turn in plan.turns for call in turn.calls for slot in call]


@pytest.mark.parametrize(
    ("candidate_us", "baseline_us", "calls"),
    [
        (20.0, 20.0, 1),
        (175.0, 5000.0, 1),
        (19.9, 5000.0, 11),
        (5000.0, 19.9, 11),
        (5.0, 7.0, 40),
        (1.0, 1.0, 64),
        (0.0, 3.0, 64),
    ],
)
def test_both_sides_are_batched_alike_when_either_is_under_20_us(
    candidate_us: float, baseline_us: float, calls: int
) -> None:
    assert batch_calls(candidate_us, baseline_us) == batch_calls(baseline_us, candidate_us) == calls


def test_a_turn_has_three_calls_unless_they_are_long() -> None:
    assert calls_in_turn(175.0, 300.0) == 3
    assert calls_in_turn(1000.0, 999.0) == 3
    assert calls_in_turn(1000.0, 1000.0) == 1


def test_the_ring_is_larger_than_l2_and_has_a_slot_for_each_call() -> None:
    found = ring(slot_bytes=MIB, l2_bytes=L2, calls=3, batch=1, memory_bytes=10**12)
    assert found == Ring(51)
    assert found.slots * MIB > L2
    large = ring(slot_bytes=100 * MIB, l2_bytes=L2, calls=3, batch=1, memory_bytes=10**12)
    assert large == Ring(14)  # twelve timed calls and one untimed for either side
    batched = ring(slot_bytes=MIB, l2_bytes=L2, calls=3, batch=40, memory_bytes=10**12)
    assert batched == Ring(14 * 40)


def test_a_ring_that_does_not_fit_is_shortened_and_says_what_that_costs() -> None:
    short = ring(slot_bytes=10 * MIB, l2_bytes=L2, calls=3, batch=1, memory_bytes=40 * MIB)
    assert short.slots == 4
    assert short.note.startswith("The ring has 4 slots instead of 14: smaller than L2")
    assert "used again within a block of 14 calls" in short.note
    huge = ring(slot_bytes=6400 * MIB, l2_bytes=L2, calls=1, batch=1, memory_bytes=20_000 * MIB)
    assert huge.slots == 3
    assert "L2" not in huge.note


def test_tiny_and_empty_inputs_get_a_ring_of_bounded_length() -> None:
    for slot_bytes in (0, 1, 512):
        found = ring(slot_bytes=slot_bytes, l2_bytes=L2, calls=3, batch=1, memory_bytes=10**12)
        assert found.slots == 4096
        assert "smaller than L2" in found.note


def test_no_memory_still_leaves_two_slots_or_a_batch() -> None:
    assert ring(slot_bytes=MIB, l2_bytes=L2, calls=3, batch=1, memory_bytes=0).slots == 2
    assert ring(slot_bytes=MIB, l2_bytes=L2, calls=3, batch=40, memory_bytes=0).slots == 40


def test_every_block_is_abba_or_baab_and_of_each_two_one_is_either() -> None:
    begun = []
    for plan in plans(200):
        sides = [turn.side for turn in plan.turns]
        assert sides == sides[::-1]
        assert set(sides[:2]) == {"candidate", "baseline"}
        begun.append(sides[0])
    assert all(a != b for a, b in zip(begun[::2], begun[1::2], strict=True))
    first_of_two = Counter(begun[::2])
    assert min(first_of_two.values()) > 25


def test_within_a_block_no_slot_occurs_twice_where_the_ring_is_long_enough() -> None:
    for plan in plans(20, slots=14 * 8, batch=8):
        taken = slots_of(plan)
        assert len(taken) == len(set(taken)) == 14 * 8
        assert not plan.reused


def test_in_a_short_ring_a_batch_still_has_different_slots_and_the_plan_says_that_slots_recur() -> None:
    for slots in (8, 9, 20):
        for plan in plans(20, slots=slots, batch=8):
            assert plan.reused
            for turn in plan.turns:
                assert all(len(set(call)) == 8 for call in turn.calls)
    with pytest.raises(ValueError, match="7 slots for batches of 8"):
        plans(1, slots=7, batch=8)


def test_two_slots_alternate_rather_than_repeat() -> None:
    for plan in plans(10, slots=2):
        taken = slots_of(plan)
        assert all(a != b for a, b in itertools.pairwise(taken))


def test_one_slot_is_used_for_every_call() -> None:
    assert set(slots_of(plans(1, slots=1)[0])) == {0}


def test_every_slot_is_as_likely_as_any_other_in_every_place() -> None:
    drawn = plans(4000, slots=20)
    places = [Counter(slots_of(plan)[place] for plan in drawn) for place in (0, 5, 13)]
    for counts in places:
        assert len(counts) == 20
        assert min(counts.values()) > 130  # 200 expected, standard deviation 14
        assert max(counts.values()) < 270


def test_the_order_follows_from_the_seed_and_differs_between_seeds() -> None:
    assert plans(5, seed=7) == plans(5, seed=7)
    assert plans(5, seed=7) != plans(5, seed=8)
    first, second = plans(2)
    assert slots_of(first) != slots_of(second)
