"""determinism: runs agree bit for bit, no two threads touch memory unordered, and all of a block reach its barriers."""

from __future__ import annotations

from workbench.judge.worker import watching
from workbench.judge.worker.gates.poison import is_wrong, near
from workbench.judge.worker.judging import Judging
from workbench.judge.worker.outcome import Finding
from workbench.judge.worker.results import differing

NOT_SEEN = "races: global and shared accesses were not ordered against each other, only runs compared"


def run(judging: Judging) -> Finding:
    """Run the first case again, on the same poison and canaries."""
    stage = judging.stage(judging.size)
    prepared, plain = judging.first_run()
    again = stage.run(prepared.case, placement=plain.placement)
    judging.runs.append(again)
    watched = judging.watched()
    if races := watched.of("race"):
        return watching.failed("fail", races)
    if watched.why:
        judging.unchecked.append(NOT_SEEN)
    changed = differing(stage, plain, again) or judging.irreproducible
    inactive = watched.of("inactive lane")
    if inactive and (changed is not None or is_wrong(judging)):
        return watching.failed("fail", inactive)
    if judging.float_atomics and near(judging, again):
        return Finding(
            "warn",
            "Atomic additions of floats: the order, and with it the last digits, differ from run to run.",
            {"kernels": list(judging.float_atomics)},
        )
    if judging.arrival and changed is not None and near(judging, again):
        return Finding(
            "warn",
            "Threads use what others have left so far: the order of the sums, and with it the last digits, differ from "
            "run to run.",
            {"kernels": list(judging.arrival)},
        )
    warned = tuple(dict.fromkeys(w for run in judging.runs for w in run.warnings))
    if changed is None and warned:
        return Finding("warn", f"{warned[0][:1].upper()}{warned[0][1:]}.", {"warnings": list(warned)})
    if changed is None and inactive:
        return watching.failed("warn", inactive)
    if changed is None and (same := watched.of("same-value race")):
        return watching.failed("warn", same)
    if changed is None:
        return Finding("pass", "Repeated runs agree bit for bit.")
    name, index = changed
    return Finding(
        "fail",
        f"{name}{list(index) if index else ''} differs between two runs on the same inputs: threads race.",
        {"output": name, "index": list(index)},
    )
