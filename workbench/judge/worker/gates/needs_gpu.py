"""timing, floor and recheck on the host target: skipped, since nothing here says how fast a GPU is."""

from __future__ import annotations

from workbench.judge.worker.judging import Judging
from workbench.judge.worker.outcome import Finding


def run(judging: Judging) -> Finding:
    """Say so."""
    return Finding("skipped", "needs GPU" if judging.request.timing else "left out with --no-timing")
