"""Is a mutant the same program as its original? Where NVRTC makes the same PTX of both, nothing can tell them apart."""

from __future__ import annotations

import re
import threading

from mutants.sampling import Mutant
from workbench.core.build import CudaBuild
from workbench.core.plan import Plan
from workbench.core.task import TaskInfo
from workbench.dialect.planner import Planner
from workbench.dialect.source import CandidateSource, split
from workbench.runner.compiler.client import Compiler

ARCH = "sm_90a"


class Twins:
    """Compares by plan and PTX at all sizes that the task declares; started when first asked."""

    def __init__(self) -> None:
        """Nothing runs before the first question."""
        self._planner: Planner | None = None
        self._compiler: Compiler | None = None
        self._lock = threading.Lock()

    def same(self, mutant: Mutant, task: TaskInfo) -> bool:
        """Whether the plans are equal and the compiled code is; False where one of them does not compile."""
        with self._lock:
            self._planner = self._planner or Planner()
            self._compiler = self._compiler or Compiler()
            one = self._code(mutant.kernel.path.read_bytes(), task)
            return one is not None and one == self._code(mutant.source, task)

    def close(self) -> None:
        """End the planner and the compiler."""
        for part in (self._planner, self._compiler):
            if part is not None:
                part.close()

    def _code(self, data: bytes, task: TaskInfo) -> list[object] | None:
        assert self._planner is not None and self._compiler is not None
        source = split(data)
        if not isinstance(source, CandidateSource):
            return None
        plans = self._planner.evaluate(source, task.sizes)
        if not isinstance(plans, list):
            return None
        found: list[object] = []
        for plan in plans:
            if not isinstance(plan, Plan):
                continue
            build = self._compiler.build(source, plan.options, plan.kernels, arch=ARCH, host=False).cuda
            if not isinstance(build, CudaBuild):
                return None
            found += [plan.steps, plan.outputs, [t.spec for t in plan.tensors], _code_of(build.ptx)]
        return found


def _code_of(ptx: str) -> str:
    """PTX without what only says where it came from."""
    code = ptx.split("\t.section", 1)[0]
    return "\n".join(line for line in code.splitlines() if not re.match(r"\s*(\.loc|\.file|//)", line))
