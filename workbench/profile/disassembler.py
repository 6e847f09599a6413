"""The process in which nvdisasm runs: `python -m workbench.profile.disassembler`.

nvdisasm parses a file that a hostile source shaped, so it gets no more than it needs: its own program and the system's
libraries to read, a folder of its own to write, no network, bounded memory and time. The process is confined before
it gets its first cubin and never looks into one; each is read by a child with an empty folder.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import msgspec

from workbench.core.errors import JudgeError
from workbench.core.wire import MAX_BUILD_FRAME_BYTES, FrameError, read_frame, write_frame
from workbench.sandbox import Evidence, Policy, confine, popen, spawn_guard

TIMEOUT_S = 30.0
MEMORY_BYTES = 4 << 30
MAX_OUTPUT = MAX_BUILD_FRAME_BYTES - (1 << 20)
NOBODY = 65534
_LIBRARIES = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/etc/ld.so.cache")
_GRACE_S = 10.0
START_TIMEOUT_S = 60.0
"""As the compiler has: a process that hangs while it imports or confines itself is given up."""
AGAIN = "Verify again; if it stays, run `workbench doctor`."


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """The process is confined; or, with `failure`, could not be."""

    means: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    failure: str = ""


class Question(msgspec.Struct, frozen=True, kw_only=True, tag="question"):
    """One cubin to disassemble."""

    cubin: bytes


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag="answer"):
    """What nvdisasm printed, or why there is nothing."""

    text: bytes = b""
    failure: str = ""


class Disassembler:
    """A confined nvdisasm, started at its first use or by `warm`; from any thread, one cubin at a time."""

    def __init__(self, tool: str) -> None:
        self._tool = tool
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._evidence: Evidence | None = None

    def warm(self) -> None:
        """Start the process, and do not wait until it is ready."""
        with self._lock, contextlib.suppress(OSError):
            self._started()

    @property
    def evidence(self) -> Evidence:
        """What confines it.

        Raises:
            JudgeError: it cannot be confined here.
        """
        with self._lock:
            return self._ready()

    def run(self, cubin: bytes) -> str:
        """The text of `nvdisasm -c -gi -ndf`.

        Raises:
            JudgeError: nvdisasm cannot read this cubin, or could not be confined.
        """
        with self._lock:
            self._ready()
            process = self._process
            assert process is not None and process.stdin is not None and process.stdout is not None
            # A process that stops in the middle is killed, and then read as ended.
            timer = threading.Timer(TIMEOUT_S + _GRACE_S, self._kill)
            timer.daemon = True
            timer.start()
            try:
                write_frame(process.stdin.fileno(), Question(cubin=cubin))
                answer = read_frame(process.stdout.fileno(), Answer, limit=MAX_BUILD_FRAME_BYTES)
            except (FrameError, OSError):
                answer = None
            finally:
                timer.cancel()
            if answer is None:
                self._discard()
                raise JudgeError(
                    "nvdisasm ended without an answer; the machine code could not be audited.", do=AGAIN
                )
        if answer.failure:
            raise JudgeError(answer.failure, do=AGAIN)
        return bytes(answer.text).decode("utf-8", "replace")

    def close(self) -> None:
        """End the process and remove its folder; the next use starts another."""
        with self._lock:
            self._discard()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._discard()
        self._folder = Path(tempfile.mkdtemp(prefix="workbench-sass-"))
        kept = ("PATH", "HOME", "LANG", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
        self._process = popen(
            [
                *(sys.executable, "-P", "-m", "workbench.profile.disassembler"),
                *(str(os.getpid()), self._tool, str(self._folder)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
            env={name: os.environ[name] for name in kept if name in os.environ}
            | {"PYTHONDONTWRITEBYTECODE": "1"},
            # A group of its own: whatever nvdisasm left behind goes with it.
            start_new_session=True,
        )
        return self._process

    def _ready(self) -> Evidence:
        try:
            process = self._started()
        except OSError as error:
            raise JudgeError(
                f"nvdisasm could not be started, so machine code is not read: {error.strerror or error}.",
                do="Free some memory, or space in the temporary folder, and verify again.",
            ) from None
        if self._evidence is None:
            assert process.stdout is not None
            timer = threading.Timer(START_TIMEOUT_S, self._kill)
            timer.daemon = True
            timer.start()
            try:
                ready = read_frame(process.stdout.fileno(), Ready)
            except (FrameError, OSError):
                ready = None
            finally:
                timer.cancel()
            if ready is None or ready.failure:
                self._discard()
                why = ready.failure if ready is not None else "its process did not start"
                raise JudgeError(
                    f"nvdisasm could not be confined, so machine code is not read: {why}", do=AGAIN
                )
            self._evidence = Evidence(means=ready.means, missing=ready.missing)
        return self._evidence

    def _kill(self) -> None:
        process = self._process
        if process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)

    def _discard(self) -> None:
        self._kill()
        process, self._process, self._evidence = self._process, None, None
        if process is not None:
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def policy(tool: str, folder: str) -> Policy:
    """What nvdisasm needs, and nothing else."""
    program = Path(tool).resolve()
    return Policy(
        read=_LIBRARIES,
        write=(folder, "/dev/null"),
        execute=(str(program), "/lib64", "/lib", "/usr/lib", "/usr/lib64"),
        processes=True,
        memory_bytes=MEMORY_BYTES,
        file_bytes=MAX_OUTPUT,
        open_files=64,
        unprivileged=_others_can_run(program),
    )


def _others_can_run(program: Path) -> bool:
    with contextlib.suppress(OSError):
        return program.stat().st_mode & 0o5 == 0o5 and all(p.stat().st_mode & 0o1 for p in program.parents)
    return False


def _disassemble(tool: str, folder: Path, number: int, cubin: bytes) -> Answer:
    """In a folder that only this child sees filled."""
    place = folder / str(number)
    place.mkdir(mode=0o700)
    try:
        source, target = place / "code.cubin", place / "code.sass"
        source.write_bytes(cubin)
        with target.open("wb") as output:
            done = subprocess.run(
                [tool, "-c", "-gi", "-ndf", str(source)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.PIPE,
                cwd=place,
                env={"LC_ALL": "C"},
                timeout=TIMEOUT_S,
            )
        if done.returncode != 0:
            words = done.stderr.decode("utf-8", "replace").strip().splitlines()
            why = words[-1][:300] if words else str(done.returncode)
            return Answer(failure=f"nvdisasm cannot read the cubin: {why}.")
        return Answer(text=target.read_bytes())
    except subprocess.TimeoutExpired:
        return Answer(failure="nvdisasm did not finish; the machine code could not be audited.")
    except OSError as error:
        return Answer(failure=f"nvdisasm could not be run in its sandbox: {error.strerror or error}.")
    finally:
        shutil.rmtree(place, ignore_errors=True)


def main() -> None:
    """Serve cubins until the client closes the pipe."""
    parent, tool, folder = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    spawn_guard(parent)
    # The streams are moved away, so that nothing else can write into the protocol.
    questions, answers = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        held = policy(tool, str(folder))
        if os.geteuid() == 0 and held.unprivileged:
            os.chown(folder, NOBODY, NOBODY)
        evidence = confine(held)
    except Exception as error:
        write_frame(answers, Ready(failure=str(error)))
        return
    write_frame(answers, Ready(means=evidence.means, missing=evidence.missing))
    number = 0
    with contextlib.suppress(FrameError, BrokenPipeError):
        while (question := read_frame(questions, Question, limit=MAX_BUILD_FRAME_BYTES)) is not None:
            number += 1
            write_frame(answers, _disassemble(tool, folder, number, question.cubin))


if __name__ == "__main__":
    main()
