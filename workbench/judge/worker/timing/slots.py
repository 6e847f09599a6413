"""What a block is going to do, decided before it is measured: batches, the ring of slots, who begins, which slot when.

A slot holds the inputs and parameters of one call. Slots are taken in random order, so that a candidate cannot know which
comes next, and each call has its own, so that nothing that it remembers of another helps.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

import msgspec

from workbench.judge.worker.timing.blocks import Side

BATCHED_BELOW_US = 20.0
_BATCH_US = 200.0
_MOST_IN_BATCH = 64
_LONG_CALL_US = 2000.0
_MOST_SLOTS = 4096
_TURNS = 4
_OTHER: dict[Side, Side] = {"candidate": "baseline", "baseline": "candidate"}


def batch_calls(candidate_us: float, baseline_us: float) -> int:
    """How many calls of either side are timed as one: 1 unless either is under 20 us, else enough of the shorter for 200 us.

    An event's resolution is 0.5 us, a tenth of a kernel of 5 us and a four-hundredth of its batch. At most 64, since each
    call of a batch needs a slot.
    """
    shorter = min(candidate_us, baseline_us)
    if shorter >= BATCHED_BELOW_US:
        return 1
    return min(max(math.ceil(_BATCH_US / max(shorter, 1e-3)), 2), _MOST_IN_BATCH)


def calls_in_turn(candidate_us: float, baseline_us: float) -> int:
    """Calls (or batches) in each turn: three, of which the median takes out an interrupted one; one where both take 2 ms
    or more together, since there the budget buys more by further blocks."""
    return 1 if candidate_us + baseline_us >= _LONG_CALL_US else 3


class Ring(msgspec.Struct, frozen=True):
    """How many slots there are."""

    slots: int
    note: str = ""
    """Why the ring is shorter than wanted, one sentence for the memory plan; "" where it is not."""


def ring(*, slot_bytes: int, l2_bytes: int, calls: int, batch: int, memory_bytes: int) -> Ring:
    """A ring larger than L2 with a slot for each call of a block, within the memory that there is.

    Args:
        slot_bytes: inputs and parameters of one call, with what allocation adds.
        l2_bytes: of the device.
        calls: calls or batches in a turn (`calls_in_turn`).
        batch: calls in each (`batch_calls`).
        memory_bytes: what the ring may take.

    At least two slots are asked for, or as many as a batch has calls, also where they do not fit: whoever cannot have
    those cannot time this.
    """
    size = max(slot_bytes, 1)
    beyond_l2 = l2_bytes // size + 1
    in_block = (_TURNS * calls + 2) * batch
    wanted = max(beyond_l2, in_block)
    least = max(2, batch)
    fit = max(memory_bytes // size, least)
    slots = min(wanted, fit, max(_MOST_SLOTS, in_block))
    if slots >= wanted:
        return Ring(slots)
    missing = []
    if slots < beyond_l2:
        missing.append("smaller than L2, which is flushed before each call all the same")
    if slots < in_block:
        missing.append(f"a slot is used again within a block of {in_block} calls, salted anew")
    return Ring(slots, f"The ring has {slots} slots instead of {wanted}: {' and '.join(missing)}.")


class TurnPlan(msgspec.Struct, frozen=True):
    """One turn: `calls[i]` are the slots of its i-th call, several for a batch."""

    side: Side
    calls: tuple[tuple[int, ...], ...]


class BlockPlan(msgspec.Struct, frozen=True):
    """One block."""

    warm_up: dict[Side, tuple[int, ...]]
    """Slots of the untimed call (or batch) that begins each side."""
    turns: tuple[TurnPlan, ...]
    reused: bool
    """Whether a slot occurs twice: its outputs must then be compared before it is salted again."""


def plan_blocks(
    blocks: int, *, slots: int, calls: int, batch: int, rng: random.Random
) -> Iterator[BlockPlan]:
    """Plans of `blocks` blocks.

    Of each two, one begins with the candidate and one with the baseline, in random order: the inner two turns of a block
    run later in a warm-up than the outer two are on average, and this makes that nobody's gain.

    Raises:
        ValueError: fewer slots than a batch has calls.
    """
    if slots < batch:
        raise ValueError(f"{slots} slots for batches of {batch} calls")
    first: Side = "candidate"
    draw = _slots_in_random_order(slots, rng)
    for number in range(blocks):
        first = rng.choice(("candidate", "baseline")) if number % 2 == 0 else _OTHER[first]
        order: tuple[Side, ...] = (first, _OTHER[first], _OTHER[first], first)
        # A new permutation for each block that fits into one, so that no slot occurs twice where it need not.
        needed = (_TURNS * calls + 2) * batch
        if needed <= slots:
            draw = _slots_in_random_order(slots, rng)
        warm_up: dict[Side, tuple[int, ...]] = {side: _take(draw, batch) for side in order[:2]}
        turns = tuple(TurnPlan(side, tuple(_take(draw, batch) for _ in range(calls))) for side in order)
        yield BlockPlan(warm_up, turns, needed > slots)


def _take(draw: Iterator[int], batch: int) -> tuple[int, ...]:
    """The next slots for one batch, all different: one that is in it already is passed over."""
    taken: dict[int, None] = {}
    for slot in draw:
        taken.setdefault(slot)
        if len(taken) == batch:
            break
    return tuple(taken)


def _slots_in_random_order(slots: int, rng: random.Random) -> Iterator[int]:
    """Permutations one after the other, for ever; no slot twice in a row where there are two."""
    last = -1
    while True:
        order = rng.sample(range(slots), slots)
        if order[0] == last and slots > 1:
            order[0], order[-1] = order[-1], order[0]
        last = order[-1]
        yield from order
