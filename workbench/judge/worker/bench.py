"""What the judge's loop calls: load a task, judge a candidate, find the functional form.

torch is imported in `warm_up`, not with this module: the client hears that the worker runs before that.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from workbench.core.errors import DeviceError, TaskError
from workbench.core.messages import (
    DebugCandidate,
    Debugged,
    Judge,
    Judged,
    LoadTask,
    StandaloneWritten,
    WriteStandalone,
)
from workbench.core.plan import LIMITS
from workbench.core.task import FunctionalForm, TaskInfo
from workbench.core.verdict import Gate
from workbench.judge.worker.memory import give_back
from workbench.judge.worker.streams import reopened_standard_streams
from workbench.profile.device import FALLBACK, default_arch

if TYPE_CHECKING:
    from workbench.judge.worker.parts import Parts
    from workbench.judge.worker.task.loaded import LoadedTask

HOST_TIMEOUT_S = 20.0
"""Limit of one launch on the host target (docs/design.md, section 7)."""

NO_TASK = "No task is loaded."


class Bench:
    """The loaded task and the warm parts. One thread works with it; `interrupt` may come from another."""

    def __init__(self, progress: Callable[[str], None]) -> None:
        self._progress = progress
        self._parts: Parts | None = None
        self._task: LoadedTask | None = None
        self._request: LoadTask | None = None
        self._arch = FALLBACK

    def warm_up(self) -> None:
        """Start the parts, ask for the device and import torch, side by side."""
        from workbench.judge.worker.parts import Parts

        self._parts = Parts()
        threading.Thread(target=default_arch, name="judge-device", daemon=True).start()
        importlib.import_module("workbench.judge.worker.task.loader")

    def load(self, request: LoadTask) -> TaskInfo:
        """Execute the task file. A task that cannot be loaded leaves none loaded.

        Raises:
            TaskError: it cannot be loaded.
            DeviceError: the target is not to be had here.
        """
        self._task = None
        if request.target == "cuda":
            raise DeviceError(
                "The cuda target is not available here.", do="Use --target host, which needs no GPU."
            )
        if request.arch is not None and request.arch.rstrip("af") not in LIMITS:
            raise TaskError(
                f"{request.arch} is not an architecture known here.", do=f"Known: {', '.join(LIMITS)}."
            )
        from workbench.judge.worker.task.loader import load_task

        self._progress("loading the task")
        try:
            task = load_task(
                request.path, target=request.target, revision=request.revision, progress=self._progress
            )
        except TaskError as error:
            raise _stream_closed() or error from None
        if fault := _stream_closed():
            raise fault
        if not task.sizes:
            raise TaskError(f"{request.path} has no size that can be judged.", do="Declare a `small` size.")
        self._task, self._request = task, request
        self._arch = request.arch or default_arch()
        self._progress("")
        return task.info

    def judge(
        self, request: Judge, tick: Callable[[str, Gate | None], None], cancelled: Callable[[], bool]
    ) -> Judged:
        """A verdict, whatever the candidate is. Raises outcome.Cancelled where the client gave it up."""
        from workbench.judge.worker.assemble import without_task
        from workbench.judge.worker.judging import Judging

        if self._task is None or self._request is None or self._parts is None:
            return Judged(candidate=request.candidate, verdict=without_task(request, NO_TASK))
        judging = Judging(
            request,
            self._task,
            self._parts,
            arch=self._arch,
            timeout_s=self._request.timeout_s or HOST_TIMEOUT_S,
            revision=self._request.revision,
            tick=tick,
            cancelled=cancelled,
        )
        return judging.judge()

    def debug(self, request: DebugCandidate) -> Debugged:
        """One run with printf and assert allowed, whatever the candidate is."""
        from workbench.judge.worker.debug import debug

        if self._task is None or self._request is None or self._parts is None:
            return Debugged(candidate=request.candidate, ran=False, stopped=NO_TASK)
        return debug(
            request,
            self._task,
            self._parts,
            arch=self._arch,
            timeout_s=self._request.timeout_s or HOST_TIMEOUT_S,
        )

    def write_standalone(self, request: WriteStandalone) -> StandaloneWritten:
        """The candidate's files as a program of its own, or why there are none."""
        from workbench.judge.worker.standalone import write_standalone

        if self._task is None or self._parts is None:
            return StandaloneWritten(
                candidate=request.candidate, written=False, stopped=NO_TASK, whose="judge"
            )
        return write_standalone(request, self._task, self._parts, arch=self._arch, progress=self._progress)

    def functional_form(self) -> FunctionalForm:
        """Stage 1 of the loaded task.

        Raises:
            TaskError: no task is loaded.
        """
        if self._task is None:
            raise TaskError(NO_TASK)
        return self._task.functional_form()

    def settled(self) -> bool:
        """Whether the next candidate can be judged; False: only a new process can go on (`Parts.settled`, which waits)."""
        return self._parts is None or self._parts.settled()

    def free_memory(self) -> None:
        """Give back what is kept for speed alone: finished audits, disassemblies, drawn sizes, and freed pages."""
        if self._parts is not None:
            self._parts.forget()
        if self._task is not None:
            self._task.forget_drawn_sizes()
        give_back()

    def interrupt(self) -> None:
        """From another thread: end what the working thread waits for."""
        if self._parts is not None:
            self._parts.interrupt()

    def close(self) -> None:
        """End every process."""
        if self._parts is not None:
            self._parts.close()


def _stream_closed() -> TaskError | None:
    """What to say where the task just loaded has closed a standard stream, which is open again afterwards."""
    if not (closed := reopened_standard_streams()):
        return None
    # It would close them again for each size, beside threads that open pipes: one of those could be hit.
    return TaskError(
        f"The task closes a standard stream (file descriptor {closed[0]}).",
        do="Leave descriptors 0, 1 and 2 open: redirect with contextlib.redirect_stdout.",
    )
