"""The verdict, schema 1 (docs/design.md, section 6), and its first line."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Outcome = Literal["pass", "fail", "error"]
GateStatus = Literal["pass", "fail", "warn", "skipped"]
Target = Literal["cuda", "host"]
Word = Literal["faster", "slower", "same", "undecided"]

GATES: tuple[str, ...] = (
    "parse",
    "compile",
    "audit",
    "numerics",
    "precision",
    "poison",
    "inputs_intact",
    "bounds",
    "determinism",
    "shapes",
    "timing",
    "floor",
    "recheck",
)
"""In the order in which they run (docs/judge.md)."""


class VerdictTask(msgspec.Struct, frozen=True):
    name: str
    fingerprint: str
    revision: int


class VerdictCandidate(msgspec.Struct, frozen=True):
    id: str
    sha256: str
    path: str
    knobs: dict[str, int | float | bool | str] = {}


class Gate(msgspec.Struct, frozen=True):
    """What one gate established."""

    name: str
    status: GateStatus
    reason: str
    """One sentence."""
    evidence: dict[str, Any] = {}
    seconds: float = 0.0


class KernelResources(msgspec.Struct, frozen=True):
    name: str
    registers: int
    spill_bytes: int
    shared_bytes: int
    """Static plus the plan's dynamic, bytes a block."""
    occupancy: float
    """Theoretical: active warps over the most an SM holds, 0 to 1."""
    constant_bytes: int = 0
    block: tuple[int, int, int] = (1, 1, 1)
    limiter: str = ""
    """What holds the occupancy down: "registers", "shared memory", "warps", "blocks"."""


class Resources(msgspec.Struct, frozen=True):
    kernels: tuple[KernelResources, ...] = ()
    arch: str = ""


class Interval(msgspec.Struct, frozen=True):
    """Microseconds, with a 95 % interval."""

    median: float
    low: float
    high: float


class Speedup(msgspec.Struct, frozen=True):
    """Baseline over candidate: above 1 the candidate is faster."""

    ratio: float
    low: float
    high: float
    word: Word
    delta: float | None = None
    """The margin that the word was held to; 0.01 is 1 %. None in verdicts that are older than this field."""
    level: float = 0.05
    """How often such an interval misses the true ratio, looks included; smaller in a confirmation."""
    blocks: int = 0
    """Blocks that the interval rests on."""
    dropped: dict[str, int] = {}
    """Blocks measured and not used, by reason."""
    why: str = ""
    """One sentence where the word is "undecided" for another reason than its interval."""


class BaselineTiming(msgspec.Struct, frozen=True):
    name: str
    status: Literal["ok", "pending", "failed"]
    us: Interval | None = None
    speedup: Speedup | None = None
    note: str = ""


class Timing(msgspec.Struct, frozen=True):
    """Filled on the `cuda` target only; a host verdict never shows a speed."""

    size: str
    kind: Literal["screening", "confirmation"]
    candidate_us: Interval
    floor_us: float | None
    percent_of_floor: float | None
    own_kernel_share: float
    delta: float
    """The largest margin among the baselines'."""
    blocks: int
    """Blocks that `candidate_us` rests on."""
    baselines: tuple[BaselineTiming, ...] = ()
    delta_from: str = ""
    """Where the margin comes from, in words: a calibration of this device, or the default and why."""
    confirmation: int = 0
    """Which confirmation of its session and task this is, from 1; 0 in a screening."""
    batch: int = 1
    """Calls timed as one, either side alike."""
    warnings: tuple[str, ...] = ()
    """A sentence each: that speed depends on the data, that a ring was shortened."""


class Memory(msgspec.Struct, frozen=True):
    peak_bytes: int = 0
    scratch_bytes: int = 0
    saved_bytes: int = 0


class Seconds(msgspec.Struct, frozen=True):
    total: float = 0.0
    by_gate: dict[str, float] = {}


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the judge established about one candidate; anyone can reproduce it from its seeds."""

    schema: int = 1
    task: VerdictTask
    candidate: VerdictCandidate
    target: Target
    device: dict[str, Any]
    versions: dict[str, str]
    outcome: Outcome
    failed_gate: str | None = None
    reason: str = ""
    gates: tuple[Gate, ...] = ()
    unchecked: tuple[str, ...] = ()
    resources: Resources = Resources()
    estimate: dict[str, Any] | None = None
    timing: tuple[Timing, ...] = ()
    memory: Memory = Memory()
    seeds: tuple[int, ...] = ()
    seconds: Seconds = Seconds()
    gradients: tuple[str, ...] = ()
    """Paths whose gradients were judged; empty where the candidate has no `backward`."""
    own_kernel_share: float | None = None
    """Share of GPU time in the candidate's own kernels; null where it was not measured."""
    reproduction: bool = False
    """Made with given seeds, which the candidate's author may have known: shows an older verdict again, is no new one."""

    @property
    def first_line(self) -> str:
        """The line that a person reads first."""
        if self.outcome == "error":
            return f"ERROR {self.reason}"
        if self.outcome == "fail":
            return f"FAIL {self.failed_gate}: {self.reason}"
        return "PASS " + ", ".join(self._claims())

    def _claims(self) -> list[str]:
        claims: list[str] = []
        for timing in self.timing[:1]:
            for baseline in timing.baselines:
                if baseline.speedup is None:
                    continue
                s = baseline.speedup
                claims.append(f"{s.ratio:.2f}x {baseline.name} [{s.low:.2f}-{s.high:.2f}]")
            if timing.percent_of_floor is not None:
                claims.append(f"{timing.percent_of_floor:.0f} % of floor")
        passed = sum(g.status in ("pass", "warn") for g in self.gates)
        warned = [g.name for g in self.gates if g.status == "warn"]
        if not self.timing:
            both = ", forward and backward" if self.gradients else ""
            claims.append(f"{passed} gates on {self.target}{both}, speed needs GPU")
        if warned:
            claims.append(f"warns: {', '.join(warned)}")
        if self.unchecked:
            claims.append(f"{len(self.unchecked)} unchecked")
        if self.reproduction:
            claims.append("a reproduction")
        return claims


encode_verdict = msgspec.json.Encoder().encode
decode_verdict = msgspec.json.Decoder(Verdict).decode
