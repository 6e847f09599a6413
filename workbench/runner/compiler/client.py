"""The judge's side of the compiler: asks for builds, bounds them in time, reads and checks what comes back.

What the process answers is as hostile as the source that it compiled. Frames are bounded and decoded by msgspec;
kernels, parameters and registers are read here, out of the cubin; names and logs are text and nothing more.
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
from workbench.profile.cubin import BadCubin
from workbench.runner.compiler.cache import BuildCache, Stored
from workbench.runner.compiler.chosen import VARIABLE, BadChoice, chosen, nvrtc_headers
from workbench.runner.compiler.diagnostics import nvrtc_diagnostics, ordered
from workbench.runner.compiler.fingerprint import cuda_parts, host_parts
from workbench.runner.compiler.includes import check_includes, check_options
from workbench.runner.compiler.kernels import read_kernels
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
_MAX_SOURCE = 8 << 20


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
        file_name: str,
        arch: str | None,
        host: bool,
        debug: bool = False,
        instrumented: bool = False,
        host_as: str = "sm_90a",
    ) -> Builds:
        """Compile a candidate for an architecture (None: not) and for the host.

        Args:
            kernels: names as the plan launches them; each becomes a `Kernel` of that name.
            file_name: only for messages; a build does not depend on it.
            debug: defines WORKBENCH_DEBUG, for `verify --debug`.
            host_as: the architecture whose number `__CUDA_ARCH__` is in the host build.
            instrumented: the host build is the slow one whose every access of memory is seen.

        Returns:
            A build, or a `BuildFailure`, for each compiler that was asked. A compiler that dies, hangs or is missing
            is a `BuildFailure`; nothing is raised for what a candidate does.
        """
        refused = check_includes(source.device) + check_options(options, source.plan_line)
        if len(source.device) > _MAX_SOURCE:
            refused += (Diagnostic(f"{file_name} is over {_MAX_SOURCE >> 20} MiB."),)
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
        keys = self._keys(hello, source.device, options, kernels, arch, host, debug, instrumented, number)
        found = {part: self._cache.load(key) for part, key in keys.items()}
        cuda = _cached(found.get("cuda"))
        built = _cached(found.get("host"))
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
                cuda = self._cuda(answer, source.device, kernels, arch or "")
                self._remember(keys.get("cuda"), cuda)
            if need_host:
                built = self._host(answer)
                self._remember(keys.get("host"), built)
        return Builds(cuda, built)  # type: ignore[arg-type]

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
                self._spawn()
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

    # --- answers ----------------------------------------------------------------------------------------------

    def _cuda(
        self, answer: BuildAnswer | Ended, device: str, kernels: tuple[str, ...], arch: str
    ) -> CudaBuild | BuildFailure:
        result: CudaResult = self._decode(answer, "cuda", CudaResult)
        if isinstance(result, Ended):
            return _ended(result, "NVRTC")
        if result.missing:
            return BuildFailure(cause="missing", diagnostics=(Diagnostic(result.log),))
        said = nvrtc_diagnostics(result.log, device, ptx=result.ptx)
        version, seconds = result.version, result.seconds
        if not result.ok:
            if result.out_of_memory:
                return _ended(Ended(cause="memory", seconds=result.seconds), "NVRTC")
            said = said or (Diagnostic(f"NVRTC refused it without a reason: {result.log[:300]}"),)
            return BuildFailure(cause="source", diagnostics=said, version=version, seconds=seconds)
        try:
            found = read_kernels(result, kernels)
        except BadCubin as error:
            return BuildFailure(
                cause="died", diagnostics=(Diagnostic(f"NVRTC's answer cannot be read: {error}."),)
            )
        return CudaBuild(
            arch=arch,
            kernels=found,
            cubin=result.cubin,
            ptx=result.ptx,
            diagnostics=said,
            version=version,
            seconds=seconds,
        )

    def _host(self, answer: BuildAnswer | Ended) -> HostBuild | BuildFailure:
        result: HostResult = self._decode(answer, "host", HostResult)
        if isinstance(result, Ended):
            return _ended(result, "The host compiler")
        if result.build is not None:
            return result.build
        return result.failure or _ended(Ended(cause="died", detail="an empty answer"), "The host compiler")

    def _decode(self, answer: BuildAnswer | Ended, part: Literal["cuda", "host"], type_: Any) -> Any:
        if isinstance(answer, Ended):
            return answer
        raw = getattr(answer, part)
        try:
            result = msgspec.msgpack.decode(raw if raw is not None else b"", type=type_)
        except msgspec.MsgspecError as error:
            result = Ended(cause="died", detail=f"its answer cannot be read ({error})")
        if isinstance(result, Ended):
            # What a killed build left running goes with the process.
            self._discard()
        return result

    # --- the cache --------------------------------------------------------------------------------------------

    def _keys(
        self,
        hello: Hello,
        device: str,
        options: CompileOptions,
        kernels: tuple[str, ...],
        arch: str | None,
        host: bool,
        debug: bool,
        instrumented: bool,
        number: int,
    ) -> dict[str, str]:
        common = (device, options, kernels, debug)
        keys: dict[str, str] = {}
        if arch is not None and "nvrtc" in hello.versions:
            headers = nvrtc_headers(self._nvrtc)
            keys["cuda"] = BuildCache.key(
                "cuda",
                *common,
                arch,
                hello.versions["nvrtc"],
                _chosen_identity(self._nvrtc),
                cuda_parts(),
                headers.folders[1:],
            )
        if host and "host" in hello.versions:
            keys["host"] = BuildCache.key(
                "instrumented" if instrumented else "host",
                *common,
                number,
                hello.versions["host"],
                hello.host_key,
                host_parts(),
            )
        return keys

    def _remember(self, key: str | None, result: CudaBuild | HostBuild | BuildFailure) -> None:
        if key is None:
            return
        if isinstance(result, CudaBuild):
            self._cache.store(key, Stored(cuda=result))
        elif isinstance(result, HostBuild):
            self._cache.store(key, Stored(host=result))
        elif result.cause in ("source", "unsupported"):
            self._cache.store(key, Stored(failure=result))


def _chosen_identity(named: str) -> str:
    """Of the NVRTC that was chosen; "" for the installed one."""
    try:
        choice = chosen(named)
        return choice.identity if choice is not None else ""
    except (BadChoice, OSError):
        return ""


def cuda_arch(name: str) -> int:
    """`__CUDA_ARCH__` of an architecture: 900 for "sm_90a"; 900 where the name says none."""
    digits = "".join(c for c in name if c.isdigit())
    return 10 * int(digits) if digits else 900


class _ProcessFailed(JudgeError):
    """The compiler process did not become ready."""


def _cached(stored: Stored | None) -> CudaBuild | HostBuild | BuildFailure | None:
    if stored is None:
        return None
    found = stored.cuda or stored.host or stored.failure
    return msgspec.structs.replace(found, cached=True) if found is not None else None


def _ended(result: Ended, who: str) -> BuildFailure:
    """What a build that gave no answer means to the candidate's author."""
    words = {
        "timeout": f"{who} did not finish within its time. Look for recursion in templates or huge unrolled loops.",
        "memory": f"{who} needed more memory than a build may use. Look for recursive templates or huge arrays.",
    }
    detail = f" ({result.detail[:300]})" if result.detail else ""
    message = words.get(result.cause, f"{who} died while it compiled this{detail}.")
    causes: dict[str, Literal["timeout", "memory", "crashed", "died"]]
    causes = {"timeout": "timeout", "memory": "memory", "crashed": "crashed"}
    cause = causes.get(result.cause, "died")
    return BuildFailure(cause=cause, diagnostics=(Diagnostic(message),), seconds=result.seconds)
