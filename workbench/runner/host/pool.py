"""Runners of the host target, and a warm spare of them that is prepared in the background."""

from __future__ import annotations

import os
import secrets
import threading

from workbench.core.build import HostBuild
from workbench.core.errors import JudgeError
from workbench.runner.host import messages as m
from workbench.runner.host.child import RunnerDiedError, RunnerProcess
from workbench.runner.host.client import START_TIMEOUT_S, HostRunner, default_memory_bytes
from workbench.sandbox import Evidence

LOAD_TIMEOUT_S = 20.0
"""For static constructors, which are the candidate's code."""


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
        self._spare: RunnerProcess | None = None
        self._prepare()

    def _prepare(self) -> None:
        with self._lock:
            if self._spare is None and not self._closed:
                self._spare = RunnerProcess(
                    self.output
                )  # does not wait: it gets ready while the judge does something else

    def take(self) -> RunnerProcess:
        """A process that is up.

        Raises:
            JudgeError: none comes up.
        """
        why = ""
        for _ in range(3):
            with self._lock:
                process, self._spare = self._spare, None
            process = process or RunnerProcess(self.output)
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

    def start(self, build: HostBuild, *, memory_bytes: int = 0) -> HostRunner:
        """A runner with the library loaded in a sandboxed process.

        Args:
            memory_bytes: address space beside the usual (`far.py`).

        A library that faults while it is loaded gives a runner all of whose calls report that fault.

        Raises:
            JudgeError: no runner can be started here.
        """
        runner = HostRunner(self, build)
        runner.memory_bytes += memory_bytes
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
