"""Messages between the engine and its judge, and between the engine and its clients.

They travel as `core.wire` frames. State changes are `core.events`; what is here is either a request, an answer, or
live progress that nobody needs to keep (gate ticks).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from workbench.core.candidate import CandidateId, Mark
from workbench.core.events import Event
from workbench.core.plan import Diagnostic, Knob
from workbench.core.session import SessionState
from workbench.core.task import FunctionalForm, TaskInfo
from workbench.core.verdict import Gate, Target, Verdict

# --- to the judge ---------------------------------------------------------------------------------------------


class LoadTask(msgspec.Struct, frozen=True, kw_only=True, tag="load_task"):
    """Execute the task file and find its signature; answered by `TaskReady` or `TaskFailed`."""

    path: str
    """A .py file, a folder or "pkg.module:Class"."""
    target: Target
    arch: str | None = None
    timeout_s: float | None = None
    """Limit of one launch of a candidate; None takes the target's default."""
    revision: int = 1


class Judge(msgspec.Struct, frozen=True, kw_only=True, tag="judge"):
    """Judge one candidate; answered by any number of `GateTicked`, then one `Judged`."""

    candidate: CandidateId
    source: bytes
    """The file's bytes, whatever they are: garbage is a candidate that fails `parse`."""
    path: str = ""
    """How diagnostics name it."""
    timing: bool = True
    seeds: tuple[int, ...] = ()
    """An earlier verdict's, of which the first draws all others again; () draws from the operating system. The verdict
    is then marked as a reproduction."""
    sass: bool = False
    """Whether the answer is to carry the machine code as text."""


class DebugCandidate(msgspec.Struct, frozen=True, kw_only=True, tag="debug_candidate"):
    """Run a candidate once with printf and assert allowed; answered by one `Debugged`, and never by a verdict."""

    candidate: CandidateId
    source: bytes
    path: str = ""


class WriteStandalone(msgspec.Struct, frozen=True, kw_only=True, tag="write_standalone"):
    """Write a candidate as a program of its own; answered by one `StandaloneWritten`. Nothing is judged or run."""

    candidate: CandidateId
    source: bytes
    path: str = ""
    folder: str
    """Absolute, there already and empty, on the worker's own machine."""
    size: str = ""
    """A size that the task declares, also one that the target never runs; "" the judged one."""
    case: str = "random"
    """"random" or a hard case of the task's."""
    seed: int | None = None
    """Draws the inputs; None: from the operating system."""


class CancelJudging(msgspec.Struct, frozen=True, kw_only=True, tag="cancel_judging"):
    """Stop with the candidate as soon as possible; answered by `Judged` with `cancelled`, if it was still judged."""

    candidate: CandidateId


class FindFunctionalForm(msgspec.Struct, frozen=True, kw_only=True, tag="find_functional_form"):
    """Stage 1 for the loaded task; answered by `FunctionalFormReady`. Takes seconds; ask when idle."""


class FreeMemory(msgspec.Struct, frozen=True, kw_only=True, tag="free_memory"):
    """Give back what is kept for speed alone, since nothing was judged for a while. Not answered."""


class StopJudge(msgspec.Struct, frozen=True, kw_only=True, tag="stop_judge"):
    """End the worker and everything it started."""


ToJudge = (
    LoadTask
    | Judge
    | DebugCandidate
    | WriteStandalone
    | CancelJudging
    | FindFunctionalForm
    | FreeMemory
    | StopJudge
)

# --- from the judge -------------------------------------------------------------------------------------------


class JudgeStarted(msgspec.Struct, frozen=True, kw_only=True, tag="judge_started"):
    """The worker runs; torch may still be importing."""

    pid: int
    versions: dict[str, str]


class JudgeProgress(msgspec.Struct, frozen=True, kw_only=True, tag="judge_progress"):
    """What it is busy with besides a candidate: "importing torch", "loading the task", "fp64 reference"."""

    text: str


class TaskReady(msgspec.Struct, frozen=True, kw_only=True, tag="task_ready"):
    info: TaskInfo


class TaskFailed(msgspec.Struct, frozen=True, kw_only=True, tag="task_failed"):
    """One sentence on what is wrong with the task, and what to do."""

    message: str
    do: str = ""
    device: bool = False
    """The task may be right: this judge has no device or target for it, and another judge may."""


class GateTicked(msgspec.Struct, frozen=True, kw_only=True, tag="gate_ticked"):
    """A gate began (`gate` None) or ended."""

    candidate: CandidateId
    name: str
    gate: Gate | None = None


class Judged(msgspec.Struct, frozen=True, kw_only=True, tag="judged"):
    candidate: CandidateId
    verdict: Verdict | None
    """None: cancelled."""
    cancelled: bool = False
    knobs: tuple[Knob, ...] = ()
    sass: str = ""
    """The machine code that the audit read, as text for a person; "" where it was not asked for or not audited."""


class Printed(msgspec.Struct, frozen=True):
    """One line that device code printed; hostile text."""

    text: str
    kernel: str = ""
    """The function that printed it; "" where that is not known."""
    block: tuple[int, int, int] | None = None
    thread: tuple[int, int, int] | None = None
    line: int = 0
    """In the candidate's file."""


class Differing(msgspec.Struct, frozen=True):
    """One element that is not what it should be."""

    output: str
    index: tuple[int, ...]
    expected: str
    got: str


class Debugged(msgspec.Struct, frozen=True, kw_only=True, tag="debugged"):
    """What one run of a candidate showed. It proves nothing."""

    candidate: CandidateId
    ran: bool
    """To its end; else `stopped` says why not."""
    stopped: str = ""
    diagnostics: tuple[Diagnostic, ...] = ()
    """Why it was not run, or the compiler's warnings."""
    printed: tuple[Printed, ...] = ()
    dropped_bytes: int = 0
    """Printed beyond what is kept."""
    differing: tuple[Differing, ...] = ()
    """The first of them, in order."""
    wrong: int = 0
    """Elements that differ, in all."""
    elements: int = 0
    notes: tuple[str, ...] = ()
    """Sentences: memory written outside the buffers, inputs changed, the task's own check."""
    seed: int = 0
    """Drew the inputs."""
    size: str = ""


class StandaloneWritten(msgspec.Struct, frozen=True, kw_only=True, tag="standalone_written"):
    """The files of a standalone program are there, or why not."""

    candidate: CandidateId
    written: bool
    stopped: str = ""
    """One sentence on why there is no program; what lies in the folder then is of no use."""
    whose: Literal["candidate", "request", "judge"] = "candidate"
    """Where the cause lies: in the file, in what was asked for (size, case, folder), or in the judge."""
    diagnostics: tuple[Diagnostic, ...] = ()
    size: str = ""
    seed: int = 0
    arch: str = ""
    kernels: tuple[str, ...] = ()
    steps: int = 0
    nbytes: int = 0
    """Of all files."""


class FunctionalFormReady(msgspec.Struct, frozen=True, kw_only=True, tag="functional_form_ready"):
    form: FunctionalForm


FromJudge = (
    JudgeStarted
    | JudgeProgress
    | TaskReady
    | TaskFailed
    | GateTicked
    | Judged
    | Debugged
    | StandaloneWritten
    | FunctionalFormReady
)

# --- client to engine -----------------------------------------------------------------------------------------


class _Request(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    request: int = 0
    """Echoed in the `Answer`."""


class Attach(_Request, frozen=True, kw_only=True, tag="attach"):
    """First message of a client; answered by `Attached`, then events."""

    author: str
    version: str


class MarkCandidate(_Request, frozen=True, kw_only=True, tag="mark_candidate"):
    candidate: CandidateId
    mark: Mark | None
    reason: str = ""


class SubmitCandidate(_Request, frozen=True, kw_only=True, tag="submit_candidate"):
    """Add a candidate. The answer carries its id; a duplicate is added and never judged."""

    source: bytes
    name: str
    provenance: str = "human"
    parents: tuple[CandidateId, ...] = ()
    origin_path: str | None = None
    note: str = ""


class VerifyAgain(_Request, frozen=True, kw_only=True, tag="verify_again"):
    candidate: CandidateId


class TuneCandidate(_Request, frozen=True, kw_only=True, tag="tune_candidate"):
    """Sweep its knobs; refused where it has none."""

    candidate: CandidateId


class CancelCandidate(_Request, frozen=True, kw_only=True, tag="cancel_candidate"):
    candidate: CandidateId
    reason: str = ""


class ReadSource(_Request, frozen=True, kw_only=True, tag="read_source"):
    """Answered by an `Answer` whose `data` is the candidate's file."""

    candidate: CandidateId


class ReadVerdict(_Request, frozen=True, kw_only=True, tag="read_verdict"):
    """Answered by an `Answer` whose `data` is verdicts/<id>.json."""

    candidate: CandidateId


class StopEngine(_Request, frozen=True, kw_only=True, tag="stop_engine"):
    """End the engine and its judge once events are on disk; refused while another client is attached unless `force`."""

    force: bool = False


ToEngine = (
    Attach
    | MarkCandidate
    | SubmitCandidate
    | VerifyAgain
    | TuneCandidate
    | CancelCandidate
    | ReadSource
    | ReadVerdict
    | StopEngine
)

# --- engine to client -----------------------------------------------------------------------------------------


class Attached(msgspec.Struct, frozen=True, kw_only=True, tag="attached"):
    """The state so far; every event after `state.seq` follows as `EventHappened`."""

    state: SessionState
    session: str
    """The session's folder, absolute."""
    version: str
    progress: EngineProgress


class EventHappened(msgspec.Struct, frozen=True, kw_only=True, tag="event_happened"):
    event: Event


JudgeWord = Literal["starting", "loading", "ready", "restarting", "stopped"]


class BeingJudged(msgspec.Struct, frozen=True):
    """A candidate that a judge has now."""

    candidate: CandidateId
    gates: tuple[Gate, ...] = ()
    """Gates that ended."""
    gate: str | None = None
    """The gate that runs now."""


class EngineProgress(msgspec.Struct, frozen=True, kw_only=True, tag="engine_progress"):
    """Live and not kept: what the engine is doing now."""

    activity: str = ""
    """"importing torch", "judging c0003, c0004", "" when idle."""
    judging: tuple[BeingJudged, ...] = ()
    """One for each judge that has a candidate."""
    queued: int = 0
    judge: JudgeWord = "starting"
    """Of several judges the one that is furthest."""
    judges: int = 1
    """How many judges the session has, those included that were taken out."""
    working: int = 0
    """How many of them have the task loaded."""

    def of(self, candidate: CandidateId) -> BeingJudged | None:
        """How far the judge is that has `candidate`; None where none has it."""
        return next((one for one in self.judging if one.candidate == candidate), None)


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag="answer"):
    """To the request of that number."""

    request: int
    ok: bool
    message: str = ""
    """When refused: one sentence that says why and what to do. When done: what happened, if worth a line."""
    candidate: CandidateId | None = None
    data: bytes = b""


FromEngine = Attached | EventHappened | EngineProgress | Answer
