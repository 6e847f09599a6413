"""A judge process that speaks the judge's protocol and does what the candidate's text says, for the engine's tests.

The real judge cannot be made to die, hang or lie on demand, and the engine must hold up under all of it. Words in a
candidate: DIES (exit at once), HANGS (until cancelled), DEAF (hangs and ignores the cancel), SLOW (0.5 s), FAILS,
WARNS, KNOBS, LISTED (has machine code to read). A task file: BROKEN (cannot be loaded), CRASHES (the process ends), ENDLESS (never loads), FORMLESS (never gives its functional
form), ONCE (loads once; the file is then broken), SHIPPED (its signature is softmax's),
INFINITE (its signature has scalars that JSON has no number for), UNLISTED (no candidate has machine code to read).
A candidate with WAITS waits until the file `go` is in SCRIPTED_FOLDER, and with SCRIPTED_FOLDER each judge writes
there which process has which candidate. SCRIPTED_FAULTY names a CUDA_VISIBLE_DEVICES: the judge there dies under every
candidate, and SCRIPTED_ABSENT one where the judge has no device.
It writes a dot to the file SCRIPTED_FREED when it is to give memory back.
With SCRIPTED_CHILDREN in the environment it has three sleeping children, named as the real one's parts are.
Run it by pointing [judge] python of a workbench.toml at a script that executes this file.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from workbench.core.messages import (
    CancelJudging,
    FindFunctionalForm,
    FreeMemory,
    FunctionalFormReady,
    GateTicked,
    Judge,
    Judged,
    JudgeProgress,
    JudgeStarted,
    LoadTask,
    StopJudge,
    TaskFailed,
    TaskReady,
    ToJudge,
)
from workbench.core.plan import Knob
from workbench.core.task import FunctionalForm, Output, Parameter, SizeSpec, TaskInfo
from workbench.core.tensors import contiguous
from workbench.core.verdict import Gate, Verdict, VerdictCandidate, VerdictTask
from workbench.core.wire import read_frame, write_frame

VISIBLE = os.environ.get("CUDA_VISIBLE_DEVICES", "")
cancelled: set[str] = set()
asked: list[ToJudge] = []
news = threading.Condition()


def main() -> None:
    if os.environ.get("SCRIPTED_CHILDREN"):
        for name in ("workbench.runner.compiler", "workbench.runner.host", "planner_process"):
            threading.Thread(target=keep_child, args=(name,), daemon=True).start()
    out = os.dup(1)
    os.dup2(2, 1)
    threading.Thread(target=read, args=(os.dup(0),), daemon=True).start()
    write_frame(out, JudgeStarted(pid=os.getpid(), versions={"judge": "scripted"}))
    write_frame(out, JudgeProgress(text="warming up"))
    task: TaskInfo | None = None
    revision = 0
    while True:
        with news:
            while not asked:
                news.wait()
            message = asked.pop(0)
        match message:
            case LoadTask():
                revision = message.revision
                write_frame(out, JudgeProgress(text="loading the task"))  # as the real one says
                answer = load(message)
                task = answer.info if isinstance(answer, TaskReady) else None
                write_frame(out, answer)
            case Judge():
                write_frame(out, GateTicked(candidate=message.candidate, name="parse"))
                write_frame(out, judge(message, task, revision))
            case FindFunctionalForm():
                if task is not None and "FORMLESS" in task.source:
                    time.sleep(600)
                write_frame(out, FunctionalFormReady(form=FunctionalForm("def f(x): ...", True)))
            case FreeMemory():
                with open(os.environ.get("SCRIPTED_FREED", os.devnull), "a") as file:
                    file.write(".")
            case StopJudge():
                return


def keep_child(name: str) -> None:
    """A sleeping process of this name, started again when it is killed; it ends when the pipe from here does."""
    while True:
        subprocess.Popen([name], executable="/bin/cat", stdin=subprocess.PIPE).wait()


def read(fd: int) -> None:
    while (message := read_frame(fd, ToJudge)) is not None:
        with news:
            if isinstance(message, CancelJudging):
                cancelled.add(message.candidate)
            else:
                asked.append(message)
            news.notify_all()
    os._exit(0)


def load(message: LoadTask) -> TaskReady | TaskFailed:
    text = Path(message.path).read_text()
    if os.environ.get("SCRIPTED_ABSENT", "none") == VISIBLE:
        return TaskFailed(message="There is no such GPU.", device=True)
    if "BROKEN" in text:
        return TaskFailed(message="The task has no Model.", do="Write one.")
    if "ONCE" in text:
        Path(message.path).write_text("BROKEN")
    if "CRASHES" in text:
        os._exit(7)
    if "ENDLESS" in text:
        time.sleep(600)
    x = contiguous((64, 512), "float32")
    name = "x" if "SHIPPED" in text else "unlike_any_shipped"
    parameters = [Parameter(name, name, "input", x)]
    if "INFINITE" in text:
        parameters += [Parameter(n, n, "input", value=float(n)) for n in ("inf", "-inf", "nan")]
    info = TaskInfo(
        name=Path(message.path).stem,
        path=message.path,
        fingerprint=hashlib.sha256(text.encode()).hexdigest(),
        environment=os.environ.get("SCRIPTED_ENVIRONMENT", "here"),
        source=text,
        sources=(message.path,),
        sizes=(SizeSpec("small", {}, tuple(parameters), (Output("out", x),)),),
        derived_small=False,
    )
    return TaskReady(info=info)


def judge(message: Judge, task: TaskInfo | None, revision: int) -> Judged:
    text = message.source.decode(errors="replace")
    assert task is not None
    folder = Path(os.environ.get("SCRIPTED_FOLDER", "."))
    if "SCRIPTED_FOLDER" in os.environ:
        (folder / message.candidate).write_text(str(os.getpid()))
    if "DIES" in text or os.environ.get("SCRIPTED_FAULTY", "none") == VISIBLE:
        sys.stderr.write("killed by its candidate\n")
        sys.stderr.flush()
        os._exit(9)
    if "DEAF" in text:
        time.sleep(600)
    until = time.monotonic() + (600 if "HANGS" in text else 0.5 if "SLOW" in text else 0)
    while time.monotonic() < until or ("WAITS" in text and not (folder / "go").exists()):
        with news:
            news.wait(0.05)
            if message.candidate in cancelled:
                cancelled.discard(message.candidate)
                return Judged(candidate=message.candidate, verdict=None, cancelled=True)
    fails = "FAILS" in text
    gates = [Gate("parse", "pass", "It can be read.")]
    if "WARNS" in text:
        gates.append(Gate("numerics", "warn", "It says so."))
    verdict = Verdict(
        task=VerdictTask(task.name, task.fingerprint, revision),
        candidate=VerdictCandidate(
            message.candidate, hashlib.sha256(message.source).hexdigest(), message.path
        ),
        target="host",
        device={"visible": VISIBLE, "process": str(os.getpid())},
        versions={"judge": "scripted"},
        outcome="fail" if fails else "pass",
        failed_gate="numerics" if fails else None,
        reason="It says so." if fails else "",
        gates=tuple(gates),
        unchecked=("what it says",) if "WARNS" in text else (),
        estimate={"relative_cost": float(len(text))},
        seeds=(time.time_ns(),),  # as with the real one, no two verdicts are the same bytes
    )
    knobs = (Knob("BLOCK", 256, (128, 256, 512)),) if "KNOBS" in text or "tune(" in text else ()
    listed = message.sass and "LISTED" in text and "UNLISTED" not in task.source
    sass = f"/*0000*/ EXIT ;  // {time.time_ns()}" if listed else ""
    return Judged(candidate=message.candidate, verdict=verdict, knobs=knobs, sass=sass)


if __name__ == "__main__":
    main()
