"""What can be said of a candidate's cost without a GPU: never a time, only what its plan and cubin show.

`relative_cost` orders candidates of one task on the host: the bytes that its launches are handed over the least the
task must move, a little more for each further launch and for spills. Occupancy is reported and does not count: a
register-blocked product wins with a quarter of the warps. It sees neither how memory is accessed nor how much
arithmetic there is, so many candidates tie, and it is marked an estimate wherever it is shown.
"""

from __future__ import annotations

from typing import Any

from workbench.core.plan import Fill, Launch, Plan, PointersArg, TensorArg
from workbench.core.task import SizeSpec
from workbench.core.verdict import Resources
from workbench.dialect.backward import size_of
from workbench.judge.worker.runs import root

LAUNCH_SHARE = 0.05
"""What a further launch costs, as a share of the whole; a small step that only orders equals."""


def estimate(plan: Plan, size: SizeSpec, resources: Resources) -> dict[str, Any]:
    """Figures and `relative_cost` (no unit, smaller is better, 1 is the least that the task must move)."""
    handed = sum(_bytes(half, step) for half in plan.halves for step in half.steps)
    launches = sum(isinstance(s, Launch) for half in plan.halves for s in half.steps)
    least = max(size.bytes_moved, 1)
    if (
        plan.backward is not None
    ):  # incoming gradients are read once, and as much is written as wants a gradient
        ends = [p.tensor for p in size_of(plan, size).parameters if p.role == "gradient"]
        least += sum(
            t.nbytes for t in [*ends, *(o.tensor for o in size_of(plan, size).outputs)] if t is not None
        )
    occupancy = min((k.occupancy for k in resources.kernels), default=1.0)
    spills = sum(k.spill_bytes for k in resources.kernels)
    cost = handed / least * (1 + LAUNCH_SHARE * (launches - 1)) * (1 + spills / 256)
    return {
        "kind": "estimate",
        "basis": "plan and cubin; no memory access was counted",
        "relative_cost": round(cost, 4),
        "launches": launches,
        "tensor_bytes": handed,
        "least_bytes": least,
        "lowest_occupancy": occupancy,
        "spill_bytes": spills,
    }


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
