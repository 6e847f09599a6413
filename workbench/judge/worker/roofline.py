"""From counts to cycles: what each resource of an H200 would need for one launch, and what they need together.

A model in the spirit of the roofline: every resource has a rate, the launch takes as long as the slowest one, and a
little longer where others are nearly as slow. The rates are public figures, not fitted to any kernel:

- an H200 has 132 SMs, here at 1.755 GHz, and 4.8 TB/s of DRAM (data sheet): 20.7 bytes a cycle and SM;
- its L2 delivers 5,120 bytes a cycle (A100 and H100 white papers), 38.8 an SM; L1 and shared memory 128 bytes a cycle;
- an SM issues four warp instructions a cycle; fp32 runs at 4 warps a cycle, fp64 and integers at 2, special functions at
  0.5, shuffles at 1 (CUDA C++ Programming Guide, throughput of arithmetic instructions);
- latencies in cycles: shared memory 29, L1 41, L2 263, DRAM 479 unloaded (Luo et al., Dissecting the NVIDIA Hopper
  Architecture, 2024), which loaded is taken as 700;
- updates of one address by atomics go at one a cycle for the whole device;
- a further launch costs 2 us, what a stream of empty kernels shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import msgspec

from workbench.profile.memory import Key, LineAccesses
from workbench.runner.host.counts import SiteCount, StepCount

SMS = 132
CLOCK_HZ = 1.755e9
DRAM_BYTES = 4.8e12 / CLOCK_HZ
"""A cycle, whole device."""
L2_BYTES = 5120 / SMS
"""A cycle and SM."""
L1_SECTORS = 4.0
"""A cycle and SM."""
L1_SIZE = 256 * 1024
"""With shared memory, bytes an SM."""
L1_USE = 0.5
"""Share of L1 on which one can count: lines go where their address says, and the replacement is not perfect."""
L2_KEEPS = 25_000_000
"""A buffer of at most so many bytes (half of L2) is still there for the next launch."""
ISSUE, FP32, HALF_RATE, SPECIAL = 4.0, 4.0, 2.0, 0.5
"""Warp instructions a cycle and SM."""
UNROLLED = 0.5
"""Share of the host's integer instructions that the device runs: NVRTC unrolls loops and folds addresses into accesses."""
LATENCY = {
    "arithmetic": 4.5,
    "shared": 29.0,
    "exchange": 25.0,
    "barrier": 40.0,
    "l1": 41.0,
    "l2": 263.0,
    "dram": 700.0,
}
"""Cycles."""
OVERLAP = 4.0
"""Exponent of the norm that joins the resources: two equal ones take 1.19 times as long as one."""
ATOMIC_SECTORS = 0.6
"""Sectors that atomics update in a cycle, for each SM (80 slices of L2, one each)."""
SPILLED = 4
"""How often a spilled byte is taken to be written and read."""
LAUNCH_CYCLES = 2e-6 * CLOCK_HZ
_MOST = 1e30

RESOURCES = ("memory", "L2", "L1 and shared memory", "arithmetic", "atomics", "latency")


class StepFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the plan and the cubin say of a launch, at the size that the estimate is for."""

    blocks: int
    threads: int
    """A block."""
    resident_blocks: int
    """Blocks that an SM holds at once."""
    shared_bytes: int
    """A block."""
    spill_bytes: int
    """A thread."""
    dram_bytes: float
    """That all blocks together read and write, each byte once, without what L2 still holds."""
    shared_grows: bool = False
    """The plan asks for more dynamic shared memory there than at the size that was counted."""
    growth: float
    """Work at that size over work at the size that was counted."""
    integers: float = math.inf
    """Integer instructions for each floating-point one in the cubin's main loop, at most as many as the host ran."""
    warps_growth: float
    """Warps likewise. What lies in no loop that goes over data grows with these alone."""


class StepCost(msgspec.Struct, frozen=True, kw_only=True):
    """Cycles of one launch, by resource and together."""

    by_resource: Mapping[str, float]
    cycles: float
    l2_bytes: float
    """Through L2, at the size that was counted."""


def cost_of(
    step: StepCount, sites: list[SiteCount], facts: StepFacts, code: Mapping[Key, LineAccesses]
) -> StepCost:
    """Cycles of one launch.

    Args:
        sites: those of the step.
        code: `profile.memory.accesses_by_line` of the cubin; {} where there is none.
    """
    warps_of_block = -(-facts.threads // 32)
    used = min(SMS, facts.blocks)
    resident_blocks = max(1, min(facts.resident_blocks, -(-facts.blocks // used)))
    resident = warps_of_block * resident_blocks
    window = window_of(resident, facts.shared_bytes * resident_blocks)
    reach = _reach(step, sites, facts)
    grows = _growth(sites, facts)

    l1 = l2_sectors = counted_l2 = waits = atomic_sectors = 0.0
    issue = fp = special = integer = fp64 = 0.0
    for site in sites:
        by = step.scale * grows(site)
        if site.kind == "code":
            w, runs = site.weights, site.requests * by
            fp += w.fp32 * runs
            integer += w.integer * runs * UNROLLED
            special += w.special * runs
            fp64 += w.fp64 * runs
            l1 += w.exchanges * runs
            issue += (w.exchanges + w.barriers) * runs
            waits += (w.exchanges * LATENCY["exchange"] + w.barriers * LATENCY["barrier"]) * runs
            continue
        line = line_of(site, code)
        requests, sectors, wavefronts = (v * by for v in as_compiled(site, line))
        issue += requests
        if site.atomic:
            if site.kind == "shared":
                loops = 4 if line is None or line.looped else 1
                l1 += site.wavefronts * by * (loops if site.wavefronts > site.requests else 1)
                waits += requests * LATENCY["shared"]
            else:
                atomic_sectors += sectors
                l2_sectors += sectors
                counted_l2 += site.sectors
        elif site.kind == "shared":
            l1 += wavefronts
            if not site.write:
                waits += requests * LATENCY["shared"] / 2  # some of them follow each other without waiting
        else:
            l1 += max(requests, sectors / L1_SECTORS)
            misses = sectors / by if site.write else misses_of(site, window, reach)
            l2_sectors += misses * by
            counted_l2 += misses
            if site.write:
                continue
            cold = site.reuse[0] / max(sum(site.reuse), 1.0)
            share = misses / max(site.sectors, 1.0)
            far = LATENCY["dram"] if facts.dram_bytes > 0 else LATENCY["l2"]
            latency = LATENCY["l1"] + cold * far + max(share - cold, 0.0) * LATENCY["l2"]
            waits += requests / (line.in_flight if line else 2) * latency
    if fp + fp64:
        # Where NVRTC unrolls a loop of known length, the host's -O1 still counts: the cubin knows better.
        integer = min(integer, (fp + fp64) * facts.integers)
    arithmetic = fp + integer + special + fp64
    waits += arithmetic * LATENCY["arithmetic"]
    issue += arithmetic
    warps = step.warps * step.scale * facts.warps_growth
    l1 += facts.spill_bytes * SPILLED * 2 * 32 / 128 * warps

    cycles = {
        "memory": facts.dram_bytes / DRAM_BYTES,
        "L2": l2_sectors * 32 / L2_BYTES / used,
        "L1 and shared memory": l1 / used,
        "arithmetic": max(issue / ISSUE, fp / FP32, integer / HALF_RATE, fp64 / HALF_RATE, special / SPECIAL)
        / used,
        "atomics": max(step.hottest * facts.growth, atomic_sectors / ATOMIC_SECTORS / SMS),
        "latency": waits / used / resident,
    }
    cycles = {name: min(value, _MOST) for name, value in cycles.items()}  # forged counts must not overflow
    together = math.fsum((v / 1e3) ** OVERLAP for v in cycles.values()) ** (1 / OVERLAP) * 1e3
    return StepCost(by_resource=cycles, cycles=together, l2_bytes=counted_l2 * 32 * step.scale)


def _growth(sites: list[SiteCount], facts: StepFacts) -> Callable[[SiteCount], float]:
    """By what a site's figures grow: what is in a loop over data with the work, the rest with the number of warps.

    A loop goes over data when it accesses a buffer, or shared memory that the plan makes larger; where there is no such
    loop, everything grows with the work.
    """
    data: set[int] = set()
    for site in sites:
        if site.kind == "global" or (site.dynamic and facts.shared_grows):
            data |= site.weights.loops
    few = min(facts.warps_growth, facts.growth)
    return lambda site: facts.growth if not data or site.weights.loops & data else few


def line_of(site: SiteCount, code: Mapping[Key, LineAccesses]) -> LineAccesses | None:
    """What the cubin has for a site's line."""
    kind = f"atomic {site.kind}" if site.atomic else site.kind
    return code.get((kind, site.write, site.line))


def as_compiled(site: SiteCount, line: LineAccesses | None) -> tuple[float, float, float]:
    """Requests, sectors and wavefronts of a site's accesses as the device makes them: vectors whole, or in parts."""
    whole = (site.whole_requests, site.sectors, site.wavefronts)
    parts = (site.split_requests, site.split_sectors, site.split_wavefronts)
    if site.atomic or site.parts == 1:
        return (site.requests, *whole[1:])
    if line is None or line.width >= site.width:
        return whole
    if line.width <= site.width // site.parts:
        return parts
    halves = tuple((a + b) / 2 for a, b in zip(whole, parts, strict=True))
    return (halves[0], halves[1], halves[2])


def window_of(resident_warps: int, shared_bytes: int) -> float:
    """Lines of 128 bytes of L1 that a warp has for itself, with so many warps and bytes of shared memory on an SM."""
    return max(L1_SIZE - shared_bytes, 0) * L1_USE / 128 / max(resident_warps, 1)


def _reach(step: StepCount, sites: list[SiteCount], facts: StepFacts) -> tuple[float, float]:
    """From which distance on reuse lies between passes over the data, and by what that distance grows with the size."""
    lines = sum(s.reuse[0] for s in sites if s.kind == "global" and not s.write) / 4 / step.warps
    return max(lines / 2, 8.0), max(facts.growth / facts.warps_growth, 1.0)


def misses_of(site: SiteCount, window: float, reach: tuple[float, float]) -> float:
    """Sectors of a load that come from beyond L1."""
    far, growth = reach
    missed = site.reuse[0]
    for bucket, count in enumerate(site.reuse[2:]):
        distance = 1.5 * 2**bucket if bucket else 1.0
        if distance >= far:
            distance *= growth
        if distance > window:
            missed += count
    return missed
