"""Each build in a child of its own: it dies alone, its memory goes with it, and it leaves nothing to the next one.

The process that forks never reads a candidate; it only passes on the bytes that a child wrote.
"""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from workbench.core.wire import MAX_BUILD_FRAME_BYTES
from workbench.runner.compiler.messages import Ended

OUT_OF_MEMORY = 2
"""Exit status of a child whose memory was not enough."""

_encode = msgspec.msgpack.Encoder().encode


@dataclass
class Child:
    """A forked build and the end of the pipe that its answer comes through."""

    pid: int
    pipe: int
    started: float
    chunks: list[bytes] = field(default_factory=list)
    size: int = 0
    done: bool = False


def fork(work: Callable[[], msgspec.Struct], *, cpu_s: int) -> Child:
    """Start `work` in a child; what it returns is packed and comes through the child's pipe."""
    reader, writer = os.pipe()
    started = time.perf_counter()
    pid = os.fork()
    if pid:
        os.close(writer)
        return Child(pid, reader, started)
    code = 1
    try:
        os.close(reader)
        # Nothing may be written to the client's pipe but by the process that forks.
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1):
            os.dup2(null, descriptor)
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
        try:
            answer = _encode(work())
        except MemoryError:
            raise
        except Exception as error:
            answer = _encode(Ended(cause="died", detail=f"{type(error).__name__}: {error}"[:2000]))
        view = memoryview(answer)
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
                chunk = os.read(child.pipe, 1 << 20)
                child.size += len(chunk)
                if chunk and child.size <= MAX_BUILD_FRAME_BYTES // 2:
                    child.chunks.append(chunk)
                    continue
                child.done = True
                selector.unregister(child.pipe)
    return [_finish(child, memory_bytes) for child in children]


def _finish(child: Child, memory_bytes: int) -> bytes:
    """Reap a child. One that did not end is left to the client, which kills the whole group and starts it anew."""
    os.close(child.pipe)
    seconds = time.perf_counter() - child.started
    if not child.done:
        with contextlib.suppress(OSError):
            os.kill(child.pid, signal.SIGKILL)
        return _encode(Ended(cause="timeout", detail=f"after {seconds:.0f} s", seconds=seconds))
    _, status, usage = os.wait4(child.pid, 0)
    if status == 0 and child.size <= MAX_BUILD_FRAME_BYTES // 2:
        return b"".join(child.chunks)
    starved = os.WIFEXITED(status) and os.WEXITSTATUS(status) == OUT_OF_MEMORY
    if starved or usage.ru_maxrss * 1024 > memory_bytes // 2:
        return _encode(Ended(cause="memory", detail="out of memory", seconds=seconds))
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return _encode(Ended(cause="died", detail=f"ended by {name}", seconds=seconds))
    return _encode(Ended(cause="died", detail="it ended without an answer", seconds=seconds))
