"""inputs_intact: inputs and parameters are what they were, after every run."""

from __future__ import annotations

from workbench.judge.worker.judging import Judging
from workbench.judge.worker.outcome import Finding


def run(judging: Judging) -> Finding:
    """Read what every run so far found; on the host target the runner also maps them read-only."""
    for result in judging.runs:
        if result.changed:
            names = ", ".join(result.changed)
            return Finding(
                "fail",
                f"{names} changed, though the reference does not write it.",
                {"changed": result.changed},
            )
    return Finding(
        "pass",
        f"Inputs and parameters are unchanged after {len(judging.runs)} runs, and were mapped read-only.",
    )
