"""The judge's warm parts: planner, compiler, runners and the reference thread, shared by all candidates."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from workbench.core.build import HostBuild
from workbench.core.task import SizeSpec
from workbench.dialect.planner import Planner
from workbench.judge.worker.references import Prepared, prepare
from workbench.judge.worker.task.loader import LoadedTask
from workbench.runner.compiler.client import Compiler
from workbench.runner.host.client import HostRunner, HostRunners


class Parts:
    """Started once; each part restarts its own process when that dies."""

    def __init__(self) -> None:
        """Start the processes; they get warm while the caller imports torch and loads the task."""
        self.compiler = Compiler()
        self.planner = Planner()
        self.runners = HostRunners()
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="judge-reference")
        self._runner: HostRunner | None = None

    def start_runner(self, build: HostBuild) -> HostRunner:
        """A sandboxed process with `build` loaded; its owner closes it."""
        self._runner = self.runners.start(build)
        return self._runner

    def prepare(self, task: LoadedTask, size: SizeSpec, seed: int) -> Prepared:
        """One random draw with its reference values, on the thread that owns the task."""
        return self.pool.submit(prepare, task, size, seed, "random").result()

    def versions(self) -> dict[str, str]:
        """Of the compilers; one that is missing is not named."""
        return self.compiler.versions

    def interrupt(self) -> None:
        """From another thread: end whatever a gate waits for. The next candidate finds the parts working again."""
        self.planner.interrupt()
        self.compiler.interrupt()
        runner = self._runner
        if runner is not None:
            runner.interrupt()

    def close(self) -> None:
        """End every process."""
        self.pool.shutdown(wait=False, cancel_futures=True)
        self.runners.close()
        self.planner.close()
        self.compiler.close()
