"""Indices at the sizes that the host cannot run: a few blocks of each launch, on tensors that are address space alone.

A declared size with a tensor of 2^31 bytes or a launch of 2^31 threads is planned and followed (`runner/host/far.py`).
What memory holds there is not real: values of the judged size, again and again. So only an index that comes out
2^32 elements off, and does so on two different contents, is a finding; whatever else happens there is not looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from workbench.core.build import HostBuild
from workbench.core.errors import JudgeError
from workbench.core.plan import CompileOptions, Launch, Plan
from workbench.core.tensors import ITEMSIZE
from workbench.judge.worker import watching
from workbench.judge.worker.outcome import Finding
from workbench.judge.worker.runs import layout_of, tensor_bytes
from workbench.judge.worker.task.loaded import Case
from workbench.runner.host.accesses import AccessFinding
from workbench.runner.host.client import HostRunner
from workbench.runner.host.far import PERIOD, FarMemory, FarSpec, agreed, follow, needs_following
from workbench.runner.host.steps import LaunchError

if TYPE_CHECKING:
    from workbench.judge.worker.judging import Judging

LIMIT_S = 4.0
"""For one launch; each of its blocks is given up long before."""


def far_plans(judging: Judging) -> dict[str, Plan]:
    """By size: the plans that only run as a few blocks, and whose indices may need more than 32 bits."""
    unjudged = {s.name for s in judging.task.sizes if not s.judged}
    return {name: p for name, p in judging.plans.items() if name in unjudged and needs_following(p)}


class Overflows:
    """What following found in one verdict; it happens beside the instrumented run, or when the gate asks."""

    def __init__(self, judging: Judging) -> None:
        self._judging = judging
        self._plans = far_plans(judging)
        self._found: dict[str, tuple[AccessFinding, ...]] = {}

    @property
    def address_space(self) -> int:
        """Bytes of address space that following needs, beside the usual; 0 where there is nothing to follow."""
        return max(
            (sum(t.spec.nbytes + 4096 for t in p.tensors if t.base is None) for p in self._plans.values()),
            default=0,
        )

    def kernels(self, options: CompileOptions) -> tuple[str, ...]:
        """What the far sizes launch under these options."""
        plans = (p for p in self._plans.values() if p.options == options)
        return tuple(dict.fromkeys(k for p in plans for k in p.kernels))

    def start(self) -> None:
        """Begin to compile what the instrumented runs' builds do not have."""
        for options in {p.options for p in self._plans.values()}:
            self._judging.instrumented.start(options, self.kernels(options))

    def follow(self, build: HostBuild, runner: HostRunner) -> None:
        """Follow every far size whose kernels are in `build`, unless that was done."""
        for name, plan in self._plans.items():
            if name not in self._found and set(plan.kernels) <= set(build.entries):
                self._found[name] = self._follow(name, plan, build, runner)

    def finding(self) -> Finding | None:
        """A fail where an index overflows at a size that is only declared; None otherwise."""
        judging = self._judging
        for options in {p.options for n, p in self._plans.items() if n not in self._found}:
            try:
                build = judging.instrumented.build(options, self.kernels(options))
                if isinstance(build, HostBuild):
                    with judging.bench.another_runner(build, memory_bytes=self.address_space) as runner:
                        self.follow(build, runner)
            except JudgeError as error:
                judging.unchecked.append(f"indices at full sizes: {error}")
        for name in self._plans:
            if name not in self._found:
                judging.unchecked.append(
                    f"size {name}: indices that need more than 32 bits were not looked for"
                )
        for name, found in self._found.items():
            if found:
                failed = watching.failed("fail", found)
                return Finding("fail", f"At {name}: {failed.reason}", {**failed.evidence, "size": name})
        return None

    def _follow(
        self, name: str, plan: Plan, build: HostBuild, runner: HostRunner
    ) -> tuple[AccessFinding, ...]:
        judging = self._judging
        size = next(s for s in judging.task.sizes if s.name == name)
        layout = layout_of(plan, size, frozenset())
        itemsize = {
            layout.bindings[n]: ITEMSIZE[t.spec.dtype] for n, t in enumerate(plan.tensors) if t.base is None
        }
        specs = [
            FarSpec(s.name, s.nbytes, itemsize.get(i, 1), s.writable) for i, s in enumerate(layout.specs)
        ]
        seeds = judging.drawn
        runs: list[tuple[AccessFinding, ...]] = []
        skipped = [s.kernel for s in plan.steps if isinstance(s, Launch) and s.cooperative]
        if plan.uses_library:
            skipped += ["library steps"]
        if plan.backward is not None:
            skipped += ["backward"]
        try:
            with FarMemory(specs) as memory:
                for number, case in enumerate(self._cases()):
                    self._fill(memory, layout.paths, case, number, seeds.at("far", name, number))
                    report = follow(
                        runner,
                        build,
                        plan,
                        judging.built_for(plan).kernels,
                        memory,
                        layout.bindings,
                        seed=seeds.at("far", name),
                        timeout_s=min(judging.timeout_s, LIMIT_S),
                    )
                    judging.checkpoint()
                    if report.fault is not None or report.seen is None:
                        why = report.fault.message if report.fault is not None else "nothing was seen"
                        judging.unchecked.append(
                            f"size {name}: its indices were not followed to the end: {why}"
                        )
                        return ()
                    runs.append(report.findings)
        except (OSError, LaunchError) as error:
            judging.unchecked.append(f"size {name}: its indices were not followed: {error}")
            return ()
        if skipped:
            left_out = ", ".join(dict.fromkeys(skipped))
            judging.unchecked.append(f"size {name}: its indices were not followed in {left_out}")
        return agreed(runs[0], runs[1])

    def _cases(self) -> tuple[Case, Case]:
        """Two draws of the judged size, whose values stand in for the far size's."""
        judging = self._judging
        first = judging.first_run()[0].case
        assert judging.references is not None
        return first, judging.references.get(1).case

    def _fill(self, memory: FarMemory, paths: list[str | None], case: Case, number: int, seed: int) -> None:
        """Inputs: values of the judged size, in the second run shifted by one; the rest: zeros, then noise."""
        noise = (
            np.frombuffer(np.random.default_rng(seed).bytes(PERIOD), np.uint8)
            if number
            else np.empty(0, np.uint8)
        )
        for place, path in enumerate(paths):
            value = case.values.get(path) if path is not None else None
            if isinstance(value, torch.Tensor):
                data = tensor_bytes(value)
                memory.fill(place, np.roll(data, value.element_size()) if number else data)
            else:
                memory.fill(place, noise)
