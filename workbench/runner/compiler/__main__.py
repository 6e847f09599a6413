"""The compiler process: `python -m workbench.runner.compiler`.

Warm and confined before it reads anything: it knows NVRTC and the way to the host compiler, may read headers and
system libraries, write to its work folder, and run the toolchain. Each build runs in a forked child, so this process
itself never looks at a candidate. Speaks `core.wire` frames of `messages` on its standard streams.
"""

from __future__ import annotations

import contextlib
import gc
import math
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from workbench.core.build import BuildFailure, HostBuild
from workbench.core.errors import JudgeError
from workbench.core.plan import Diagnostic
from workbench.core.wire import MAX_FRAME_BYTES, FrameError, read_frame, write_frame
from workbench.runner.compiler.children import Child, fork, gather, private, reap
from workbench.runner.compiler.chosen import nvrtc_headers
from workbench.runner.compiler.headers import Headers
from workbench.runner.compiler.messages import (
    FILE_NAME,
    PATIENCE,
    BuildAnswer,
    BuildRequest,
    CudaAnswer,
    Failed,
    Hello,
    HostAnswer,
)
from workbench.runner.compiler.precompiled import Precompiled
from workbench.runner.host.build import compile_host
from workbench.runner.host.toolchain import Prepared, find_toolchain, prepare, readable_paths
from workbench.sandbox import Policy, confine, spawn_guard

NOBODY = 65534
MEMORY_BYTES = 4 << 30
FILE_BYTES = 1 << 30
"""A precompiled header with all of CUB, libcu++ and cooperative groups takes 420 MB."""
SYSTEM = ("/usr/include", "/usr/local/include", "/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/local/lib")
TOOLS = (
    "/usr/bin",
    "/bin",
    "/usr/lib/gcc",
    "/usr/libexec/gcc",
    "/usr/lib/llvm",
    "/lib64",
    "/usr/lib",
    "/lib",
)


class Process:
    """What the process holds between builds."""

    def __init__(self, work: Path, prepared: Path) -> None:
        self.work = work
        self.headers: Headers = nvrtc_headers()
        self.versions: dict[str, str] = {}
        self.absent: dict[str, str] = {}
        self.nvrtc: Any = None
        self.host: Prepared | None = None
        self.host_key = ""
        self._load_nvrtc()
        self._load_host(prepared)
        self.precompiled = Precompiled(work / "pch", self.headers)

    def _load_nvrtc(self) -> None:
        try:
            from workbench.runner.compiler import nvrtc

            self.versions["nvrtc"] = nvrtc.warm_up()
            self.nvrtc = nvrtc
        except (ImportError, RuntimeError) as error:
            self.absent["nvrtc"] = (
                f"NVRTC is not here ({error}). Install nvidia-cuda-nvrtc, or run on Linux where its wheel exists; "
                "correct or unset WORKBENCH_NVRTC if it is set."
            )

    def _load_host(self, prepared: Path) -> None:
        """Find the C++ compiler and precompile the host target's own headers, once for all processes."""
        toolchain = find_toolchain()
        if toolchain is None:
            self.absent["host"] = (
                "There is no C++ compiler for the host target. Install g++ or clang++, or set CXX."
            )
            return
        try:
            found = prepare(prepared, toolchain)
        except (JudgeError, OSError, subprocess.SubprocessError) as error:
            self.absent["host"] = str(error)
            return
        if os.geteuid() == 0 and not others_can_read(str(found.folder)):
            # Below a private folder: the user that this process becomes gets a copy that he cannot change.
            copy = self.work / found.folder.name
            shutil.copytree(found.folder, copy)
            found = Prepared(found.toolchain, copy)
        self.host = found
        self.host_key = toolchain.key
        self.versions["host"] = toolchain.version

    def policy(self) -> Policy:
        """Headers, system libraries and the toolchain to read; the work folder to write; nothing else."""
        readable = [*SYSTEM, *self.headers.folders, *readable_paths(), "/dev/urandom", "/etc/ld.so.cache"]
        if self.host is not None:
            readable.append(str(self.host.folder))
        tools = [*TOOLS, *toolchain_folders()]
        return Policy(
            read=tuple(readable),
            write=(str(self.work), "/dev/null"),
            execute=tuple(tools) if self.host is not None else (),
            processes=True,
            memory_bytes=MEMORY_BYTES,
            file_bytes=FILE_BYTES,
            open_files=256,
            # A Python, or headers, below a private folder cannot be read as another user.
            unprivileged=all(
                others_can_read(p) for p in (*self.headers.folders, *readable_paths(), sys.prefix)
            ),
        )

    def build(self, request: BuildRequest) -> BuildAnswer:
        """Both builds of a request, side by side, each in its own child."""
        self.precompiled.collect()
        folder = self.work / f"build-{request.number}"
        folder.mkdir(mode=0o700)
        cpu_s = math.ceil(request.timeout_s)
        limit_s = PATIENCE * request.timeout_s
        children: dict[str, Child] = {}
        if request.arch is not None:
            children["cuda"] = fork(lambda: self._cuda(request), cpu_s=cpu_s)
        if request.host:
            children["host"] = fork(lambda: self._host(request, folder), cpu_s=cpu_s)
        answers = gather(list(children.values()), limit_s, memory_bytes=MEMORY_BYTES)
        shutil.rmtree(folder, ignore_errors=True)
        packed = dict(zip(children, answers, strict=True))
        return BuildAnswer(number=request.number, cuda=packed.get("cuda"), host=packed.get("host"))

    def _cuda(self, request: BuildRequest) -> CudaAnswer:
        if self.nvrtc is None:
            return CudaAnswer(ok=False, missing=True, log=self.absent["nvrtc"], version="", seconds=0.0)
        assert request.arch is not None
        # The work folder's random name would stand in the line table, and make each cubin another one.
        os.chdir("/")
        answer: CudaAnswer = self.nvrtc.compile_cuda(
            request.device,
            request.options,
            request.kernels,
            arch=request.arch,
            headers=self.headers,
            debug=request.debug,
            version=self.versions["nvrtc"],
            precompiled=self.precompiled.find(request),
        )
        return answer

    def _host(self, request: BuildRequest, folder: Path) -> HostAnswer:
        if self.host is None:
            failure = BuildFailure(cause="missing", diagnostics=(Diagnostic(self.absent["host"]),))
            return HostAnswer(failure=failure)
        result = compile_host(
            request.device,
            FILE_NAME,
            request.options,
            request.kernels,
            folder,
            prepared=self.host,
            debug=request.debug,
            instrumented=request.instrumented,
            timeout_s=PATIENCE * request.timeout_s,
            cuda_arch=request.cuda_arch,
        )
        if isinstance(result, HostBuild):
            return HostAnswer(build=result)
        return HostAnswer(failure=result)


def toolchain_folders() -> list[str]:
    """Where a compiler named by CXX lives, with the folders that it reads beside its own."""
    found: list[str] = []
    for name in (os.environ.get("CXX"), "g++", "clang++"):
        path = shutil.which(name) if name else None
        if path:
            root = Path(path).resolve().parent.parent
            if root not in (Path("/"), Path("/usr"), Path("/home"), Path.home()):
                found.append(str(root))
    return found


def others_can_read(path: str) -> bool:
    """Whether a user without rights of his own gets through to `path`."""
    at = Path(path).resolve()
    needed = 0o5 if at.is_dir() else 0o4
    with contextlib.suppress(OSError):
        return at.stat().st_mode & needed == needed and all(p.stat().st_mode & 0o1 for p in at.parents)
    return False


def main() -> None:
    """Serve builds until the client closes the pipe."""
    parent, work, prepared = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    spawn_guard(parent)
    # The streams are moved away, so that nothing else can write into the protocol.
    commands, answers = os.dup(0), os.dup(1)
    # Opened here once: confined, this process may not open it on every machine.
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(null, descriptor)
    private.extend((commands, answers, null))
    with contextlib.suppress(OSError):
        os.nice(5)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        process = Process(work, prepared)
        os.environ.update(TMPDIR=str(work), HOME=str(work), LC_ALL="C")
        policy = process.policy()
        if os.geteuid() == 0 and policy.unprivileged:
            os.chown(work, NOBODY, NOBODY)
        evidence = confine(policy)
        process.precompiled.folder.mkdir(mode=0o700)
    except Exception as error:
        write_frame(answers, Failed(message=f"{type(error).__name__}: {error}"))
        return
    write_frame(
        answers,
        Hello(
            versions=process.versions,
            host_key=process.host_key,
            absent=process.absent,
            means=evidence.means,
            missing=evidence.missing,
        ),
    )
    # Children share what is here now; collecting it would only copy pages.
    gc.freeze()
    with contextlib.suppress(FrameError, BrokenPipeError):
        while (request := read_frame(commands, BuildRequest, limit=2 * MAX_FRAME_BYTES)) is not None:
            write_frame(answers, process.build(request))
            process.precompiled.make_for(request)
            reap()


if __name__ == "__main__":
    main()
