"""A started runner process and its channel: nothing that comes through it is believed, or read without a bound."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

import workbench
from workbench.core import wire
from workbench.runner.host import messages as m
from workbench.sandbox import popen

_TLS_BYTES = 2 << 20
"""Room for static shared memory in each thread's thread-local storage."""


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


class RunnerProcess:
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

    def receive(self, timeout_s: float) -> m.Answer | None:
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
