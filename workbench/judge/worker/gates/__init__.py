"""The gates, in the order in which they run; each module is one gate with a `run(judging) -> Finding`.

A gate answers with a finding, or raises: `Faulted` (the candidate's run was stopped, which fails the gate that the
fault belongs to) or `CannotJudge` (outcome `error`). The first fail ends the verdict; what it was caused by is then
looked for in the more specific gates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from workbench.judge.worker.judging import Judging
    from workbench.judge.worker.outcome import Finding


class GateRun(Protocol):
    """One gate: reads what earlier gates left in `judging`, leaves what later ones need, and answers."""

    def __call__(self, judging: Judging) -> Finding: ...


def in_order() -> dict[str, GateRun]:
    """Every gate by name, in order (`core.verdict.GATES`)."""
    from workbench.judge.worker.gates import (
        audit,
        bounds,
        build,
        determinism,
        inputs_intact,
        needs_gpu,
        numerics,
        parse,
        poison,
        precision,
        shapes,
    )

    return {
        "parse": parse.run,
        "compile": build.run,
        "audit": audit.run,
        "numerics": numerics.run,
        "precision": precision.run,
        "poison": poison.run,
        "inputs_intact": inputs_intact.run,
        "bounds": bounds.run,
        "determinism": determinism.run,
        "shapes": shapes.run,
        "timing": needs_gpu.run,
        "floor": needs_gpu.run,
        "recheck": needs_gpu.run,
    }
