"""The judge's side of the runner process: a warm spare, loading a library, running plans, and what a death means."""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

import workbench
from workbench.core import wire
from workbench.core.build import HostBuild, Kernel
from workbench.core.errors import JudgeError
from workbench.core.plan import Fill, Launch, LibraryStep, Plan, PointersArg, ScalarArg, TensorArg
from workbench.runner.host import messages as m
from workbench.runner.host.arena import PAGE, Arena
from workbench.runner.host.faults import CallReport, Fault, Placed, explain, warnings_of
from workbench.sandbox import Evidence, popen

START_TIMEOUT_S = 60.0
"""For the interpreter to start (and torch, for library steps)."""
LOAD_TIMEOUT_S = 20.0
"""For static constructors, which are the candidate's code."""
_TLS_BYTES = 2 << 20
"""Room for static shared memory in each thread's thread-local storage."""


def default_memory_bytes() -> int:
    """Address space of a runner: the smaller of 16 GiB and half of this machine's memory."""
    return min(16 << 30, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)


def _environment() -> dict[str, str]:
    """What a runner needs to start, and nothing that it should not read (keys, tokens)."""
    kept = {
        k: os.environ[k] for k in ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "VIRTUAL_ENV") if k in os.environ
    }
    root = str(Path(workbench.__file__).parent.parent)
    kept["PYTHONPATH"] = os.pathsep.join(p for p in (os.environ.get("PYTHONPATH", ""), root) if p)
    kept["GLIBC_TUNABLES"] = f"glibc.rtld.optional_static_tls={_TLS_BYTES}"
    kept["LC_ALL"] = "C.UTF-8"
    kept["HOME"] = "/nonexistent"
    kept["PYTHONDONTWRITEBYTECODE"] = "1"
    return kept


class RunnerDiedError(Exception):
    """The runner went away, said something else than was asked, or took too long."""

    def __init__(self, message: str, *, timeout: bool = False) -> None:
        super().__init__(message)
        self.timeout = timeout


class _Process:
    """A started runner and its channel."""

    def __init__(self, output: int | None) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            self.popen: subprocess.Popen[bytes] = popen(
                [sys.executable, "-m", "workbench.runner.host", str(theirs.fileno()), str(os.getpid())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if output is None else output,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                cwd="/",
                start_new_session=True,
            )
        self.channel = ours
        self.channel.setblocking(False)
        self._buffer = bytearray()

    def send(self, message: Any, fds: Sequence[int] = (), timeout_s: float = 10.0) -> None:
        """Raises RunnerDiedError."""
        data = memoryview(wire.pack(message))
        end = time.monotonic() + timeout_s
        first = True
        while data:
            _, writable, _ = select.select([], [self.channel], [], max(0.0, end - time.monotonic()))
            if not writable:
                raise RunnerDiedError("the runner does not listen", timeout=True)
            try:
                if first and fds:
                    sent = socket.send_fds(self.channel, [data[: 1 << 16]], list(fds))
                else:
                    sent = self.channel.send(data)
            except OSError as error:
                raise RunnerDiedError(f"the runner went away ({error.strerror})") from None
            first = False
            data = data[sent:]

    def receive(self, timeout_s: float, interrupted: threading.Event | None = None) -> m.Answer | None:
        """The next answer; None when the time is over. Raises RunnerDiedError at the end or for garbage."""
        end = time.monotonic() + timeout_s
        while True:
            if len(self._buffer) >= 4:
                (length,) = struct.unpack_from("<I", self._buffer)
                if length > m.MAX_ANSWER_BYTES:
                    raise RunnerDiedError("the runner's answer is over the limit")
                if len(self._buffer) >= 4 + length:
                    body = bytes(self._buffer[4 : 4 + length])
                    del self._buffer[: 4 + length]
                    try:
                        answer: m.Answer = msgspec.msgpack.decode(body, type=m.Answer)
                        return answer
                    except msgspec.MsgspecError:
                        raise RunnerDiedError("the runner's answer is not one") from None
            left = end - time.monotonic()
            readable, _, _ = select.select([self.channel], [], [], max(0.0, left))
            if not readable:
                return None
            try:
                piece = self.channel.recv(1 << 16)
            except OSError as error:
                raise RunnerDiedError(f"the runner went away ({error.strerror})") from None
            if not piece:
                raise RunnerDiedError("the runner went away")
            self._buffer += piece

    def expect(self, type_: Any, timeout_s: float) -> Any:
        """An answer of this type, or RunnerDiedError; `Failed` is returned as it is."""
        answer = self.receive(timeout_s)
        if answer is None:
            raise RunnerDiedError("the runner took too long", timeout=True)
        if not isinstance(answer, (type_, m.Failed)):
            raise RunnerDiedError("the runner said something else than was asked")
        return answer

    def kill(self) -> int | None:
        """End it for good; its exit code."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            self.popen.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(10)
        self.channel.close()
        return self.popen.returncode


class HostRunner:
    """One library in one process; after a fault the next call starts a fresh process with the same library."""

    def __init__(self, pool: HostRunners, build: HostBuild) -> None:
        self._pool = pool
        self.build = build
        self._process: _Process | None = None
        self._torch = False
        self._report_map: mmap.mmap | None = None
        self._report: m.Report | None = None
        self._closed = False
        self._load_fault: Fault | None = None
        self.evidence = pool.evidence

    def load(self, *, torch: bool = False) -> Fault | None:
        """Confine a process and load the library there (its static constructors run); a fault where that fails."""
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
            process.send(m.Load(self._pool.memory_bytes, torch), [library, page])
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
            code = self._drop()
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
            kind = "unsupported" if "static TLS" in answer.message else "launch"
            why = (
                "the kernels' static shared memory is over 2 MiB in all"
                if kind == "unsupported"
                else answer.message
            )
            return Fault(kind, f"the library cannot be loaded: {why}")  # type: ignore[arg-type]
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
    ) -> CallReport:
        """Execute all steps of the plan once, on the arena's buffers.

        Args:
            kernels: by name, as compiled for the device: their parameters say how arguments are packed.
            bindings: tensor number in the plan to buffer number in the arena; a view may be bound itself or through its
                base.
            timeout_s: for each launch, seconds.

        Raises:
            JudgeError: no runner can be started here.
        """
        started = time.monotonic()
        if arena.nbytes > self._pool.memory_bytes * 3 // 4:
            raise JudgeError(
                f"The buffers of a call ({arena.nbytes / 2**20:.0f} MiB) do not fit into a runner "
                f"({self._pool.memory_bytes / 2**20:.0f} MiB).",
                do="Use a smaller size.",
            )
        layout = _Layout(arena, self._pool.rng)
        try:
            steps, names = _steps(plan, kernels, self.build, layout, bindings, self._pool.rng)
        except _LaunchError as error:
            return CallReport(error.fault, time.monotonic() - started, 0, 0)
        torch = plan.uses_library
        if self._load_fault is not None:
            return CallReport(self._load_fault, time.monotonic() - started, 0, 0)
        if self._process is not None and torch and not self._torch:
            self._drop()
        if self._process is None:
            unloadable = self.load(torch=torch)
            if unloadable:
                return CallReport(unloadable, time.monotonic() - started, 0, 0)
        assert self._report is not None and self._report_map is not None and self._process is not None
        self._report_map[:] = bytes(m.REPORT_BYTES)
        process, report = self._process, self._report
        started = time.monotonic()
        fault: Fault | None = None
        launches = 0
        try:
            self._resume()
            process.send(m.Call(layout.mappings, tuple(steps), self._pool.workers), arena.descriptors)
            answer = self._await(process, report, len(steps), timeout_s)
            if answer is None:
                step = min(int(report.step), len(steps) - 1) if steps else 0
                name = names[step] if names else ""
                self._drop()
                fault = Fault("hang", f"{name or 'a step'} was not done after {timeout_s:g} s", name)
            elif isinstance(answer, m.Failed):
                name = names[answer.step] if 0 <= answer.step < len(names) else ""
                kind = "unsupported" if answer.kind == "unsupported" else "launch"
                fault = Fault(kind, answer.message, name)  # type: ignore[arg-type]
            elif isinstance(answer, m.Done):
                launches = sum(isinstance(s, m.LaunchStep) for s in steps)
            else:
                raise RunnerDiedError("the runner said something else than was asked")
        except RunnerDiedError:
            step = min(int(report.step), len(steps) - 1) if steps else 0
            name = names[step] if names else ""
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.popen.wait(1)  # its own exit code, before ours
            code = self._drop()
            fault = explain(report, name, layout.placed, self.build, code)
        seconds = time.monotonic() - started
        result = CallReport(
            fault, seconds, launches, int(report.switches), warnings_of(report) if not fault else ()
        )
        if self._process is not None:
            self._pause()
        return result

    def _await(self, process: _Process, report: m.Report, steps: int, timeout_s: float) -> m.Answer | None:
        """The answer, or None when one step took longer than `timeout_s` (or all of them more than that each)."""
        begun = time.monotonic()
        seen, since = 0, begun
        while True:
            now = time.monotonic()
            step = int(report.step)
            if step != seen:
                seen, since = step, now
            # The step counter is the runner's word: a hostile one cannot gain more than this by it.
            left = min(since + timeout_s, begun + timeout_s * max(steps, 1)) - now
            if left <= 0:
                return None
            answer = process.receive(min(left, 0.25))
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
        process = self._process
        if process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                process.popen.kill()

    def close(self) -> None:
        """End the process."""
        self._drop()
        self._closed = True

    def __enter__(self) -> HostRunner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class HostRunners:
    """Starts runners; a spare one is always being prepared in the background. A context manager."""

    def __init__(
        self,
        *,
        memory_bytes: int | None = None,
        workers: int | None = None,
        load_timeout_s: float = LOAD_TIMEOUT_S,
        output: int | None = None,
    ) -> None:
        """
        Args:
            memory_bytes: address space of a runner, arenas included.
            workers: OS threads for blocks; None: as many as there are processors, at most 16.
            load_timeout_s: for loading a library, its static constructors included, seconds.
            output: a descriptor to which `printf` of device code writes (hostile text); None: nowhere.
        """
        self.output = output
        self.load_timeout_s = load_timeout_s
        self.memory_bytes = memory_bytes or default_memory_bytes()
        self.workers = workers or min(len(os.sched_getaffinity(0)), 16)
        self.evidence = Evidence((), ())
        self.rng = secrets.SystemRandom()
        self._lock = threading.Lock()
        self._closed = False
        self._spare: _Process | None = None
        self._prepare()

    def _prepare(self) -> None:
        with self._lock:
            if self._spare is None and not self._closed:
                self._spare = _Process(
                    self.output
                )  # does not wait: it gets ready while the judge does something else

    def take(self) -> _Process:
        """A process that is up.

        Raises:
            JudgeError: none comes up.
        """
        why = ""
        for _ in range(3):
            with self._lock:
                process, self._spare = self._spare, None
            process = process or _Process(self.output)
            self._prepare()
            try:
                process.expect(m.Ready, START_TIMEOUT_S)
                return process
            except RunnerDiedError as error:
                why = str(error)
                process.kill()
        raise JudgeError(
            f"The runner of the host target does not start: {why}.", do="Run `workbench doctor`."
        )

    def start(self, build: HostBuild) -> HostRunner:
        """A runner with the library loaded in a sandboxed process.

        A library that faults while it is loaded gives a runner all of whose calls report that fault.

        Raises:
            JudgeError: no runner can be started here.
        """
        runner = HostRunner(self, build)
        runner._load_fault = runner.load()
        return runner

    def close(self) -> None:
        """End the spare."""
        with self._lock:
            self._closed = True
            spare, self._spare = self._spare, None
        if spare is not None:
            spare.kill()

    def __enter__(self) -> HostRunners:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Layout:
    """Addresses of an arena's buffers in the runner, chosen here, so that the runner need not be asked."""

    def __init__(self, arena: Arena, rng: secrets.SystemRandom) -> None:
        # Far from where programs, libraries, stacks and the heap lie on x86-64 and aarch64; different in every call.
        address = (0x1000_0000_0000 + rng.randrange(1 << 30) * PAGE) & ~(2**21 - 1)
        self.addresses: list[int] = []
        mappings: list[m.Mapping_] = []
        placed: list[Placed] = []
        gap = 16 * PAGE
        for spec, region in zip(arena.specs, arena.regions, strict=True):
            address += gap
            mappings.append(m.Mapping_(region.writable, region.file_offset, region.span, address))
            first = address + region.start
            self.addresses.append(first)
            placed.append(
                Placed(
                    spec.name,
                    first,
                    region.nbytes,
                    address - gap // 2,
                    address + region.span + gap // 2,
                    region.writable,
                )
            )
            address += region.span
        self.mappings = tuple(mappings)
        self.placed = tuple(placed)


class _LaunchError(Exception):
    def __init__(self, message: str, kernel: str = "", line: int = 0, *, kind: str = "launch") -> None:
        super().__init__(message)
        self.fault = Fault(kind, message, kernel, line=line)  # type: ignore[arg-type]


def _steps(
    plan: Plan,
    kernels: Mapping[str, Kernel],
    build: HostBuild,
    layout: _Layout,
    bindings: Mapping[int, int],
    rng: secrets.SystemRandom,
) -> tuple[list[m.RunStep], list[str]]:
    """The plan's steps with addresses and packed arguments, and the name of each for messages."""
    from workbench.dialect.check import pack_arguments

    def address(tensor: int) -> int:
        seen = tensor
        for _ in range(len(plan.tensors) + 1):
            if seen in bindings:
                return layout.addresses[bindings[seen]]
            base = plan.tensors[seen].base
            if base is None:
                break
            seen = base
        raise JudgeError(f"Tensor {tensor} of the plan was given no buffer.")

    def view(tensor: int) -> m.TensorView:
        spec = plan.tensors[tensor].spec
        return m.TensorView(address(tensor), spec.nbytes, spec.shape, spec.dtype)

    steps: list[m.RunStep] = []
    names: list[str] = []
    for step in plan.steps:
        if isinstance(step, Fill):
            steps.append(m.FillStep(address(step.tensor), plan.tensors[step.tensor].spec.nbytes))
            names.append("")
        elif isinstance(step, Launch):
            entry = build.entries.get(step.kernel)
            kernel = kernels.get(step.kernel)
            if entry is None or kernel is None:
                raise _LaunchError(f"the kernel {step.kernel!r} was not compiled", step.kernel, step.line)
            if step.cluster is not None and step.cluster != (1, 1, 1):
                raise _LaunchError(
                    f"clusters at line {step.line}; this needs cuda",
                    step.kernel,
                    step.line,
                    kind="unsupported",
                )
            args: list[bytes | tuple[int, ...]] = []
            try:
                packed = pack_arguments(step, kernel)
            except ValueError as error:
                raise _LaunchError(f"{step.kernel}: {error}", step.kernel, step.line) from None
            for argument in packed:
                if isinstance(argument, TensorArg):
                    args.append(address(argument.tensor).to_bytes(8, "little"))
                elif isinstance(argument, PointersArg):
                    args.append(tuple(address(t) for t in argument.tensors))
                else:
                    args.append(argument)
            if not all(step.grid) or not all(step.block):
                continue
            steps.append(
                m.LaunchStep(
                    entry,
                    step.grid,
                    step.block,
                    step.shared_bytes,
                    step.cooperative,
                    tuple(args),
                    rng.getrandbits(63),
                )
            )
            names.append(step.kernel)
        else:
            steps.append(_library_call(step, view))
            names.append(step.op)
    return steps, names


def _library_call(step: LibraryStep, view: Any) -> m.LibraryCall:
    def plain(value: Any) -> Any:
        if isinstance(value, TensorArg):
            return view(value.tensor)
        if isinstance(value, ScalarArg):
            return value.value
        return value

    return m.LibraryCall(
        step.op,
        tuple(plain(a) for a in step.args),
        {k: plain(v) for k, v in step.kwargs},
        tuple(view(t) for t in step.outputs),
    )
