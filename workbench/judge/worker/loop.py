"""The judge's message loop: one thread reads, one works.

The reading thread acts at once on what cannot wait (cancel, stop) by interrupting the processes that the working
thread waits for; everything else queues up in order.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
import traceback

from workbench.core.candidate import CandidateId
from workbench.core.errors import DeviceError, TaskError, WorkbenchError
from workbench.core.messages import (
    CancelJudging,
    DebugCandidate,
    Debugged,
    FindFunctionalForm,
    FreeMemory,
    FromJudge,
    FunctionalFormReady,
    GateTicked,
    Judge,
    Judged,
    JudgeProgress,
    JudgeStarted,
    LoadTask,
    StandaloneWritten,
    StopJudge,
    TaskFailed,
    TaskReady,
    ToJudge,
    WriteStandalone,
)
from workbench.core.task import FunctionalForm
from workbench.core.verdict import Gate
from workbench.core.wire import FrameError, read_frame, write_frame
from workbench.judge.worker.bench import Bench
from workbench.judge.worker.cancelled import Cancelled
from workbench.judge.worker.versions import versions

STOP_GRACE_S = 1.0
"""How long a stopped worker may take to leave a gate by itself before it is ended."""


class Worker:
    """Reads `ToJudge` frames from `incoming`, writes `FromJudge` frames to `outgoing` (file descriptors)."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._work: queue.Queue[ToJudge] = queue.Queue()
        self._writing = threading.Lock()
        self._guard = threading.Lock()
        self._current: CandidateId | None = None
        self._waiting: list[CandidateId] = []
        self._cancelled: set[CandidateId] = set()
        self._stopping = False
        self._bench: Bench | None = None

    def serve(self) -> int:
        """Work until told to stop, or until nothing more can be done; returns the exit code."""
        self._send(JudgeStarted(pid=os.getpid(), versions=versions()))
        threading.Thread(target=self._read, name="judge-reader", daemon=True).start()
        self._send(JudgeProgress(text="importing torch"))
        self._bench = Bench(progress=lambda text: self._send(JudgeProgress(text=text)))
        try:
            self._bench.warm_up()
            while True:
                message = self._work.get()
                if isinstance(message, StopJudge):
                    return 0
                self._handle(self._bench, message)
                if not self._bench.settled():  # the next candidate would wait behind it, and get the blame
                    print(
                        "The task's reference does not come back; the judge ends.",
                        file=sys.stderr,
                        flush=True,
                    )
                    return 1
        finally:
            self._bench.close()

    # --- the reading thread -------------------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            while (message := read_frame(self._incoming, ToJudge)) is not None:
                match message:
                    case StopJudge():
                        break
                    case CancelJudging(candidate=candidate):
                        self._cancel(candidate)
                    case Judge(candidate=candidate):
                        with self._guard:
                            self._waiting.append(candidate)
                        self._work.put(message)
                    case _:
                        self._work.put(message)
        except FrameError as error:
            os.write(2, f"workbench judge: {error}\n".encode())
        self._stop()

    def _cancel(self, candidate: CandidateId) -> None:
        with self._guard:
            if candidate != self._current and candidate not in self._waiting:
                return  # its verdict is out already
            self._cancelled.add(candidate)
            if candidate == self._current and self._bench is not None:
                self._bench.interrupt()

    def _stop(self) -> None:
        """The client is gone or said so: leave soon, and in any case."""
        with self._guard:
            self._stopping = True
            if self._current is not None and self._bench is not None:
                self._bench.interrupt()
        self._work.put(StopJudge())
        time.sleep(STOP_GRACE_S)
        # Still here: a task or a library holds the working thread. The group is ours if the client made it so.
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(0)

    # --- the working thread -------------------------------------------------------------------------------------

    def _handle(self, bench: Bench, message: ToJudge) -> None:
        match message:
            case LoadTask():
                self._load(bench, message)
            case Judge():
                self._judge(bench, message)
            case DebugCandidate():
                self._send(self._debug(bench, message))
            case WriteStandalone():
                self._send(self._write_standalone(bench, message))
            case FindFunctionalForm():
                self._find_form(bench)
            case FreeMemory():
                bench.free_memory()
            case _:
                pass

    def _load(self, bench: Bench, message: LoadTask) -> None:
        try:
            info = bench.load(message)
        except WorkbenchError as error:
            self._send(TaskFailed(message=error.what, do=error.do, device=isinstance(error, DeviceError)))
        except BaseException as error:
            if not isinstance(error, Exception) and not isinstance(error, SystemExit | KeyboardInterrupt):
                raise
            traceback.print_exc()
            self._send(TaskFailed(message=f"{message.path} could not be loaded: {_words(error)}."))
        else:
            self._send(TaskReady(info=info))

    def _judge(self, bench: Bench, message: Judge) -> None:
        candidate = message.candidate
        with self._guard:
            self._waiting.remove(candidate)
            dropped = candidate in self._cancelled or self._stopping
            if not dropped:
                self._current = candidate

        def tick(name: str, gate: Gate | None) -> None:
            self._send(GateTicked(candidate=candidate, name=name, gate=gate))

        try:
            if dropped:
                raise Cancelled
            judged = bench.judge(message, tick, lambda: candidate in self._cancelled or self._stopping)
        except Cancelled:
            judged = Judged(candidate=candidate, verdict=None, cancelled=True)
        except Exception as error:  # outside of any gate: this candidate's verdict is lost, not the judge
            from workbench.judge.worker.assemble import without_task

            traceback.print_exc()
            reason = f"The judge failed while it made the verdict ({_words(error)})."
            judged = Judged(candidate=candidate, verdict=without_task(message, reason))
        finally:
            with self._guard:
                self._current = None
                cancelled = candidate in self._cancelled
                self._cancelled.discard(candidate)
        if cancelled and not judged.cancelled:
            # Interrupted parts may look like a candidate's fault: no verdict is built on them.
            judged = Judged(candidate=candidate, verdict=None, cancelled=True)
        self._send(judged)

    def _debug(self, bench: Bench, message: DebugCandidate) -> Debugged:
        try:
            return bench.debug(message)
        except Exception as error:
            traceback.print_exc()
            stopped = f"The judge failed while it ran the candidate ({_words(error)})."
            return Debugged(candidate=message.candidate, ran=False, stopped=stopped)

    def _write_standalone(self, bench: Bench, message: WriteStandalone) -> StandaloneWritten:
        try:
            return bench.write_standalone(message)
        except Exception as error:
            traceback.print_exc()
            stopped = f"The judge failed while it wrote the program ({_words(error)})."
            return StandaloneWritten(
                candidate=message.candidate, written=False, stopped=stopped, whose="judge"
            )

    def _find_form(self, bench: Bench) -> None:
        try:
            form = bench.functional_form()
        except TaskError as error:
            form = FunctionalForm(source=None, validated=False, note=str(error))
        except Exception as error:
            traceback.print_exc()
            form = FunctionalForm(source=None, validated=False, note=_words(error))
        self._send(FunctionalFormReady(form=form))

    def _send(self, message: FromJudge) -> None:
        with self._writing:
            try:
                write_frame(self._outgoing, message)
            except BrokenPipeError:
                os._exit(0)


def _words(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:300]}" if text else type(error).__name__
