"""The planner process: a clean parent that forks a confined child for each candidate and believes nothing it says.

The parent never evaluates a plan. It reads a request from its client, forks, and hands the child's bytes back unread,
within a time and a size; so one candidate cannot touch the next one's evaluation, and a fork of a warm process costs
a millisecond or two where a fresh interpreter costs a hundred. It ends when its client's end of the socket closes.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import time
import unicodedata  # noqa: F401  Python's parser imports it for names beyond ASCII; later it cannot
from typing import Literal, NoReturn

import msgspec

from workbench.core.errors import JudgeError
from workbench.core.wire import FrameError, read_frame, write_frame
from workbench.dialect.evaluate import EvaluateRequest, evaluate
from workbench.sandbox import Evidence, Policy, confine, spawn_guard

MEMORY_BYTES = 512 << 20
TIMEOUT_S = 2.0
ANSWER_BYTES = 8 << 20
"""Of one candidate's answer. 4,096 launches with 20 arguments each take about 1 MiB a size."""

_encode = msgspec.msgpack.Encoder().encode

POLICY = Policy(memory_bytes=MEMORY_BYTES, cpu_s=4, open_files=16)


class PlannerReady(msgspec.Struct, frozen=True, tag="ready"):
    """The first message: what a trial child found to confine it; `error` where the sandbox could not be set up."""

    evidence: Evidence | None
    error: str = ""
    do: str = ""


class ChildEnded(msgspec.Struct, frozen=True, tag="ended"):
    """What became of the child: its bytes (hostile, undecoded), or why there are none."""

    cause: Literal["answered", "timeout", "died", "too much"]
    answer: bytes = b""
    signal: int = 0
    """That killed it; 0 for none."""


def main(fd: int) -> None:
    """Serve evaluations on a connected socket until its other end closes."""
    os.set_inheritable(fd, False)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    if null > 2:
        os.close(null)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()  # children share these pages; a collection in one would copy them
    write_frame(fd, _trial())
    while True:
        try:
            request = read_frame(fd, EvaluateRequest)
        except FrameError:
            break
        if request is None:
            break
        ended = _run(fd, request)
        if ended is None:
            break
        write_frame(fd, ended)


def _trial() -> PlannerReady:
    """Confine a child once, before any plan: its word can be trusted."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            ready = PlannerReady(confine(POLICY))
        except JudgeError as error:
            ready = PlannerReady(None, error.what, error.do)
        write_frame(writer, ready)
        os._exit(0)
    os.close(writer)
    try:
        return read_frame(reader, PlannerReady) or PlannerReady(
            None, "The planner's sandbox could not be tried."
        )
    finally:
        os.close(reader)
        os.waitpid(pid, 0)


def _run(client: int, request: EvaluateRequest) -> ChildEnded | None:
    """Fork, evaluate, collect. None: the client has gone."""
    reader, writer = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _child(parent, client, writer, request)
    os.close(writer)
    try:
        return _collect(client, reader, pid)
    finally:
        os.close(reader)


def _child(parent: int, client: int, writer: int, request: EvaluateRequest) -> NoReturn:
    try:
        spawn_guard(parent)
        os.close(client)
        confine(POLICY)
        view = memoryview(_encode(evaluate(request)))
        while view:
            view = view[os.write(writer, view) :]
    except BaseException:
        os._exit(1)
    os._exit(0)


def _collect(client: int, reader: int, pid: int) -> ChildEnded | None:
    deadline = time.monotonic() + TIMEOUT_S
    chunks: list[bytes] = []
    total = 0
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    poll.register(client, select.POLLIN | select.POLLRDHUP)
    cause: Literal["answered", "timeout", "died", "too much"] = "died"
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            cause = "timeout"
            break
        events = dict(poll.poll(left * 1000))
        if client in events:  # it sends nothing before it has its answer, so it has gone
            _end(pid)
            return None
        if reader in events:
            chunk = os.read(reader, 1 << 16)
            if not chunk:
                cause = "answered"
                break
            chunks.append(chunk)
            total += len(chunk)
            if total > ANSWER_BYTES:
                cause = "too much"
                break
    status = _end(pid) if cause != "answered" else _wait(pid, deadline)
    answer = b"".join(chunks) if cause == "answered" else b""
    if cause == "answered" and (status != 0 or not answer):
        cause = "died"
    return ChildEnded(cause, answer, os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)


def _end(pid: int) -> int:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def _wait(pid: int, deadline: float) -> int:
    """The status of a child that closed its pipe; killed if it then goes on living."""
    pidfd = os.pidfd_open(pid)
    try:
        ready = select.select([pidfd], [], [], max(deadline - time.monotonic(), 0.05))[0]
    finally:
        os.close(pidfd)
    return os.waitpid(pid, 0)[1] if ready else _end(pid)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        main(channel.fileno())
