"""The warning that speed depends on the data: a few blocks on rescaled inputs, compared with the others."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import msgspec

from workbench.judge.worker.timing.blocks import Block

BLOCKS = 4
"""Blocks on rescaled inputs in a comparison; they enter no ratio."""
SLOWER = 0.10


class DataDependence(msgspec.Struct, frozen=True):
    """What rescaled inputs did to the time."""

    candidate: float
    """Time on rescaled inputs over time on plain ones, less 1: 0.12 is 12 % slower."""
    baseline: float
    warning: str
    """One sentence; "" where there is nothing to warn of."""


def data_dependence(plain: Sequence[Block], rescaled: Sequence[Block]) -> DataDependence | None:
    """Compare usable blocks on plain and on rescaled inputs; None where there are no two of either.

    By medians, so that a single disturbed block warns of nothing.
    """
    if min(len(plain), len(rescaled)) < 2:
        return None
    candidate, baseline = (
        median([b.us(side) for b in rescaled]) / median([b.us(side) for b in plain]) - 1
        for side in ("candidate", "baseline")
    )
    warning = ""
    if candidate > SLOWER:
        other = "so is the baseline" if baseline > SLOWER else f"the baseline by {max(baseline, 0):.0%}"
        warning = f"Speed depends on the data: {candidate:.0%} slower on rescaled inputs ({other})."
    return DataDependence(candidate, baseline, warning)
