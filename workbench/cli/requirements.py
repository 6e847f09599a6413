"""`verify --require`: what a right candidate must also be, as far as a verdict of schema 1 can answer it.

A requirement is asked of passing candidates only; what cannot be known (a speed without a GPU) is missed, never met.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec

from workbench.core.errors import UsageError
from workbench.core.verdict import Verdict

MISSED = 4
"""Exit code of a run in which all passed and a requirement was missed (docs/design.md, section 7)."""

_NAME = re.compile(r"[A-Za-z_][\w.-]{0,63}")
_NUMBER = re.compile(r"\d{1,15}")
_BYTES = re.compile(r"(\d{1,15}) ?(B|KiB|MiB|GiB)?")
_UNITS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}

CHOICES = (
    "faster:BASELINE",
    "not-slower:BASELINE",
    "floor:PERCENT",
    "own-kernels",
    "no-warnings",
    "no-spills",
    "registers:N",
    "occupancy:PERCENT",
    "memory:BYTES",
    "scratch:BYTES",
)


class Requirement(msgspec.Struct, frozen=True):
    """One `--require`, understood."""

    text: str
    kind: str
    name: str = ""
    """A baseline."""
    number: int = 0
    """A limit: bytes, registers or percent."""


class Answered(msgspec.Struct, frozen=True):
    """What one verdict says to one requirement."""

    require: str
    met: bool
    reason: str


def understand(text: str) -> Requirement:
    """The requirement that `text` states.

    Raises:
        UsageError: it is none of `CHOICES`.
    """
    kind, colon, value = text.partition(":")
    form = next((c for c in CHOICES if c.partition(":")[0] == kind), None)
    if form is None or bool(colon) != (":" in form):
        raise UsageError(f"{text!r} is no requirement.", do=f"Choose from {', '.join(CHOICES)}.")
    what = form.partition(":")[2]
    if what == "BASELINE":
        if not _NAME.fullmatch(value):
            raise UsageError(f"{text!r} names no baseline.", do=f"Write for example {kind}:compile.")
        return Requirement(text, kind, name=value)
    if what == "BYTES":
        found = _BYTES.fullmatch(value)
        if found is None:
            raise UsageError(f"{text!r} has no number of bytes.", do=f"Write for example {kind}:64MiB.")
        return Requirement(text, kind, number=int(found[1]) * _UNITS[found[2] or ""])
    if what:
        if not _NUMBER.fullmatch(value) or (what == "PERCENT" and int(value) > 100):
            raise UsageError(f"{text!r} has no {what.lower()}.", do=f"Write for example {kind}:50.")
        return Requirement(text, kind, number=int(value))
    return Requirement(text, kind)


def answer(requirement: Requirement, verdict: Verdict) -> Answered:
    """Whether a passing candidate meets `requirement`, and why, in one sentence."""
    met, reason = _ASKED[requirement.kind](requirement, verdict)
    return Answered(requirement.text, met, reason)


def missed(answers: Sequence[Answered]) -> list[Answered]:
    """Those that are not met."""
    return [a for a in answers if not a.met]


_Answer = tuple[bool, str]


def _no_speed(verdict: Verdict) -> str:
    if verdict.target == "host":
        return "this needs a GPU: the host target measures no speed."
    return "the verdict has no timing."


def _speed(requirement: Requirement, verdict: Verdict) -> _Answer:
    if not verdict.timing:
        return False, _no_speed(verdict)
    enough = ("faster",) if requirement.kind == "faster" else ("faster", "same")
    said: list[str] = []
    for timing in verdict.timing:
        baselines = {b.name: b for b in timing.baselines}
        baseline = baselines.get(requirement.name)
        if baseline is None:
            known = ", ".join(baselines) or "none"
            return False, f"no baseline {requirement.name} was timed at {timing.size}; there are: {known}."
        speedup = baseline.speedup
        if speedup is None:
            return False, f"the baseline {requirement.name} is {baseline.status} at {timing.size}."
        figures = f"{speedup.ratio:.2f}x {baseline.name} [{speedup.low:.2f}-{speedup.high:.2f}]"
        if speedup.word not in enough:
            return False, f"{figures} at {timing.size} is {speedup.word}."
        said.append(f"{figures} at {timing.size}")
    return True, f"{', '.join(said)}."


def _floor(requirement: Requirement, verdict: Verdict) -> _Answer:
    if not verdict.timing:
        return False, _no_speed(verdict)
    shares = [t.percent_of_floor for t in verdict.timing if t.percent_of_floor is not None]
    if len(shares) < len(verdict.timing):
        return False, "the floor is not known at every size."
    return min(shares) >= requirement.number, f"it reaches {min(shares):.0f} % of the floor."


def _own_kernels(_: Requirement, verdict: Verdict) -> _Answer:
    for gate in verdict.gates:
        if gate.name == "audit" and "library_steps" in gate.evidence:
            steps = gate.evidence["library_steps"]
            if steps:
                return False, f"it has library steps: {', '.join(map(str, steps))}."
            return True, "all steps are its own kernels or fills."
    return False, "the audit says nothing about library steps."


def _no_warnings(_: Requirement, verdict: Verdict) -> _Answer:
    warned = [f"{g.name} ({g.reason.rstrip('.')})" for g in verdict.gates if g.status == "warn"]
    return not warned, f"warnings of {', '.join(warned)}." if warned else "no gate warns."


def _kernels(requirement: Requirement, verdict: Verdict) -> _Answer:
    kernels = verdict.resources.kernels
    if not kernels:
        return False, "the verdict knows no kernel's resources."
    if requirement.kind == "no-spills":
        spilled = max(k.spill_bytes for k in kernels)
        return spilled == 0, f"{spilled} bytes a thread are spilled." if spilled else "nothing is spilled."
    if requirement.kind == "registers":
        most = max(k.registers for k in kernels)
        return most <= requirement.number, f"it takes {most} registers."
    least = 100 * min(k.occupancy for k in kernels)
    return least >= requirement.number, f"its least occupancy is {least:.0f} %."


def _memory(requirement: Requirement, verdict: Verdict) -> _Answer:
    memory = verdict.memory
    held = memory.peak_bytes if requirement.kind == "memory" else memory.scratch_bytes
    what = "in all" if requirement.kind == "memory" else "of scratch"
    return held <= requirement.number, f"it holds {held} bytes {what} at the judged size."


_ASKED: dict[str, Callable[[Requirement, Verdict], _Answer]] = {
    "faster": _speed,
    "not-slower": _speed,
    "floor": _floor,
    "own-kernels": _own_kernels,
    "no-warnings": _no_warnings,
    "no-spills": _kernels,
    "registers": _kernels,
    "occupancy": _kernels,
    "memory": _memory,
    "scratch": _memory,
}
