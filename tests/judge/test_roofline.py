"""The estimate's model: what makes a launch dearer, resource by resource."""

from __future__ import annotations

import math
import random
from typing import Any

import msgspec

from workbench.judge.worker.roofline import StepCost, StepFacts, as_compiled, cost_of, window_of
from workbench.profile.memory import LineAccesses
from workbench.runner.host.counts import COUNTS, SiteCount, StepCount, decode_counts
from workbench.runner.host.sites import Site

STEP = StepCount(
    step=0, blocks=1024, sampled=16, warps=128, scale=64.0, exchanges=0, barriers=0, updates=0, hottest=0
)
FACTS = StepFacts(
    blocks=4096,
    threads=256,
    resident_blocks=8,
    shared_bytes=0,
    spill_bytes=0,
    dram_bytes=1 << 24,
    growth=4.0,
    warps_growth=4.0,
)


def site(**given: Any) -> SiteCount:
    """A load of 32 neighbouring floats by each of 128 warps, but for what is given."""
    plain: dict[str, Any] = {
        "step": 0, "line": 7, "kind": "global", "write": False, "atomic": False, "width": 4, "parts": 1,
        "requests": 128.0, "whole_requests": 128.0, "split_requests": 128.0, "lanes": 4096.0, "bytes": 16384.0,
        "sectors": 512.0, "split_sectors": 512.0, "wavefronts": 0.0, "split_wavefronts": 0.0, "ideal": 0.0,
        "divergent": 0.0, "reuse": (512.0, *[0.0] * 15), "weights": Site(),
    }  # fmt: skip
    return SiteCount(**{**plain, **given})


def cost(*sites: SiteCount, step: StepCount = STEP, **facts: Any) -> StepCost:
    return cost_of(step, list(sites), msgspec.structs.replace(FACTS, **facts), {})


def test_a_stride_costs_what_it_moves_through_l2() -> None:
    near = cost(site())
    far = cost(site(sectors=4096.0, split_sectors=4096.0, reuse=(4096.0, *[0.0] * 15)))
    assert far.by_resource["L2"] == 8 * near.by_resource["L2"] and far.cycles > near.cycles


def test_a_sector_that_was_near_is_cheaper_than_a_first_touch() -> None:
    again = site(reuse=(0.0, 0.0, 512.0, *[0.0] * 13))
    long_ago = site(reuse=(*[0.0] * 12, 512.0, *[0.0] * 3))
    first = cost(site()).by_resource
    assert cost(again).by_resource["L2"] == 0 and cost(again).by_resource["latency"] < first["latency"]
    assert cost(long_ago).by_resource["L2"] == first["L2"]  # L1 has forgotten it


def test_fewer_warps_hide_less_latency_and_leave_more_l1_to_each() -> None:
    full, thin = cost(site()), cost(site(), resident_blocks=1)
    assert thin.by_resource["latency"] == 8 * full.by_resource["latency"]
    assert window_of(8, 0) == 8 * window_of(64, 0) > window_of(8, 100_000)


def test_blocks_for_some_multiprocessors_leave_the_others_idle() -> None:
    assert cost(site(), blocks=13).by_resource["L2"] > 9 * cost(site()).by_resource["L2"]


def test_updates_of_one_address_take_the_whole_device() -> None:
    update = site(write=True, atomic=True, wavefronts=4096.0)
    hot = msgspec.structs.replace(STEP, updates=1e6, hottest=1e6)
    assert cost(update, step=hot).by_resource["atomics"] == 4e6
    assert cost(update).by_resource["atomics"] < 1e4


def test_a_vector_counts_as_the_cubin_has_it() -> None:
    vector = site(
        width=16, parts=4, whole_requests=128.0, split_requests=512.0, sectors=2048.0, split_sectors=8192.0
    )
    assert as_compiled(vector, LineAccesses(16, 1))[:2] == (128.0, 2048.0)
    assert as_compiled(vector, LineAccesses(4, 1))[:2] == (512.0, 8192.0)
    assert as_compiled(vector, None)[:2] == (128.0, 2048.0)
    assert as_compiled(vector, LineAccesses(8, 1))[0] == 320.0


def test_code_outside_of_loops_over_data_grows_with_the_warps_alone() -> None:
    in_loop = site(weights=Site(loops=frozenset({1})))
    once = site(kind="code", reuse=(0.0,) * 16, weights=Site(fp32=1000))
    inside = site(kind="code", reuse=(0.0,) * 16, weights=Site(fp32=1000, loops=frozenset({1, 2})))
    longer = {"growth": 64.0, "warps_growth": 4.0}
    assert (
        cost(in_loop, inside, **longer).by_resource["arithmetic"]
        > 15 * (cost(in_loop, once, **longer).by_resource["arithmetic"])
    )
    assert cost(once, **longer).by_resource["arithmetic"] > 15 * cost(once).by_resource["arithmetic"]


def test_spills_are_traffic() -> None:
    spilled = cost(site(), spill_bytes=64)
    assert spilled.by_resource["L1 and shared memory"] > cost(site()).by_resource["L1 and shared memory"]


def test_forged_counts_cost_much_and_break_nothing() -> None:
    forged = decode_counts(b"\xff" * COUNTS.itemsize, {})
    (step, *_) = forged.steps
    sites = [msgspec.structs.replace(site(), **{n: float(1 << 52) for n in ("requests", "sectors", "bytes")})]
    found = cost_of(step, [*forged.sites, *sites], FACTS, {})
    assert math.isfinite(found.cycles) and found.cycles > 1e6
    noise = decode_counts(random.Random(7).randbytes(COUNTS.itemsize), {})
    for step in noise.steps:
        assert math.isfinite(cost_of(step, list(noise.sites), FACTS, {}).cycles)
