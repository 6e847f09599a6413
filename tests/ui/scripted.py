"""A scripted engine for pilots: real `core` events, folded as the real client folds them; requests are recorded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec

from workbench.core import events as ev
from workbench.core.candidate import VerdictSummary
from workbench.core.errors import SessionError
from workbench.core.locate import LocatedTask
from workbench.core.messages import (
    Answer,
    Attached,
    EngineProgress,
    EventHappened,
    MarkCandidate,
    ReadSource,
    ReadVerdict,
    StopEngine,
    SubmitCandidate,
    ToEngine,
)
from workbench.core.plan import Knob
from workbench.core.session import SessionState, fold
from workbench.core.task import FunctionalForm, Output, Parameter, SizeSpec, TaskInfo
from workbench.core.tensors import TensorSpec
from workbench.core.verdict import (
    Gate,
    KernelResources,
    Resources,
    Seconds,
    Verdict,
    VerdictCandidate,
    VerdictTask,
    encode_verdict,
)
from workbench.ui.app import WorkbenchApp

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ROOT / "workbench" / "archive" / "kernels" / "rmsnorm"
TASK = LocatedTask(str(ROOT / "tasks" / "rmsnorm.py"), "rmsnorm", True)
HOST_GATES = (
    "parse",
    "compile",
    "audit",
    "numerics",
    "precision",
    "poison",
    "inputs_intact",
    "bounds",
    "determinism",
)


def task_info(fingerprint: str = "f1") -> TaskInfo:
    """The task as the judge would describe it."""
    x = TensorSpec((64, 512), "float32", (512, 1))
    parameters = (Parameter("x", "x", "input", x), Parameter("eps", "eps", "attribute", value=1e-6))
    size = SizeSpec("small", {"rows": 64, "cols": 512}, parameters, (Output("out", x),))
    source = Path(TASK.path).read_text()
    return TaskInfo(
        name="rmsnorm",
        path=TASK.path,
        fingerprint=fingerprint,
        environment="e1",
        source=source,
        sources=(TASK.path,),
        sizes=(size,),
        derived_small=False,
    )


def gates(count: int = len(HOST_GATES), failed: str | None = None, evidence: dict[str, object] | None = None):
    """The first gates of a verdict; the last one may be a failure."""
    found = []
    for i, name in enumerate(HOST_GATES[:count]):
        if name == failed:
            found.append(
                Gate(name, "fail", "93 of 32768 elements differ by more than allowed", evidence or {}, 0.41)
            )
            break
        found.append(Gate(name, "pass", f"{name} holds for 12 cases", {}, 0.02 * (i + 1)))
    return tuple(found)


def verdict(
    candidate: str, *, failed: str | None = None, evidence: dict[str, object] | None = None
) -> Verdict:
    """A host verdict as the judge would write it."""
    kernel = KernelResources("rmsnorm", 32, 0, 2048, 0.75, block=(256, 1, 1), limiter="registers")
    return Verdict(
        task=VerdictTask("rmsnorm", "f1", 1),
        candidate=VerdictCandidate(candidate, "0" * 64, f"{candidate}.cu"),
        target="host",
        device={"name": "host"},
        versions={"workbench": "0.1.0", "torch": "2.13.0"},
        outcome="fail" if failed else "pass",
        failed_gate=failed,
        reason="93 of 32768 elements differ by more than allowed" if failed else "",
        gates=gates(failed=failed, evidence=evidence),
        unchecked=("timing: the host shows no speed", "global races between launches"),
        resources=Resources((kernel,), "sm_90a"),
        estimate={"global sectors": 8192, "bank conflicts": 0},
        seconds=Seconds(1.84),
    )


def summary(found: Verdict, *, rank: float | None = None) -> VerdictSummary:
    """What the population shows of it."""
    return VerdictSummary(
        outcome=found.outcome,
        failed_gate=found.failed_gate,
        first_line=found.first_line,
        basis="f1:e1",
        revision=1,
        seconds=found.seconds.total,
        registers=32,
        spill_bytes=0,
        shared_bytes=2048,
        occupancy=0.75,
        unchecked=len(found.unchecked),
        rank=rank,
    )


def started() -> list[ev.Event]:
    """A session whose task is loaded."""
    return [
        ev.SessionStarted(
            task_path=TASK.path, task_name="rmsnorm", version="0.1.0", target="host", arch="sm_90a"
        ),
        ev.TaskLoaded(revision=1, info=task_info()),
    ]


class ScriptedEngine:
    """Implements `ui.link.Link`, `Opening` and `Opener` over a list of events."""

    def __init__(self, events: list[ev.Event] | None = None, *, session: str = "") -> None:
        self.log: list[ev.Event] = []
        self.sources: dict[str, bytes] = {}
        self.verdicts: dict[str, Verdict] = {}
        self.requests: list[ToEngine] = []
        self.refuse: Callable[[ToEngine], str | None] = lambda _: None
        self.opened: list[str] = []
        self.fails_to_start = ""
        self.state = SessionState()
        self.progress = EngineProgress(judge="ready")
        self.session = session
        self.closed: str | None = None
        self._queue: asyncio.Queue[EventHappened | EngineProgress | None] = asyncio.Queue()
        for event in events or []:
            self._log(event)

    # --- as a test drives it

    def say(self, *events: ev.Event) -> None:
        """Events happen."""
        for event in events:
            self._queue.put_nowait(EventHappened(event=self._log(event)))

    def tell(self, progress: EngineProgress) -> None:
        """The engine is busy."""
        self._queue.put_nowait(progress)

    def add(
        self, candidate: str, name: str = "", source: str | bytes = "", **fields: Any
    ) -> ev.CandidateAdded:
        """The event of a candidate with its file."""
        self.sources[candidate] = source.encode() if isinstance(source, str) else source
        given: dict[str, Any] = {"provenance": "human", **fields}
        return ev.CandidateAdded(candidate=candidate, name=name or candidate, sha256=candidate, **given)

    def judged(
        self,
        candidate: str,
        *,
        knobs: tuple[Knob, ...] = (),
        rank: float | None = None,
        listed: bool = True,
        **fields: Any,
    ) -> ev.VerdictReached:
        """The event of a verdict with its file; `listed`: its machine code was kept."""
        found = self.verdicts[candidate] = verdict(candidate, **fields)
        sass = "5a" * 32 if listed else ""
        return ev.VerdictReached(
            candidate=candidate, summary=summary(found, rank=rank), knobs=knobs, sass_sha256=sass
        )

    def die(self, why: str = "the engine ended") -> None:
        """The connection ends."""
        self.closed = why
        self._queue.put_nowait(None)

    def sent(self, kind: type[ToEngine]) -> list[ToEngine]:
        """Requests of a kind, without their numbers."""
        return [r for r in self.requests if isinstance(r, kind)]

    def _log(self, event: ev.Event) -> ev.Event:
        event = msgspec.structs.replace(event, seq=len(self.log) + 1, at=event.at or 1_790_000_000.0)
        self.log.append(event)
        return event

    # --- as the app uses it

    def open(self, task: str) -> ScriptedEngine:
        self.opened.append(task)
        return self

    def reopen(self, session: str) -> ScriptedEngine:
        self.opened.append(session)
        self.closed = None
        self._queue = asyncio.Queue()
        return self

    async def connect(self) -> ScriptedEngine:
        if self.fails_to_start:
            raise SessionError(self.fails_to_start)
        return self

    async def attach(self) -> Attached:
        self.state = fold(self.log)
        self._queue = asyncio.Queue()
        return Attached(state=self.state, session=self.session, version="0.1.0", progress=self.progress)

    async def messages(self) -> AsyncIterator[EventHappened | EngineProgress]:
        while (message := await self._queue.get()) is not None:
            if isinstance(message, EventHappened):
                self.state.apply(message.event)
            else:
                self.progress = message
            yield message

    async def request(self, message: ToEngine) -> Answer:
        self.requests.append(message)
        if self.closed is not None:
            raise SessionError("The engine is gone.")
        if (why := self.refuse(message)) is not None:
            return Answer(request=0, ok=False, message=why)
        match message:
            case ReadSource(candidate=candidate):
                return Answer(request=0, ok=True, data=self.sources[candidate])
            case ReadVerdict(candidate=candidate):
                return Answer(request=0, ok=True, data=encode_verdict(self.verdicts[candidate]))
            case MarkCandidate():
                self.say(
                    ev.CandidateMarked(
                        candidate=message.candidate, mark=message.mark, reason=message.reason, author="ada"
                    )
                )
            case SubmitCandidate():
                new = f"c{len(self.state.candidates) + 1:04}"
                self.say(
                    self.add(
                        new,
                        message.name,
                        message.source,
                        parents=message.parents,
                        origin_path=message.origin_path,
                    )
                )
                await asyncio.sleep(0)
                return Answer(request=0, ok=True, candidate=new)
            case StopEngine():
                self.die("it was asked to end")
        return Answer(request=0, ok=True)

    async def submit_file(self, path: str, *, provenance: str = "human") -> Answer:
        try:
            source = Path(path).read_bytes()
        except OSError as error:
            return Answer(request=0, ok=False, message=f"{path} cannot be read: {error.strerror}.")
        request = SubmitCandidate(
            source=source, name=Path(path).name, provenance=provenance, origin_path=path
        )
        return await self.request(request)

    async def close(self) -> None:
        self.closed = self.closed or "closed by this side"
        self._queue.put_nowait(None)


def kernel(name: str) -> str:
    """A shipped kernel's text."""
    return (KERNELS / f"{name}.cu").read_text()


def three_candidates(engine: ScriptedEngine) -> None:
    """c0001 passed, c0002 failed at a line, c0003 is a child of c0001 and waits."""
    knob = Knob("BLOCK", 256, (128, 256, 512))
    evidence = {"worst": {"index": [3, 17], "expected": 0.5, "actual": 0.75}, "line": 6, "seed": 91}
    child = kernel("warp_per_row").replace("WARPS = tune(8", "WARPS = tune(4")
    for event in (
        *started(),
        engine.add("c0001", "warp-per-row", kernel("warp_per_row"), provenance="archive"),
        engine.add("c0002", "block-per-row", kernel("block_per_row"), provenance="archive"),
        engine.add(
            "c0003",
            "warp-per-row WARPS=4",
            child + "\n// fewer warps\n",
            provenance="tune",
            parents=("c0001",),
        ),
        ev.JudgingStarted(candidate="c0001", revision=1),
        engine.judged("c0001", knobs=(knob,), rank=1.0),
        ev.JudgingStarted(candidate="c0002", revision=1),
        engine.judged("c0002", failed="numerics", evidence=evidence),
    ):
        engine._log(event)


def app_on(engine: ScriptedEngine, **options: Any) -> WorkbenchApp:
    """The app, attached to a scripted engine."""
    return WorkbenchApp(engine, task=TASK, opening=engine, **options)


FORM = FunctionalForm("def forward(x, weight, eps):\n    return x * weight\n", True)
