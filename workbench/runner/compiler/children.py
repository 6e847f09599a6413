"""Each build in a child of its own: it dies alone, its memory goes with it, and it leaves nothing to the next one.

The process that forks never reads a candidate; it only passes on the bytes that a child wrote.
"""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import signal
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from workbench.core.wire import MAX_BUILD_FRAME_BYTES
from workbench.runner.compiler.messages import Ended

OUT_OF_MEMORY = 2
"""Exit status of a child whose memory was not enough."""

_encode = msgspec.msgpack.Encoder().encode
_LENGTH = struct.Struct("<Q")
"""Goes before each answer: an answer is complete before its child is gone, whose memory takes tens of milliseconds
to give back after a large precompiled header."""
private: list[int] = []
"""Descriptors of the process that forks, the client's pipe among them; its children close them first."""
_leaving: list[int] = []
"""Children that answered and were killed, and whose memory may still be on its way back."""


@dataclass
class Child:
    """A forked build and the end of the pipe that its answer comes through."""

    pid: int
    pipe: int
    started: float
    cpu_s: int
    chunks: list[bytes] = field(default_factory=list)
    size: int = 0
    done: bool = False

    announced: int | None = None
    """Bytes that its answer takes, its length included; None until that length is here."""

    def take(self, chunk: bytes) -> bool:
        """Add what came through the pipe ("" at its end); whether there is nothing more to wait for."""
        self.size += len(chunk)
        if not chunk or self.size > MAX_BUILD_FRAME_BYTES // 2:
            return True
        self.chunks.append(chunk)
        if self.announced is None and self.size >= _LENGTH.size:
            self.chunks = [b"".join(self.chunks)]
            self.announced = _LENGTH.size + _LENGTH.unpack_from(self.chunks[0])[0]
        return self.announced is not None and self.size >= self.announced

    def answer(self) -> bytes | None:
        """What it answered; None where some of it is missing, or where there is too much."""
        return b"".join(self.chunks)[_LENGTH.size :] if self.size == self.announced else None


def fork(work: Callable[[], msgspec.Struct], *, cpu_s: int) -> Child:
    """Start `work` in a child; what it returns is packed and comes through the child's pipe.

    Children of earlier builds are waited for first: no two builds are ever alive together but the parts of one.
    """
    reap()
    reader, writer = os.pipe()
    started = time.perf_counter()
    pid = os.fork()
    if pid:
        os.close(writer)
        return Child(pid, reader, started, cpu_s)
    code = 1
    try:
        os.close(reader)
        # Nothing may be written to the client's pipe but by the process that forks.
        for descriptor in private:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
        try:
            answer = _encode(work())
        except MemoryError:
            raise
        except Exception as error:
            answer = _encode(Ended(cause="died", detail=f"{type(error).__name__}: {error}"[:2000]))
        view = memoryview(_LENGTH.pack(len(answer)) + answer)
        while view:
            view = view[os.write(writer, view) :]
        code = 0
    except MemoryError:
        code = OUT_OF_MEMORY
    finally:
        os._exit(code)


def gather(children: list[Child], timeout_s: float, *, memory_bytes: int) -> list[bytes]:
    """Each child's packed answer, in order; a child that gave none is answered for with an `Ended`."""
    deadline = time.perf_counter() + timeout_s
    with selectors.DefaultSelector() as selector:
        for child in children:
            selector.register(child.pipe, selectors.EVENT_READ, child)
        while any(not c.done for c in children):
            left = deadline - time.perf_counter()
            if left <= 0:
                break
            for key, _ in selector.select(left):
                child = key.data
                child.done = child.take(os.read(child.pipe, 1 << 20))
                if child.done:
                    selector.unregister(child.pipe)
    return [_finish(child, memory_bytes) for child in children]


def reap() -> None:
    """Wait for the children that have answered to be gone."""
    while _leaving:
        os.waitpid(_leaving.pop(), 0)


def _finish(child: Child, memory_bytes: int) -> bytes:
    """End a child that answered; reap one that ended without. One that does neither is left to the client, which
    kills the whole group and starts it anew.
    """
    os.close(child.pipe)
    answer = child.answer()
    if answer is not None:
        # Nothing of it may run on, whatever the candidate made of it.
        os.kill(child.pid, signal.SIGKILL)
        _leaving.append(child.pid)
        return answer
    seconds = time.perf_counter() - child.started
    if not child.done:
        with contextlib.suppress(OSError):
            os.kill(child.pid, signal.SIGKILL)
        return _encode(Ended(cause="timeout", detail=f"after {seconds:.0f} s", seconds=seconds))
    _, status, usage = os.wait4(child.pid, 0)
    starved = os.WIFEXITED(status) and os.WEXITSTATUS(status) == OUT_OF_MEMORY
    if starved or usage.ru_maxrss * 1024 > memory_bytes // 2:
        return _encode(Ended(cause="memory", detail="out of memory", seconds=seconds))
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL):
        used = usage.ru_utime + usage.ru_stime
        if os.WTERMSIG(status) == signal.SIGXCPU or used >= child.cpu_s:
            return _encode(Ended(cause="timeout", detail=f"after {used:.0f} s of one core", seconds=seconds))
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        # SIGKILL comes from outside: the system's, when memory is short, or that of a client in a hurry.
        cause = "died" if os.WTERMSIG(status) == signal.SIGKILL else "crashed"
        return _encode(Ended(cause=cause, detail=f"ended by {name}", seconds=seconds))
    return _encode(Ended(cause="died", detail="it ended without an answer", seconds=seconds))
