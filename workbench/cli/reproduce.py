"""`verify --reproduce VERDICT.json`: the same draws again, and what is the same and what is not.

A verdict names its candidate by its bytes, its task by a fingerprint and its draws by seeds. Another candidate is a
wrong command line, another task cannot be compared; other versions are judged, and said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from workbench.cli.candidates import CandidateFile, read_candidate
from workbench.core.errors import JudgeError, UsageError
from workbench.core.locate import EVENT_LOG, LocatedTask, is_session, locate_task
from workbench.core.task import TaskInfo
from workbench.core.verdict import Gate, Verdict, decode_verdict

MAX_BYTES = 64 << 20
LONGEST_S = 3600.0
"""A recorded launch limit above this is not taken over."""
_INCIDENTAL = ("cached",)
"""Evidence that tells of the machine's state, not of the candidate."""
_LISTED = 12


class Recorded(msgspec.Struct, frozen=True):
    """A verdict to reproduce, with the task and the file that it is about."""

    verdict: Verdict
    task: LocatedTask
    file: CandidateFile

    @property
    def seeds(self) -> tuple[int, ...]:
        """To judge with; one that ended before the first draw gets a root that stands for none."""
        return self.verdict.seeds or (0,)

    @property
    def arch(self) -> str | None:
        """The architecture that it was compiled for."""
        arch = self.verdict.device.get("arch")
        return arch if isinstance(arch, str) and arch else None

    @property
    def launch_limit_s(self) -> float | None:
        """Seconds a launch was allowed; None: the target's default."""
        limit = self.verdict.device.get("launch_limit_s")
        # A file from elsewhere: no limit that would let a candidate run on for days.
        return float(limit) if isinstance(limit, int | float) and 0 < limit <= LONGEST_S else None

    def same_task(self, info: TaskInfo) -> None:
        """Raises JudgeError where the task as loaded is not the one that was judged against."""
        if info.fingerprint != self.verdict.task.fingerprint:
            raise JudgeError(
                f"The task changed since this verdict: its fingerprint was {self.verdict.task.fingerprint[:12]}, "
                f"{info.name} has {info.fingerprint[:12]}.",
                do="Restore the task's files as they were, or verify the candidate anew.",
            )


class Compared(msgspec.Struct, frozen=True):
    """A recorded verdict beside its reproduction."""

    reproduced: bool
    """Outcome and failed gate are the same, on the same draws."""
    same: tuple[str, ...]
    differs: tuple[str, ...]
    exit_code: int
    """0 reproduced, 1 not, 3 not judged, or not comparable since versions differ."""

    @property
    def headline(self) -> str:
        """The line that a person reads first."""
        if not self.reproduced:
            return "NOT REPRODUCED" if self.exit_code == 1 else "NOT COMPARABLE"
        return "REPRODUCED" if not self.differs else "REPRODUCED, with differences"


def recorded(path: Path, task: str | None, candidates: Sequence[str]) -> Recorded:
    """Read a verdict and find what it is about: as named, else in its session, else at the path that it records.

    Raises:
        UsageError: the file is no verdict, or the candidate is missing or not the one that it is about.
    """
    if len(candidates) > 1:
        raise UsageError("--reproduce takes one candidate.", do="Name the one that the verdict is about.")
    lines = _read_verdicts(path)
    folder = path.resolve().parent.parent
    in_session = path.resolve().parent.name == "verdicts" and is_session(folder)
    if candidates:
        file = read_candidate(Path(candidates[0]))
    elif in_session:
        file = read_candidate(folder / "candidates" / f"{path.stem}.cu")
    elif len(lines) == 1 and lines[0].candidate.path:
        file = read_candidate(Path(lines[0].candidate.path))
    else:
        raise UsageError("No candidate is named.", do="Name the file that the verdict is about.")
    digest = sha256(file.source).hexdigest()
    fitting = [v for v in lines if v.candidate.sha256 == digest]
    if not fitting:
        raise UsageError(
            f"{file.path} is not the file of this verdict: its sha256 is {digest[:12]}, "
            f"the verdict's {lines[0].candidate.sha256[:12] or 'is unknown'}.",
            do="Restore the file as it was, or verify it anew.",
        )
    if task is None and not in_session:
        raise UsageError("No task is named.", do="Name the task that the verdict is about.")
    located = locate_task(task) if task is not None else _task_of(folder)
    return Recorded(fitting[0], located, file)


def compare(old: Verdict, new: Verdict) -> Compared:
    """What is the same in a reproduction, and what differs, in sentences."""
    same: list[str] = []
    differs: list[str] = []
    outcome = _outcome(old) == _outcome(new)
    if outcome:
        same.append(f"outcome: {_outcome(new)}")
    else:
        differs.append(
            f"outcome: recorded {_outcome(old)} ({old.reason}), now {_outcome(new)} ({new.reason})"
        )
    draws = len(new.seeds)
    drawn = _begins(old.seeds, new.seeds)
    if old.seeds == new.seeds:
        same.append(f"draws: {draws} seeds" if draws else "draws: none were needed")
    elif not old.seeds:
        differs.append(f"draws: none were recorded, {draws} now")
    elif drawn:
        differs.append(
            f"draws: {len(old.seeds)} seeds then, {draws} now, since another gate ended the verdict"
        )
    else:
        differs.append("draws: this version of workbench draws differently from these seeds")
    _gates(old, new, same, differs)
    for what, was, now in (("resources", old.resources, new.resources), ("memory", old.memory, new.memory)):
        (same if was == now else differs).append(what if was == now else f"{what}: {was}, now {now}")
    versions = _changes(old.versions, new.versions)
    device = _changes(_machine(old), _machine(new))
    same += [name for name, found in (("versions", versions), ("machine", device)) if not found]
    differs += [f"version of {text}" for text in versions] + [f"machine: {text}" for text in device]
    incomparable = not drawn or new.outcome == "error" or bool(versions)
    reproduced = outcome and drawn
    code = 0 if reproduced else 3 if incomparable else 1
    return Compared(reproduced, tuple(same), tuple(differs), code)


def _outcome(verdict: Verdict) -> str:
    return f"{verdict.outcome} at {verdict.failed_gate}" if verdict.failed_gate else verdict.outcome


def _begins(one: Sequence[int], two: Sequence[int]) -> bool:
    shared = min(len(one), len(two))
    return list(one[:shared]) == list(two[:shared])


def _gates(old: Verdict, new: Verdict, same: list[str], differs: list[str]) -> None:
    was = {gate.name: gate for gate in old.gates}
    now = {gate.name: gate for gate in new.gates}
    agreed: list[str] = []
    for name in dict.fromkeys([*was, *now]):
        one, two = was.get(name), now.get(name)
        if one is None or two is None:
            differs.append(f"gate {name}: {'ran then, not now' if two is None else 'ran now, not then'}")
        elif one.status == two.status == "skipped":
            agreed.append(name)
        else:
            changes = _gate_changes(one, two)
            agreed += [name] if not changes else []
            differs += [f"gate {name}: {change}" for change in changes]
    if agreed:
        same.append(f"status, reason and evidence of {len(agreed)} gates: {', '.join(agreed)}")


def _gate_changes(one: Gate, two: Gate) -> list[str]:
    if one.status != two.status:
        return [f"{one.status} ({one.reason}), now {two.status} ({two.reason})"]
    changes = _changes(_facts(one), _facts(two))
    return changes or ([f"{one.reason!r}, now {two.reason!r}"] if one.reason != two.reason else [])


def _facts(gate: Gate) -> dict[str, Any]:
    # Through JSON, as the recorded one went: a tuple is a list then.
    facts: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(gate.evidence))
    return {name: value for name, value in facts.items() if name not in _INCIDENTAL}


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    found = [
        f"{name} {_short(old.get(name))}, now {_short(new.get(name))}"
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]
    return found[:_LISTED]


def _short(value: Any) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 120 else text[:117] + "..."


def _machine(verdict: Verdict) -> dict[str, Any]:
    return {name: value for name, value in verdict.device.items() if name != "cores"}


def _read_verdicts(path: Path) -> list[Verdict]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{path} cannot be read: {why}.", do="Name a verdict's JSON file.") from None
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path} is over {MAX_BYTES >> 20} MiB.", do="Name a verdict's JSON file.")
    try:
        try:
            found = [decode_verdict(data)]
        except msgspec.DecodeError:
            found = [decode_verdict(line) for line in data.splitlines() if line.strip()]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(
            f"{path} is no verdict: {str(error)[:200]}.", do="Name what `workbench verify --json` printed."
        ) from None
    if not found:
        raise UsageError(f"{path} is empty.", do="Name what `workbench verify --json` printed.")
    for verdict in found:
        if verdict.schema != 1:
            raise UsageError(
                f"{path} is a verdict of schema {verdict.schema}.", do="This version reads schema 1."
            )
        if any(not 0 <= seed < 1 << 63 for seed in verdict.seeds):
            raise UsageError(f"{path} has a seed that is out of range.", do="Use the verdict as it was made.")
    return found


def _task_of(session: Path) -> LocatedTask:
    from workbench.core.session import fold
    from workbench.engine.log import read_log

    state = fold(read_log(session / EVENT_LOG).events)
    if state.started is None:
        raise UsageError(f"{session} names no task.", do="Name the task before --reproduce.")
    return locate_task(state.started.task_path)
