"""The judge's warm parts: planner, compiler, runners and the reference thread, shared by all candidates."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from workbench.core.build import CudaBuild, HostBuild
from workbench.core.plan import NotCovered, Plan, PlanFailure
from workbench.dialect.planner import Planner
from workbench.profile import sass
from workbench.profile.audit import AuditReport, audit
from workbench.runner.compiler.client import Builds, Compiler
from workbench.runner.host.client import HostRunner
from workbench.runner.host.pool import HostRunners
from workbench.sandbox import Evidence

AUDITS_KEPT = 256
REFERENCE_GRACE_S = 20.0
"""How long the reference may still take over one case of a candidate that is done with or given up: most take
milliseconds, and a judge that is started anew loads the task again."""


class Parts:
    """Started once; each part restarts its own process when that dies."""

    def __init__(self) -> None:
        """Start the processes; they get warm while the caller imports torch and loads the task."""
        self.compiler = Compiler()
        self.planner = Planner()
        sass.warm()
        self.runners = HostRunners()
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="judge-reference")
        self._audits = ThreadPoolExecutor(1, thread_name_prefix="judge-audit")
        self._builds = ThreadPoolExecutor(1, thread_name_prefix="judge-instrumented")
        self._audited: dict[str, Future[AuditReport]] = {}
        self._runner: HostRunner | None = None
        self._busy: Planner | Compiler | None = None
        self.stuck = False
        """The reference thread does not come back, and nobody can end it: only a new judge can go on."""

    def settled(self) -> bool:
        """Wait until the reference thread has left what was asked for; where it does not in time, we are `stuck`."""
        if not self.stuck:
            try:
                self.pool.submit(int).result(REFERENCE_GRACE_S)
            except TimeoutError:
                self.stuck = True
        return not self.stuck

    def evaluate(self, *args: Any, **kwargs: Any) -> list[Plan | NotCovered] | PlanFailure:
        """`Planner.evaluate`, which `interrupt` ends."""
        self._busy = self.planner
        try:
            return self.planner.evaluate(*args, **kwargs)
        finally:
            self._busy = None

    def build(self, *args: Any, **kwargs: Any) -> Builds:
        """`Compiler.build`, which `interrupt` ends."""
        self._busy = self.compiler
        try:
            return self.compiler.build(*args, **kwargs)
        finally:
            self._busy = None

    def start_build(self, *args: Any, **kwargs: Any) -> Future[Builds]:
        """`Compiler.build` in the background."""
        return self._builds.submit(self.compiler.build, *args, **kwargs)

    @contextmanager
    def another_runner(self, build: HostBuild, *, memory_bytes: int = 0) -> Iterator[HostRunner]:
        """A runner beside the one of `start_runner`, for a while; `interrupt` ends it.

        Args:
            memory_bytes: address space beside the usual.
        """
        previous = self._runner
        runner = self._runner = self.runners.start(build, memory_bytes=memory_bytes)
        try:
            yield runner
        finally:
            runner.close()
            self._runner = previous

    def start_runner(self, build: HostBuild) -> HostRunner:
        """A sandboxed process with `build` loaded; its owner closes it."""
        self._runner = self.runners.start(build)
        return self._runner

    def versions(self) -> dict[str, str]:
        """Of the compilers; one that is missing is not named."""
        return self.compiler.versions

    def start_audit(self, build: CudaBuild) -> Future[AuditReport]:
        """Disassemble and audit all kernels of a build in the background; the same cubin once."""
        key = hashlib.sha256(build.cubin).hexdigest() + "".join(k.name for k in build.kernels)
        found = self._audited.pop(key, None)
        if found is None or (found.done() and found.exception() is not None):
            found = self._audits.submit(audit, build, tuple(k.name for k in build.kernels))
        self._audited[key] = found
        if len(self._audited) > AUDITS_KEPT:
            self._audited.pop(next(iter(self._audited)))
        return found

    def forget(self) -> None:
        """Drop finished audits and disassemblies; both are made again, from files, where they are needed."""
        self._audited = {key: audit for key, audit in self._audited.items() if not audit.done()}
        sass.forget()

    def isolation(self) -> dict[str, Evidence]:
        """What confines each process that handles a candidate."""
        return {
            "planner": self.planner.evidence,
            "compiler": self.compiler.evidence,
            "runner": self.runners.evidence,
        }

    def interrupt(self) -> None:
        """From another thread: end whatever a gate waits for. The next candidate finds the parts working again.

        What nobody waits for is left alone: a compiler takes a second to get warm.
        """
        busy, runner = self._busy, self._runner
        if busy is not None:
            busy.interrupt()
        if runner is not None:
            runner.interrupt()

    def close(self) -> None:
        """End every process."""
        self.pool.shutdown(wait=False, cancel_futures=True)
        self._audits.shutdown(wait=False, cancel_futures=True)
        self._builds.shutdown(wait=False, cancel_futures=True)
        self.runners.close()
        self.planner.close()
        self.compiler.close()
