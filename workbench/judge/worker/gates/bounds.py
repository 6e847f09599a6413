"""bounds: no access outside the buffers.

Every run checks the canaries on both sides of every buffer. Runs alternate between buffers that end at the last
mapped byte and buffers that begin at the first, so that one read too far ends in a fault. The instrumented run checks
each access against the buffer's exact size, and each shared variable's.
"""

from __future__ import annotations

from collections.abc import Sequence

from workbench.judge.worker import watching
from workbench.judge.worker.judging import Judging
from workbench.judge.worker.outcome import Finding
from workbench.judge.worker.runs import Run

ALIGNED = 16
SLACK = "reads of the up to 15 bytes that a buffer's alignment leaves behind its end"


def run(judging: Judging) -> Finding:
    """Look at the canaries of every run so far; make a run where one of the placements has not been seen."""
    seen = {result.placement for result in judging.runs}
    stage = judging.stage(judging.size)
    for placement in ("end", "start"):
        if placement not in seen:
            prepared, _ = judging.first_run()
            judging.runs.append(stage.run(prepared.case, placement=placement, salt=2))
    finding = damaged(judging.runs)
    if finding is not None:
        return finding
    watched = judging.watched()
    if outside := watched.of("out of bounds"):
        return watching.failed("fail", outside)
    if watched.why and any(spec.nbytes % ALIGNED for spec in stage.buffers):
        judging.unchecked.append(SLACK)
    return Finding(
        "pass",
        f"No access outside the buffers in {len(judging.runs)} runs with both placements.",
        {"runs": len(judging.runs), "placements": ["end", "start"]},
    )


def damaged(runs: Sequence[Run]) -> Finding | None:
    """A fail where any run overwrote a canary."""
    for result in runs:
        for damage in result.damage:
            side = "past its end" if damage.side == "after" else "before its start"
            return Finding(
                "fail",
                f"Memory {side} of {damage.buffer} was written, at byte {damage.offset}.",
                {
                    "buffer": damage.buffer,
                    "byte_offset": damage.offset,
                    "side": damage.side,
                    "case": result.case,
                    "places": len(result.damage),
                },
            )
    return None
