"""Children die with their parent, however it ends."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from workbench.sandbox import libc


def spawn_guard(parent_pid: int) -> None:
    """Called by a child at its start: it is killed when its parent ends, and ends now if that has happened already.

    Linux ties this to the *thread* that started the child, so start such children with `popen` below, never from a
    thread that ends before they do. `confine` keeps the guard (a change of user would clear it).

    Args:
        parent_pid: the parent's process number as the parent gave it.
    """
    if sys.platform == "linux":
        libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


class _Spawner:
    """One thread that lives as long as the process and starts every guarded child."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = 0
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def run(self, start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._pid != os.getpid():  # also after a fork, where threads are gone
                self._jobs = queue.SimpleQueue()
                threading.Thread(target=self._serve, args=(self._jobs,), name="spawner", daemon=True).start()
                self._pid = os.getpid()
        done: queue.SimpleQueue[subprocess.Popen[bytes] | BaseException] = queue.SimpleQueue()

        def job() -> None:
            try:
                done.put(start())
            except BaseException as error:
                done.put(error)

        self._jobs.put(job)
        answer = done.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    @staticmethod
    def _serve(jobs: queue.SimpleQueue[Callable[[], None]]) -> None:
        while True:
            jobs.get()()


_spawner = _Spawner()


def popen(argv: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """`subprocess.Popen(argv, **options)`, started from a thread that never ends (see `spawn_guard`).

    Raises:
        OSError: as Popen does.
    """
    return _spawner.run(lambda: subprocess.Popen(list(argv), **options))
