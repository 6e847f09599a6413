"""What a candidate may cost on a device, where there is none: an estimate, never a speed.

It rests on what the instrumented run counted at the judged size (runner/host/counts.py), on the cubin, and on the plan
at the largest size that the task declares, since that is what the ranking is meant for. `roofline.py` turns counts into
cycles of an H200; `relative_cost` is their sum over what moving the task's own bytes once would take. Where nothing was
counted the plan's bytes stand in, and `basis` says so.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from workbench.core.errors import JudgeError
from workbench.core.plan import Fill, Launch, Plan, PointersArg, TensorArg
from workbench.core.task import SizeSpec
from workbench.core.verdict import Resources
from workbench.dialect.backward import size_of
from workbench.judge.worker import roofline
from workbench.judge.worker.roofline import RESOURCES, StepCost, StepFacts
from workbench.judge.worker.runs import layout_of, root
from workbench.profile.loops import integers_per_float
from workbench.profile.memory import Key, LineAccesses, accesses_by_line
from workbench.profile.occupancy import occupancy
from workbench.profile.sass import SassFunction, disassemble
from workbench.runner.host.counts import Counts, SiteCount

if TYPE_CHECKING:
    from workbench.judge.worker.judging import Built, Judging

COUNTED = "accesses, branches and arithmetic counted at the judged size; cubin; plan at {size}"
UNCOUNTED = 2.0
"""What was not counted is taken to move its bytes at half the rate, so that it does not rank before what was."""
PLANNED = "plan and cubin; no memory access was counted"


class Sizes(msgspec.Struct, frozen=True):
    """The size that was counted, and the one that the estimate is for."""

    judged: SizeSpec
    plan: Plan
    full: SizeSpec
    full_plan: Plan

    @property
    def moved(self) -> float:
        """Bytes that the task must move, full over judged."""
        return self.full.bytes_moved / max(self.judged.bytes_moved, 1)

    @property
    def worked(self) -> float:
        """Operations likewise; bytes where the task's operations are not known."""
        if self.judged.flops and self.full.flops:
            return max(self.full.flops / self.judged.flops, self.moved)
        return self.moved


def estimate(
    judging: Judging, plan: Plan, resources: Resources, counted: tuple[Counts, ...]
) -> dict[str, Any]:
    """Figures, and `relative_cost` (no unit, smaller is better, 1 is moving the task's bytes once).

    Args:
        counted: of each half of the plan, forward first; () where nothing was counted.
    """
    halves = _sizes(judging, plan)
    least = sum(_least(half.full_plan, half.full) for half in halves[:1]) / roofline.DRAM_BYTES
    steps = [step for half in plan.halves for step in half.steps]
    full_steps = [step for half in halves for step in half.full_plan.steps]
    launching = max(len(full_steps) - 1, 0) * roofline.LAUNCH_CYCLES
    common: dict[str, Any] = {
        "launches": sum(isinstance(s, Launch) for s in steps),
        "lowest_occupancy": min((k.occupancy for k in resources.kernels), default=1.0),
        "spill_bytes": sum(k.spill_bytes for k in resources.kernels),
        "least_bytes": _least(plan, judging.size),
        "tensor_bytes": sum(_bytes(half, step) for half in plan.halves for step in half.steps),
    }
    useless = any(c.incomplete for c in counted) or not any(c.steps for c in counted)
    if useless or len(counted) != len(halves) or plan.uses_library:
        handed = sum(_bytes(h.full_plan, s) for h in halves for s in h.full_plan.steps)
        cycles = UNCOUNTED * handed / roofline.DRAM_BYTES * (1 + common["spill_bytes"] / 256) + launching
        return {"kind": "estimate", "basis": PLANNED, "relative_cost": _rounded(cycles / least), **common}
    sass = _sass(judging, plan)
    code, ratios = accesses_by_line(sass), integers_per_float(sass)
    built = judging.builds.get(halves[0].full_plan.options) or judging.built_for(plan)
    costs = [
        cost
        for half, counts in zip(halves, counted, strict=True)
        for cost in _costs(built, half, counts, code, ratios).values()
    ]
    together = _joined(counted)
    by_resource = {r: math.fsum(c.by_resource.get(r, 0.0) for c in costs) for r in RESOURCES}
    fills = sum(_bytes(h.full_plan, s) for h in halves for s in h.full_plan.steps if isinstance(s, Fill))
    total = math.fsum(c.cycles for c in costs) + launching + fills / roofline.DRAM_BYTES
    shares = {r: _rounded(v / least) for r, v in [*by_resource.items(), ("launches", launching)]}
    return {
        "kind": "estimate",
        "basis": COUNTED.format(size=halves[0].full.name),
        "relative_cost": _rounded(total / least),
        "limit": max(shares, key=lambda r: shares[r]),
        "relative_cost_of": shares,
        **_figures(together, code),
        "l2_bytes": round(sum(c.l2_bytes for c in costs)),
        "dram_bytes": 32 * sum(read + written for _, _, read, written in together.touched),
        **common,
        "worst_lines": worst_lines(together, code),
    }


def _least(plan: Plan, size: SizeSpec) -> int:
    """Bytes that must move: the task's own and, with backward, the incoming gradients and those that are wanted."""
    least = size.bytes_moved
    if plan.backward is not None:
        back = size_of(plan, size)
        ends = [p.tensor for p in back.parameters if p.role == "gradient"]
        least += sum(t.nbytes for t in [*ends, *(o.tensor for o in back.outputs)] if t is not None)
    return max(least, 1)


def _joined(counted: tuple[Counts, ...]) -> Counts:
    """All halves as one; backward's steps are numbered after all of forward's."""

    def moved(items: Any, by: int) -> list[Any]:
        return [msgspec.structs.replace(i, step=i.step + by) for i in items]

    return Counts(
        steps=tuple(s for n, c in enumerate(counted) for s in moved(c.steps, n << 32)),
        sites=tuple(s for n, c in enumerate(counted) for s in moved(c.sites, n << 32)),
        touched=tuple((t[0] + (n << 32), *t[1:]) for n, c in enumerate(counted) for t in c.touched),
    )


def _rounded(value: float) -> float:
    return float(f"{min(value, 1e12):.4g}")


def _sizes(judging: Judging, plan: Plan) -> list[Sizes]:
    """For each half: the largest declared size with the same steps; the judged one where there is none."""
    full_size, full_plan = judging.size, plan
    for size in sorted(judging.task.sizes, key=lambda s: -s.bytes_moved):
        found = judging.plans.get(size.name)
        if found is None or size.bytes_moved < judging.size.bytes_moved:
            continue
        if [[_name(s) for s in h.steps] for h in found.halves] == [
            [_name(s) for s in h.steps] for h in plan.halves
        ]:
            full_size, full_plan = size, found
            break
    halves = [Sizes(judging.size, plan, full_size, full_plan)]
    if plan.backward is not None and full_plan.backward is not None:
        small, large = (
            msgspec.structs.replace(size_of(p, s), bytes_moved=s.bytes_moved, flops=s.flops)
            for p, s in ((plan, judging.size), (full_plan, full_size))
        )
        halves.append(Sizes(small, plan.backward, large, full_plan.backward))
    return halves


def _name(step: object) -> str:
    return step.kernel if isinstance(step, Launch) else type(step).__name__


def _sass(judging: Judging, plan: Plan) -> tuple[SassFunction, ...]:
    try:
        return disassemble(judging.built_for(plan).cuda.cubin)
    except JudgeError:  # the audit has said so; vectors are then taken to be whole
        return ()


def _costs(
    built: Built,
    sizes: Sizes,
    counts: Counts,
    code: Mapping[Key, LineAccesses],
    ratios: Mapping[str, float],
) -> dict[int, StepCost]:
    """By step of the plan."""
    # The runner is given no launches of nothing.
    run = [
        i for i, s in enumerate(sizes.plan.steps) if not (isinstance(s, Launch) and 0 in (*s.grid, *s.block))
    ]
    by_step: dict[int, list[SiteCount]] = defaultdict(list)
    for site in counts.sites:
        by_step[site.step].append(site)
    arithmetic = {n: sum(s.weights.fp32 * s.requests for s in sites) for n, sites in by_step.items()}
    busiest = max(arithmetic, key=lambda n: arithmetic[n], default=-1)
    tensors = _tensors(sizes)
    costs: dict[int, StepCost] = {}
    earlier: set[int] = set()
    for step in counts.steps:
        number = run[step.step] if step.step < len(run) else -1
        launch = sizes.full_plan.steps[number] if number >= 0 else None
        if not isinstance(launch, Launch):
            continue
        small, large = _bytes(sizes.plan, sizes.plan.steps[number]), _bytes(sizes.full_plan, launch)
        growth = large / small if small else sizes.moved
        dram = 0.0
        for of, buffer, read, written in counts.touched:
            if of != step.step:
                continue
            before, after = tensors.get(buffer, (1, 1))
            if after <= roofline.L2_KEEPS and buffer in earlier:
                continue
            dram += min(32.0 * (read + written), 2.0 * before + 64) * after / max(before, 1)
        earlier |= {buffer for of, buffer, *_ in counts.touched if of == step.step}
        work = max(growth, sizes.worked) if step.step == busiest else growth
        costs[number] = roofline.cost_of(
            step, by_step[step.step], _facts(built, sizes, number, dram, work, ratios), code
        )
    return costs


def _facts(
    built: Built,
    sizes: Sizes,
    number: int,
    dram: float,
    growth: float,
    ratios: Mapping[str, float],
) -> StepFacts:
    launch, small = sizes.full_plan.steps[number], sizes.plan.steps[number]
    assert isinstance(launch, Launch) and isinstance(small, Launch)
    kernel = built.kernels[launch.kernel]
    threads = launch.block[0] * launch.block[1] * launch.block[2]
    shared = kernel.shared_bytes + launch.shared_bytes
    fits = occupancy(built.cuda.arch, threads, kernel.registers, shared)
    return StepFacts(
        blocks=max(launch.grid[0] * launch.grid[1] * launch.grid[2], 1),
        threads=threads,
        resident_blocks=max(fits.blocks, 1),
        shared_bytes=shared,
        spill_bytes=kernel.spill_bytes,
        dram_bytes=dram,
        growth=max(growth, 1e-6),
        integers=ratios.get(kernel.symbol, math.inf),
        warps_growth=max(_warps(launch) / max(_warps(small), 1), 1e-6),
        shared_grows=launch.shared_bytes > small.shared_bytes,
    )


def _warps(launch: Launch) -> int:
    return math.prod(launch.grid) * -(-math.prod(launch.block) // 32)


def _tensors(sizes: Sizes) -> dict[int, tuple[int, int]]:
    """By buffer of the runner: bytes at the size that was counted and at the one that the estimate is for."""
    same = len(sizes.plan.tensors) == len(sizes.full_plan.tensors)
    found: dict[int, tuple[int, int]] = {}
    for tensor, buffer in layout_of(sizes.plan, sizes.judged, frozenset()).bindings.items():
        if sizes.plan.tensors[tensor].base is not None:
            continue
        before = sizes.plan.tensors[tensor].spec.nbytes
        after = sizes.full_plan.tensors[tensor].spec.nbytes if same else round(before * sizes.moved)
        found[buffer] = (before, after)
    return found


def _figures(counts: Counts, code: Mapping[Key, LineAccesses]) -> dict[str, Any]:
    """Counts of the whole call at the judged size."""
    scale = {s.step: s.scale for s in counts.steps}
    sums: dict[str, float] = defaultdict(float)
    for site in counts.sites:
        by = scale.get(site.step, 1.0)
        requests, sectors, wavefronts = roofline.as_compiled(site, roofline.line_of(site, code))
        if site.kind == "code":
            sums["warp"] += by * site.requests
            sums["lanes"] += by * site.lanes
            sums["divergent"] += by * site.divergent
            for name in ("fp32", "integer", "special", "fp64"):
                sums[name] += by * site.requests * getattr(site.weights, name)
        elif site.atomic:
            sums[f"{site.kind} atomics"] += by * site.lanes
            sums[f"{site.kind} turns"] += by * site.wavefronts
        elif site.kind == "shared":
            sums["wavefronts"] += by * wavefronts
            sums["conflicts"] += by * max(wavefronts - site.ideal * wavefronts / max(site.wavefronts, 1), 0)
        else:
            way = "store" if site.write else "load"
            sums[f"{way} sectors"] += by * sectors
            sums[f"{way} bytes"] += by * min(site.bytes, 32 * sectors)
            sums[f"{way} requests"] += by * requests
    return {
        "load_sectors": round(sums["load sectors"]),
        "load_efficiency": _share(sums["load bytes"], 32 * sums["load sectors"]),
        "store_sectors": round(sums["store sectors"]),
        "store_efficiency": _share(sums["store bytes"], 32 * sums["store sectors"]),
        "shared_wavefronts": round(sums["wavefronts"]),
        "bank_conflicts": round(sums["conflicts"]),
        "active_lanes": _share(sums["lanes"], 32 * sums["warp"]),
        "divergent_branches": round(sums["divergent"]),
        "atomics": {
            "global": round(sum(s.updates for s in counts.steps)),
            "shared": round(sums["shared atomics"]),
            "most_at_one_address": round(max((s.hottest for s in counts.steps), default=0)),
        },
        "warp_instructions": {n: round(sums[n]) for n in ("fp32", "integer", "special", "fp64")},
    }


def _share(part: float, whole: float) -> float:
    return round(min(part / whole, 1.0), 4) if whole else 1.0


def worst_lines(counts: Counts, code: Mapping[Key, LineAccesses], most: int = 3) -> list[dict[str, Any]]:
    """The lines that waste most, by cycles lost: {"line", "what"}."""
    scale = {s.step: s.scale for s in counts.steps}
    lost: dict[tuple[int, str], float] = {}
    for site in counts.sites:
        if not site.line or not site.requests:
            continue
        by = scale.get(site.step, 1.0)
        _, sectors, wavefronts = roofline.as_compiled(site, roofline.line_of(site, code))
        what, waste = "", 0.0
        if site.kind == "code":
            if site.divergent:
                what = f"threads of a warp part {by * site.divergent:,.0f} times"
                waste = site.divergent
        elif site.atomic:
            waste = site.wavefronts - site.requests
            what = f"{site.wavefronts / site.requests:.0f} threads of a warp update one place at a time"
        elif site.kind == "shared":
            waste = wavefronts - site.ideal
            what = (
                f"{wavefronts / max(site.ideal, 1):.0f} threads of a warp meet in one bank of shared memory"
            )
        elif sectors:
            used = min(site.bytes / (32 * sectors), 1.0)
            waste = sectors * (1 - used) / roofline.L1_SECTORS
            what = f"{'stores' if site.write else 'loads'} use {32 * used:.0f} of the 32 bytes of each sector"
        if waste * 4 > site.requests or (site.kind == "code" and waste):
            key = (site.line, what)
            lost[key] = lost.get(key, 0.0) + waste * by
    ordered = sorted(lost, key=lambda k: -lost[k])[:most]
    return [{"line": line, "what": what} for line, what in ordered]


def _bytes(plan: Plan, step: object) -> int:
    """Bytes of all tensors that a step is handed, each once."""
    numbers: set[int] = set()
    if isinstance(step, Fill):
        numbers = {root(plan, step.tensor)}
    elif isinstance(step, Launch):
        for arg in step.args:
            if isinstance(arg, TensorArg):
                numbers.add(root(plan, arg.tensor))
            elif isinstance(arg, PointersArg):
                numbers.update(root(plan, t) for t in arg.tensors)
    return sum(plan.tensors[n].spec.nbytes for n in numbers)
