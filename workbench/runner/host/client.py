"""The judge's side of the runner process: loading a library, running plans, and what a death means."""

from __future__ import annotations

import contextlib
import ctypes
import math
import mmap
import os
import random
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from workbench.core.build import HostBuild, Kernel
from workbench.core.errors import JudgeError
from workbench.core.plan import Plan
from workbench.runner.host import messages as m
from workbench.runner.host.accesses import Accesses, Named, decode, shared_variables
from workbench.runner.host.arena import Arena
from workbench.runner.host.child import RunnerDiedError, RunnerProcess
from workbench.runner.host.counts import COUNTS, Counts, decode_counts
from workbench.runner.host.faults import CallReport, Fault, FaultKind, Placed, explain, warnings_of
from workbench.runner.host.sites import read_sites
from workbench.runner.host.steps import LaunchError, Layout, pack_steps, tracked

if TYPE_CHECKING:
    from workbench.runner.host.pool import HostRunners

START_TIMEOUT_S = 60.0
"""For the interpreter to start (and torch, for library steps)."""
CALL_TIMEOUT_S = 300.0
"""For all launches of one call, however many a plan makes."""
IDLE_FACTOR = 10.0
IDLE_S = 60.0
"""A step that did not get its processor time is given up after so many times its limit, and so much after it."""


class RunnerLostError(JudgeError):
    """A runner was ended from outside, or did not listen: nothing is known of the call, which may be made again on
    buffers that are filled anew."""


@dataclass(frozen=True)
class _Moment:
    """Two clocks of one moment, seconds: the wall's, and the time that a process has worked."""

    clock: float
    worked: float

    @classmethod
    def of(cls, process: RunnerProcess) -> _Moment:
        """Now; the time of a process that has ended is not known any more, and counts as endless."""
        try:
            # The clock of another process's time (clock_getcpuclockid, which Python does not have).
            worked = time.clock_gettime(~process.popen.pid << 3 | 2)
        except OSError:
            worked = math.inf
        return cls(time.monotonic(), worked)

    def since(self, other: _Moment) -> float:
        """Seconds since `other`, as they would have been on a machine with nothing else to do."""
        worked = self.worked - other.worked
        return min(self.clock - other.clock, worked if worked >= 0 else math.inf)


def default_memory_bytes() -> int:
    """Address space of a runner: the smaller of 16 GiB and half of this machine's memory."""
    return min(16 << 30, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)


class HostRunner:
    """One library in one process; after a fault the next call starts a fresh process with the same library."""

    def __init__(self, pool: HostRunners, build: HostBuild) -> None:
        self._pool = pool
        self.build = build
        self._process: RunnerProcess | None = None
        self._torch = False
        self._report_map: mmap.mmap | None = None
        self._report: m.Report | None = None
        self._interrupted = False
        self._load_fault: Fault | None = None
        self.memory_bytes = pool.memory_bytes
        """Address space that its process may have, from the next start on."""
        self._shared = shared_variables(build.library) if build.instrumented else ()
        self._places = read_sites(build.library) if build.instrumented else {}
        self.evidence = pool.evidence

    def load(self, *, torch: bool = False) -> Fault | None:
        """Confine a process and load the library there (its static constructors run); a fault where that fails.

        Raises:
            JudgeError: no runner can be started here.
        """
        try:
            return self._load(torch)
        except RunnerLostError:
            return self._load(torch)

    def _load(self, torch: bool) -> Fault | None:
        process = self._pool.take()
        self._process, self._torch = process, torch
        library = os.memfd_create("candidate.so", os.MFD_CLOEXEC)
        page = os.memfd_create("workbench-report", os.MFD_CLOEXEC)
        try:
            with open(library, "wb", closefd=False) as file:
                file.write(self.build.library)
            os.fchmod(library, 0o555)
            os.ftruncate(page, m.REPORT_BYTES)
            self._report_map = mmap.mmap(page, m.REPORT_BYTES)
            self._report = m.Report.from_buffer(self._report_map)
            process.send(m.Load(self.memory_bytes, torch), [library, page])
            confined = process.expect(m.Confined, START_TIMEOUT_S)
            if isinstance(confined, m.Failed):
                raise RunnerDiedError(confined.message)
            self.evidence = self._pool.evidence = confined.evidence
        except RunnerDiedError as error:
            code = self._drop()
            raise JudgeError(
                f"The runner of the host target did not start: {error} (exit code {code})."
            ) from None
        finally:
            os.close(library)
            os.close(page)
        try:
            answer = process.expect(m.Loaded, self._pool.load_timeout_s)
        except RunnerDiedError as error:
            ended = _ends(process)
            code = self._drop()
            if ended and code == -signal.SIGKILL and not self._interrupted:
                raise _lost("was killed while it loaded the library") from None
            if error.timeout:
                return Fault(
                    "hang",
                    f"loading the library took more than {self._pool.load_timeout_s:g} s (a static constructor?)",
                )
            return Fault(
                "crash", f"loading the library ended the runner (exit code {code}; a static constructor?)"
            )
        if isinstance(answer, m.Failed):
            self._drop()
            if "static TLS" in answer.message:
                why = "the kernels' static shared memory is over 2 MiB in all"
                return Fault("unsupported", f"the library cannot be loaded: {why}")
            return Fault("launch", f"the library cannot be loaded: {answer.message}")
        self._pause()
        return None

    def call(
        self,
        plan: Plan,
        kernels: Mapping[str, Kernel],
        arena: Arena,
        bindings: Mapping[int, int],
        *,
        timeout_s: float,
        seed: int | None = None,
    ) -> CallReport:
        """Execute all steps of the plan once, on the arena's buffers.

        Args:
            kernels: by name, as compiled for the device: their parameters say how arguments are packed.
            bindings: tensor number in the plan to buffer number in the arena; a view may be bound itself or through its
                base.
            timeout_s: for each launch, seconds of processor time (see `_await`).
            seed: of the buffers' addresses and of what shared memory holds at first; None: new in every call.

        Raises:
            RunnerLostError: the runner was ended from outside; the buffers hold what it left there.
            JudgeError: no runner can be started here.
        """
        started = time.monotonic()
        rng = self._pool.rng if seed is None else random.Random(seed)
        if arena.nbytes > self._pool.memory_bytes * 3 // 4:
            raise JudgeError(
                f"The buffers of a call ({arena.nbytes / 2**20:.0f} MiB) do not fit into a runner "
                f"({self._pool.memory_bytes / 2**20:.0f} MiB).",
                do="Use a smaller size.",
            )
        layout = Layout(arena, rng)
        try:
            steps, names = pack_steps(plan, kernels, self.build, layout, bindings, rng)
        except LaunchError as error:
            return CallReport(error.fault, time.monotonic() - started, 0, 0)
        request = m.Call(layout.mappings, tuple(steps), self._pool.workers)
        if self.build.instrumented:
            # One OS thread: the order that is found wanting must not depend on which of them was faster.
            request = msgspec.structs.replace(
                request,
                workers=1,
                tracked=tracked(layout, arena),
                variables=tuple((v.offset, v.size, v.ignored) for v in self._shared),
            )
        return self.execute(
            request, arena.descriptors, names, layout.placed, timeout_s=timeout_s, torch=plan.uses_library
        )

    def execute(
        self,
        request: m.Call | m.FarCall,
        files: Sequence[int],
        names: list[str],
        placed: Sequence[Placed],
        *,
        timeout_s: float,
        torch: bool = False,
    ) -> CallReport:
        """Send a prepared call with its files and wait for its end.

        Args:
            names: of each step's kernel or operator, for messages.
            placed: the buffers by number, for messages.

        Raises:
            RunnerLostError: the runner was ended from outside. The next call starts another.
            JudgeError: no runner can be started here.
        """
        started = time.monotonic()
        steps = request.steps
        if self._load_fault is not None:
            return CallReport(self._load_fault, time.monotonic() - started, 0, 0)
        if self._process is not None and torch and not self._torch:
            self._drop()
        if self._process is None:
            unloadable = self.load(torch=torch)
            if unloadable:
                return CallReport(unloadable, time.monotonic() - started, 0, 0)
        assert self._report is not None and self._report_map is not None and self._process is not None
        used = m.REPORT_BYTES if self.build.instrumented else m.FINDINGS_AT
        self._report_map[:used] = bytes(used)
        process, report = self._process, self._report
        begun = _Moment.of(process)
        fault: Fault | None = None
        launches = 0
        try:
            self._resume()
            process.send(request, files)
            answer = self._await(process, report, len(steps), timeout_s)
            seconds = _Moment.of(process).since(begun)
            if answer is None:
                step = min(int(report.step), len(steps) - 1) if steps else 0
                name = names[step] if names else ""
                self._drop()
                fault = Fault("hang", f"{name or 'a step'} was not done after {timeout_s:g} s", name)
            elif isinstance(answer, m.Failed):
                name = names[answer.step] if 0 <= answer.step < len(names) else ""
                kind: FaultKind = "unsupported" if answer.kind == "unsupported" else "launch"
                fault = Fault(kind, answer.message, name)
            elif isinstance(answer, m.Done):
                launches = sum(isinstance(s, m.LaunchStep) for s in steps)
            else:
                raise RunnerDiedError("the runner said something else than was asked")
        except RunnerDiedError as error:
            seconds = time.monotonic() - begun.clock
            step = min(int(report.step), len(steps) - 1) if steps else 0
            name = names[step] if names else ""
            ended = _ends(process)
            code = self._drop()
            killed = ended and code == -signal.SIGKILL
            # Candidate code cannot reach the system call, and a fault of its own leaves a report.
            if (killed or error.timeout) and not report.kind and not self._interrupted:
                raise _lost("was killed from outside" if killed else "does not listen") from None
            fault = explain(report, name, placed, self.build, code)
        result = CallReport(
            fault,
            seconds,
            launches,
            int(report.switches),
            warnings_of(report) if not fault else (),
            self._seen(placed, names),
            self._counted(),
        )
        if self._process is not None:
            self._pause()
        return result

    def _seen(self, placed: Sequence[Placed], names: list[str]) -> Accesses | None:
        if not self.build.instrumented or self._report_map is None:
            return None
        # A copy: nothing may change between two looks at it.
        page = bytes(self._report_map[m.FINDINGS_AT : m.FINDINGS_AT + ctypes.sizeof(m.FindingsC)])
        buffers = [Named(p.name, p.nbytes, p.itemsize) for p in placed]
        return decode(m.FindingsC.from_buffer_copy(page), self.build.library, names, buffers, self._shared)

    def _counted(self) -> Counts | None:
        if not self.build.instrumented or self._report_map is None:
            return None
        page = bytes(self._report_map[m.COUNTS_AT : m.COUNTS_AT + COUNTS.itemsize])
        return decode_counts(page, self._places)

    def _await(
        self, process: RunnerProcess, report: m.Report, steps: int, timeout_s: float
    ) -> m.Answer | None:
        """The answer, or None when one step took longer than `timeout_s` (or all of them more than that each).

        What counts is processor time: on a machine that is full of other people's work a launch is slow without
        hanging. One that waits without working is given up by the clock, later.
        """
        total = min(timeout_s * max(steps, 1), max(CALL_TIMEOUT_S, timeout_s))
        patience = min(IDLE_FACTOR * timeout_s, timeout_s + IDLE_S)
        begun = since = _Moment.of(process)
        seen = 0
        while True:
            now = _Moment.of(process)
            step = int(report.step)
            if step != seen:
                seen, since = step, now
            # The step counter is the runner's word: a hostile one cannot gain more than `total` by it.
            left = max(
                min(since.clock + timeout_s, begun.clock + total) - now.clock,
                min(since.worked + timeout_s, begun.worked + total) - now.worked,
            )
            idle = min(since.clock + patience, begun.clock + max(total, patience)) - now.clock
            if min(left, idle) <= 0:
                return None
            answer = process.receive(min(left, idle, 0.25))
            if answer is not None:
                return answer

    def _pause(self) -> None:
        """Stop the process between calls, so that nothing changes the buffers while the judge looks at them."""
        if self._process is None:
            return
        pid = self._process.popen.pid
        try:
            os.kill(pid, signal.SIGSTOP)
            os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        except (ProcessLookupError, ChildProcessError):
            self._drop()

    def _resume(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.popen.pid, signal.SIGCONT)

    def _drop(self) -> int | None:
        process, self._process = self._process, None
        return process.kill() if process else None

    def interrupt(self) -> None:
        """From another thread: end the process; a call that runs ends with a fault."""
        self._interrupted = True
        process = self._process
        if process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                process.popen.kill()

    def close(self) -> None:
        """End the process."""
        self._drop()

    def __enter__(self) -> HostRunner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _ends(process: RunnerProcess) -> bool:
    """Whether it has ended by itself, and not because we end it now."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.popen.wait(1)
    return process.popen.returncode is not None


def _lost(how: str) -> RunnerLostError:
    return RunnerLostError(
        f"The runner of the host target {how}.", do="Free some memory, or judge fewer candidates at a time."
    )
