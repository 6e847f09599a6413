"""The planner as its users see it: a candidate's plan in, frozen plans for all sizes out.

The process behind it is warm, and restarted when it dies (`planner_process`). Nothing that comes from it is believed:
an answer is decoded by type and built again here (`recheck`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import msgspec

from workbench.core.errors import JudgeError
from workbench.core.plan import Diagnostic, LaunchLimits, NotCovered, Plan, PlanFailure
from workbench.core.task import SizeSpec
from workbench.core.wire import MAX_FRAME_BYTES, FrameError, pack, read_frame
from workbench.dialect import recheck
from workbench.dialect.evaluate import Evaluated, EvaluateRequest
from workbench.dialect.planner_process import (
    ANSWER_BYTES,
    MEMORY_BYTES,
    TIMEOUT_S,
    ChildEnded,
    PlannerReady,
)
from workbench.dialect.source import CandidateSource
from workbench.sandbox import Evidence

_START_TIMEOUT_S = 60.0
_GRACE_S = 10.0
"""The process cuts an evaluation itself after TIMEOUT_S; this long after, the process is at fault."""

_decode = msgspec.msgpack.Decoder(Evaluated).decode

_BOOT = (
    "import sys; sys.path[:] = sys.argv[2:]; import socket; "
    "from workbench.dialect.planner_process import main; "
    "main(socket.socket(fileno=int(sys.argv[1])).detach())"
)


class Planner:
    """Evaluates plans; one evaluation at a time, from any thread. A context manager."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._ready: PlannerReady | None = None
        self._closed = False
        self._running = False
        self._interrupted = False
        self._start()

    # --- what users call -------------------------------------------------------------------------------------

    def evaluate(
        self,
        source: CandidateSource,
        sizes: Sequence[SizeSpec],
        *,
        limits: LaunchLimits = LaunchLimits(),  # noqa: B008  (frozen)
        knobs: Mapping[str, Any] | None = None,
        own_kernels_only: bool = False,
    ) -> list[Plan | NotCovered] | PlanFailure:
        """Evaluate the plan at each size.

        Args:
            source: the candidate, taken apart.
            sizes: the signature at each size.
            limits: what a launch may ask of the device.
            knobs: values of `tune` knobs by name; the others take their defaults.
            own_kernels_only: refuse `torch_op`.

        Returns:
            One answer for each size, in order, or the failure of the whole plan.

        Raises:
            JudgeError: the planner could not be started or confined, or is closed.
        """
        chosen = dict(knobs or {})
        for name, value in chosen.items():
            if not isinstance(value, bool | int | float | str):
                return _failed(
                    f"The knob {name} takes a number, a bool or a string, not {type(value).__name__}.", "plan"
                )
        request = EvaluateRequest(
            plan=source.plan,
            plan_line=source.plan_line,
            sizes=tuple(sizes),
            limits=limits,
            knobs=chosen,
            own_kernels_only=own_kernels_only,
        )
        frame = pack(request)
        if len(frame) > MAX_FRAME_BYTES:
            raise JudgeError(
                f"The signature at {len(request.sizes)} sizes takes {len(frame):,} bytes, too many to send."
            )
        with self._lock:
            self._interrupted, self._running = False, True
            try:
                ended = self._ask(frame)
                if ended is None and not (self._interrupted or self._closed):
                    # The process, which no plan can reach, was ended from outside: no candidate is to blame for that.
                    ended = self._ask(frame)
            finally:
                self._running = False
        if ended is None:
            return _failed("The planner's process ended before it answered.", "died")
        if ended.cause == "timeout":
            return _failed(
                f"The plan ran longer than {TIMEOUT_S:g} s; it should only describe allocations and launches.",
                "timeout",
            )
        if ended.cause == "too much":
            return _failed(
                f"The evaluated plan is over {ANSWER_BYTES >> 20} MiB; describe fewer launches.", "plan"
            )
        if ended.cause == "died":
            return _failed(_death(ended.signal), "died")
        return self._checked(ended.answer, request)

    @property
    def evidence(self) -> Evidence:
        """What confines each evaluation, as a trial found when the process started.

        Raises:
            JudgeError: the planner could not be started or confined.
        """
        with self._lock:
            return self._connected()[1]

    def interrupt(self) -> None:
        """From another thread: an evaluation that runs now ends as "died"; nothing happens where none runs."""
        if self._running:
            self._interrupted = True
            self._kill()

    def _kill(self) -> None:
        process = self._process
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """End the process; later calls fail."""
        self._closed = True
        self._kill()
        with self._lock:
            self._stop()

    def __enter__(self) -> Planner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- the process -----------------------------------------------------------------------------------------

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        paths = [os.path.abspath(p) for p in sys.path if p]
        kept = ("LD_LIBRARY_PATH", "PYTHONHOME", "SYSTEMROOT")
        environment = {name: os.environ[name] for name in kept if name in os.environ}
        # A fixed hash seed: a plan that iterates over a set says the same each time.
        environment |= {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-P", "-c", _BOOT, str(theirs.fileno()), *paths],
                env=environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd="/",
            )
        except OSError as error:
            ours.close()
            raise JudgeError(f"The planner's process could not be started: {error}.") from error
        finally:
            theirs.close()
        self._channel = ours
        self._ready = None

    def _stop(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _connected(self) -> tuple[socket.socket, Evidence]:
        """The channel of a process that is ready."""
        if self._closed:
            raise JudgeError("The planner is closed.")
        if self._process is None or self._process.poll() is not None:
            self._stop()
            self._start()
        assert self._channel is not None
        if self._ready is None:
            self._channel.settimeout(None)
            self._ready = self._read(PlannerReady, _START_TIMEOUT_S)
            if self._ready is None:
                self._stop()
                raise JudgeError("The planner's process ended at its start.", do="Run `workbench doctor`.")
        if self._ready.evidence is None:
            raise JudgeError(self._ready.error, do=self._ready.do)
        return self._channel, self._ready.evidence

    def _ask(self, frame: bytes) -> ChildEnded | None:
        """What became of the evaluation; None where the process itself ended."""
        channel, _ = self._connected()
        if self._interrupted:  # it may have ended the process before this one
            return None
        try:
            channel.sendall(frame)
            ended: ChildEnded | None = self._read(ChildEnded, TIMEOUT_S + _GRACE_S)
        except OSError:
            ended = None
        if ended is None:
            self._stop()
            if not self._closed:
                self._start()  # warm again by the next candidate
        return ended

    def _read(self, type_: Any, timeout_s: float) -> Any:
        """One frame from the process (the trusted parent in it); None where it ended or took too long."""
        assert self._channel is not None
        timer = threading.Timer(timeout_s, self._kill)
        timer.daemon = True
        timer.start()
        try:
            return read_frame(self._channel.fileno(), type_)
        except (FrameError, OSError):
            return None
        finally:
            timer.cancel()

    # --- the answer ------------------------------------------------------------------------------------------

    def _checked(self, answer: bytes, request: EvaluateRequest) -> list[Plan | NotCovered] | PlanFailure:
        try:
            evaluated = _decode(answer)
            if evaluated.failure is not None:
                return recheck.failure(evaluated.failure)
            if len(evaluated.outcomes) != len(request.sizes):
                raise recheck.ForgeryError("not one answer for each size")
            plans: list[Plan | NotCovered] = []
            for outcome, size in zip(evaluated.outcomes, request.sizes, strict=True):
                if outcome.not_covered is not None and outcome.plan is None:
                    plans.append(recheck.not_covered(outcome.not_covered, size))
                elif outcome.plan is not None and outcome.not_covered is None:
                    plans.append(
                        recheck.rebuild(
                            outcome.plan, size, request.limits, request.knobs, request.own_kernels_only
                        )
                    )
                else:
                    raise recheck.ForgeryError("neither a plan nor a reason")
            return plans
        except (msgspec.DecodeError, msgspec.ValidationError, recheck.ForgeryError, RecursionError) as error:
            reason = recheck.clean(str(error))[:300].rstrip(".")
            return _failed(
                f"The plan tampered with its own evaluation: no plan gives this answer ({reason}).", "plan"
            )


def _death(by: int) -> str:
    if by == signal.SIGXCPU:
        return "The plan used up its processor time."
    name = f" by {signal.Signals(by).name}" if by in {s.value for s in signal.Signals} else ""
    return (
        f"The plan's process died{name}. It has {MEMORY_BYTES >> 20} MiB and an ordinary stack; "
        "a plan that only describes launches stays far below."
    )


def _failed(message: str, cause: Any) -> PlanFailure:
    return PlanFailure((Diagnostic(message),), cause)
