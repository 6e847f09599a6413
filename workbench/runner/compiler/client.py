"""The judge's side of the compiler: asks for builds, bounds them in time and size, and starts it again where it died.

What the process answers is as hostile as the source that it compiled; `answers` reads it.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from workbench.core.build import BuildFailure, CudaBuild, HostBuild
from workbench.core.errors import JudgeError
from workbench.core.folders import cache_folder
from workbench.core.plan import CompileOptions, Diagnostic
from workbench.core.wire import MAX_BUILD_FRAME_BYTES, FrameError, read_frame, write_frame
from workbench.runner.compiler.answers import (
    cached,
    cuda_build,
    cuda_key,
    decode,
    host_build,
    host_key,
    worth_keeping,
)
from workbench.runner.compiler.cache import BuildCache
from workbench.runner.compiler.chosen import VARIABLE
from workbench.runner.compiler.diagnostics import ordered
from workbench.runner.compiler.includes import check_includes, check_options
from workbench.runner.compiler.messages import (
    PATIENCE,
    BuildAnswer,
    BuildRequest,
    CudaResult,
    Ended,
    Failed,
    Greeting,
    Hello,
    HostResult,
)
from workbench.sandbox import Evidence
from workbench.sandbox import popen as guarded_popen

if TYPE_CHECKING:
    from workbench.dialect.source import CandidateSource

TIMEOUT_S = 30.0
_GRACE_S = 5.0
_START_S = 60.0


class Builds(msgspec.Struct, frozen=True):
    """What both compilers made of one candidate; None where that one was not asked."""

    cuda: CudaBuild | BuildFailure | None
    host: HostBuild | BuildFailure | None

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Of both compilers, the same error once."""
        from workbench.runner.compiler.diagnostics import merged

        return merged(
            self.cuda.diagnostics if self.cuda is not None else (),
            self.host.diagnostics if self.host is not None else (),
        )


class Compiler:
    """A warm, sandboxed compiler process; a context manager. One build at a time, from any thread."""

    def __init__(
        self, *, cache: Path | None = None, timeout_s: float = TIMEOUT_S, nvrtc: str | None = None
    ) -> None:
        """Start the process; it gets warm while the caller goes on.

        Args:
            cache: folder of finished builds; None takes the user's cache folder.
            timeout_s: processor time of one build, seconds; by the clock it may take `messages.PATIENCE` times as
                long, so that a machine whose cores are all taken fails no one.
            nvrtc: the NVRTC to compile with, as WORKBENCH_NVRTC names one; None asks that variable, "" takes the
                installed one.
        """
        user = cache_folder()
        self._cache = BuildCache(cache if cache is not None else user / "builds")
        self._prepared = user / "prepared"
        self._timeout_s = timeout_s
        self._nvrtc = os.environ.get(VARIABLE, "") if nvrtc is None else nvrtc
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._interrupted: subprocess.Popen[bytes] | None = None
        self._hello: Hello | None = None
        self._work: Path | None = None
        self._number = 0
        self._closed = False
        with contextlib.suppress(OSError):
            self._spawn()

    def __enter__(self) -> Compiler:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def evidence(self) -> Evidence:
        """What confines the process."""
        hello = self._ready()
        return Evidence(means=hello.means, missing=hello.missing)

    @property
    def versions(self) -> dict[str, str]:
        """{"nvrtc": "NVRTC 13.5", "host": "g++ 12.2.0"}; a compiler that is missing is not named."""
        return dict(self._ready().versions)

    @property
    def absent(self) -> dict[str, str]:
        """Compiler that is missing to one sentence on what to install."""
        return dict(self._ready().absent)

    def build(
        self,
        source: CandidateSource,
        options: CompileOptions,
        kernels: tuple[str, ...],
        *,
        arch: str | None,
        host: bool,
        debug: bool = False,
        instrumented: bool = False,
        host_as: str = "sm_90a",
    ) -> Builds:
        """Compile a candidate for an architecture (None: not) and for the host.

        Args:
            kernels: names as the plan launches them; each becomes a `Kernel` of that name.
            debug: defines WORKBENCH_DEBUG, for `verify --debug`.
            host_as: the architecture whose number `__CUDA_ARCH__` is in the host build.
            instrumented: the host build is the slow one whose every access of memory is seen.

        Returns:
            A build, or a `BuildFailure`, for each compiler that was asked. A compiler that dies, hangs or is missing
            is a `BuildFailure`; nothing is raised for what a candidate does.
        """
        refused = check_includes(source.device) + check_options(options, source.plan_line)
        if refused:
            failure = BuildFailure(cause="source", diagnostics=ordered(refused))
            return Builds(failure if arch is not None else None, failure if host else None)
        with self._lock:
            return self._build(source, options, kernels, arch, host, debug, instrumented, cuda_arch(host_as))

    def _build(
        self,
        source: CandidateSource,
        options: CompileOptions,
        kernels: tuple[str, ...],
        arch: str | None,
        host: bool,
        debug: bool,
        instrumented: bool,
        number: int,
    ) -> Builds:
        try:
            hello = self._ready()
        except _ProcessFailed as error:
            failure = BuildFailure(
                cause="died", diagnostics=(Diagnostic(f"The compiler did not start: {error}"),)
            )
            return Builds(failure if arch is not None else None, failure if host else None)
        asked = (source.device, options, kernels, debug)
        keys: dict[str, str] = {}
        if arch is not None and "nvrtc" in hello.versions:
            keys["cuda"] = cuda_key(hello, asked, arch, self._nvrtc)
        if host and "host" in hello.versions:
            keys["host"] = host_key(hello, asked, number, instrumented)
        found = {part: self._cache.load(key) for part, key in keys.items()}
        cuda = cached(found.get("cuda"))
        built = cached(found.get("host"))
        need_cuda = arch is not None and cuda is None
        need_host = host and built is None
        if need_cuda or need_host:
            self._number += 1
            request = BuildRequest(
                number=self._number,
                device=source.device,
                options=options,
                kernels=kernels,
                arch=arch if need_cuda else None,
                host=need_host,
                debug=debug,
                timeout_s=self._timeout_s,
                instrumented=instrumented,
                cuda_arch=number,
            )
            answer = self._ask(request)
            if need_cuda:
                cuda = cuda_build(self._taken(answer, "cuda", CudaResult), source.device, kernels, arch or "")
                self._remember(keys.get("cuda"), cuda)
            if need_host:
                built = host_build(self._taken(answer, "host", HostResult))
                self._remember(keys.get("host"), built)
        return Builds(cuda, built)  # type: ignore[arg-type]  # the cache keeps each kind under keys of its own

    def _taken(self, answer: BuildAnswer | Ended, part: Literal["cuda", "host"], type_: Any) -> Any:
        """One compiler's part of an answer; what a killed build left running goes with the process."""
        if isinstance(answer, Ended):
            return answer
        result = decode(answer, part, type_)
        if isinstance(result, Ended):
            self._discard()
        return result

    def _remember(self, key: str | None, result: CudaBuild | HostBuild | BuildFailure) -> None:
        kept = worth_keeping(result)
        if key is not None and kept is not None:
            self._cache.store(key, kept)

    def interrupt(self) -> None:
        """End the build that is running, from another thread; it comes back as "died". The next one works."""
        self._interrupted = self._process  # which may take a while to be gone, and must not be asked again
        self._kill()

    def close(self) -> None:
        """End the process and remove its work folder."""
        self._closed = True
        self._kill()
        with self._lock:
            self._discard()

    # --- the process ------------------------------------------------------------------------------------------

    def _spawn(self) -> None:
        self._work = Path(tempfile.mkdtemp(prefix="workbench-compiler-"))
        command = [sys.executable, "-P", "-m", "workbench.runner.compiler"]
        command += [str(os.getpid()), str(self._work), str(self._prepared)]
        kept = (
            "PATH",
            "HOME",
            "LANG",
            "CXX",
            "CUDA_HOME",
            "CUDA_PATH",
            "LD_LIBRARY_PATH",
            "PYTHONPATH",
            "VIRTUAL_ENV",
        )
        environment = {name: os.environ[name] for name in kept if name in os.environ}
        environment[VARIABLE] = self._nvrtc
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        # NVRTC looks for a GPU when it starts; what compiles hostile text has no business with one.
        environment["CUDA_VISIBLE_DEVICES"] = ""
        self._hello = None
        self._process = guarded_popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._work,
            env=environment,
            # A group of its own: whatever a toolchain left behind goes with it.
            start_new_session=True,
        )

    def _ready(self) -> Hello:
        with self._lock:
            if self._closed:
                raise _ProcessFailed("it was closed")
            if (
                self._process is None
                or self._process is self._interrupted
                or self._process.poll() is not None
            ):
                self._discard()
                try:
                    self._spawn()
                except OSError as error:
                    self._discard()
                    raise _ProcessFailed(f"{error.strerror or error}") from None
            if self._hello is None:
                try:
                    greeting = self._read(Greeting, _START_S)
                except (TimeoutError, FrameError):
                    greeting = None
                if not isinstance(greeting, Hello):
                    self._discard()
                    raise _ProcessFailed(
                        greeting.message if isinstance(greeting, Failed) else "it gave no answer"
                    )
                self._hello = greeting
            return self._hello

    def _ask(self, request: BuildRequest) -> BuildAnswer | Ended:
        """Send a request; a process that does not answer properly is ended, and started again for the next build."""
        started = time.perf_counter()
        process = self._process
        assert process is not None and process.stdin is not None
        try:
            write_frame(process.stdin.fileno(), request)
            answer: BuildAnswer | None = self._read(BuildAnswer, PATIENCE * request.timeout_s + _GRACE_S)
            if answer is not None and answer.number == request.number:
                return answer
            cause, detail = "died", "it ended without an answer"
        except TimeoutError:
            cause, detail = "timeout", ""
        except (FrameError, OSError) as error:
            cause, detail = "died", str(error)
        self._discard()
        return Ended(cause=cause, detail=detail, seconds=time.perf_counter() - started)

    def _read(self, type_: Any, timeout_s: float) -> Any:
        """One frame, or TimeoutError. The process writes a frame at once, so waiting for its start is enough; a
        process that stops in the middle is killed by a timer."""
        process = self._process
        assert process is not None and process.stdout is not None
        descriptor = process.stdout.fileno()
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        if not poller.poll(int(timeout_s * 1000)):
            raise TimeoutError
        timer = threading.Timer(_GRACE_S + timeout_s, self._kill)
        timer.daemon = True
        timer.start()
        try:
            return read_frame(descriptor, type_, limit=MAX_BUILD_FRAME_BYTES)
        finally:
            timer.cancel()

    def _kill(self) -> None:
        process = self._process
        if process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)

    def _discard(self) -> None:
        self._kill()
        process, self._process, self._hello = self._process, None, None
        if process is not None:
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
        if self._work is not None:
            shutil.rmtree(self._work, ignore_errors=True)
            self._work = None


def cuda_arch(name: str) -> int:
    """`__CUDA_ARCH__` of an architecture: 900 for "sm_90a"; 900 where the name says none."""
    digits = "".join(c for c in name if c.isdigit())
    return 10 * int(digits) if digits else 900


class _ProcessFailed(JudgeError):
    """The compiler process did not become ready."""
