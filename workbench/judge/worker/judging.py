"""One candidate on its way through the gates: what they share, the order, and which gate is named in the end."""

from __future__ import annotations

import contextlib
import copy
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from workbench.core.build import CudaBuild, HostBuild, Kernel
from workbench.core.errors import WorkbenchError
from workbench.core.messages import Judge, Judged
from workbench.core.plan import CompileOptions, Knob, Plan, limits_for
from workbench.core.task import SizeSpec
from workbench.core.verdict import GATES, Gate, Outcome
from workbench.dialect.backward import size_of
from workbench.dialect.source import CandidateSource
from workbench.judge.worker import gates, watching
from workbench.judge.worker.accuracy import Accuracy
from workbench.judge.worker.cancelled import Cancelled
from workbench.judge.worker.faults import fault_evidence, gate_of
from workbench.judge.worker.outcome import CannotJudge, Faulted, Finding
from workbench.judge.worker.overflow import Overflows
from workbench.judge.worker.parts import Parts
from workbench.judge.worker.references import RANDOM_DRAWS, OtherSizes, Prepared, References
from workbench.judge.worker.runs import Run, Stage
from workbench.judge.worker.seeds import Seeds
from workbench.judge.worker.task.cases import NON_FINITE
from workbench.judge.worker.task.loaded import LoadedTask
from workbench.judge.worker.watching import Instrumented, Watched
from workbench.profile.audit import AuditReport
from workbench.profile.listing import listing
from workbench.runner.host.client import HostRunner
from workbench.runner.host.counts import Counts

Ticker = Callable[[str, Gate | None], None]
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
LISTED = 4
"""Builds whose machine code goes into a listing; most plans have one."""
LISTED_BYTES = 8 << 20
"""Of all of them: the verdict has to fit into a frame beside it."""
LOOK_UP_S = 0.25
"""How often a wait for the reference looks whether the verdict is still wanted."""
TOTAL_S = 900.0
TOTAL_LAUNCHES = 10
"""A verdict takes at most `TOTAL_S`, or so many times the limit of a launch: a night's run must not hang."""
CAUSES = ("bounds", "inputs_intact", "poison", "determinism")
"""What a wrong result may come from, the most specific first."""


@dataclass
class Built:
    """The binaries of one set of compile options."""

    cuda: CudaBuild
    host: HostBuild | None
    kernels: dict[str, Kernel]
    no_host: str = ""
    """Why it cannot run on the host; "" where it can."""
    runner: HostRunner | None = None
    audit: Future[AuditReport] | None = None
    gathered: bool = False
    """What the audit found is in the verdict."""


class Judging:
    """The context of one verdict. Gates read what earlier ones left here."""

    def __init__(
        self,
        request: Judge,
        task: LoadedTask,
        parts: Parts,
        *,
        arch: str,
        timeout_s: float,
        revision: int,
        tick: Ticker,
        cancelled: Callable[[], bool],
    ) -> None:
        self.request = request
        self.task = task
        self.bench = parts
        self.arch = arch
        self.timeout_s = timeout_s
        self.revision = revision
        self.limits = limits_for(arch)
        self.size: SizeSpec = task.sizes[0]
        self._tick = tick
        self._cancelled = cancelled
        self._total_s = max(TOTAL_S, TOTAL_LAUNCHES * timeout_s)
        self._deadline = time.monotonic() + self._total_s
        self.source: CandidateSource | None = None
        self.plans: dict[str, Plan] = {}
        self.knobs: tuple[Knob, ...] = ()
        self.backward = False
        """The candidate has a `backward`, and its gradients are judged."""
        self.not_covered: dict[str, str] = {}
        self.builds: dict[CompileOptions, Built] = {}
        self.references: References | None = None
        self.other_sizes: OtherSizes | None = None
        self.runs: list[Run] = []
        self.first: tuple[Prepared, Run] | None = None
        self.accuracies: list[Accuracy] = []
        self.irreproducible: tuple[str, tuple[int, ...]] | None = None
        """Output and index that differed between two runs on the same poison."""
        self.float_atomics: tuple[str, ...] = ()
        """Kernels that add floats with atomics."""
        self.arrival: tuple[str, ...] = ()
        """Kernels in which threads act on what others have left so far."""
        self.ran: set[tuple[CompileOptions, str]] = set()
        """Options and kernel of each launch that was run at some size."""
        self.right_at: list[SizeSpec] = []
        """Further sizes at which every case that was compared was right."""
        self.seeds: list[int] = []
        self.case_seeds: list[tuple[str, int]] = []
        self.unchecked: list[str] = list(task.info.unchecked)
        self.blamed: dict[str, Finding] = {}
        self.results: dict[str, Gate] = {}
        self._stages: dict[str, Stage] = {}
        self.instrumented = Instrumented(self)
        self._watched: Watched | None = None
        self._overflows: Overflows | None = None
        self.drawn = Seeds(request.seeds)
        """The verdict's root seed, and every draw from it."""

    # --- what gates use -------------------------------------------------------------------------------------------

    @property
    def file_name(self) -> str:
        """How diagnostics name the candidate."""
        return self.request.path.rpartition("/")[2] or f"{self.request.candidate}.cu"

    def checkpoint(self) -> None:
        """Raises Cancelled where the client no longer wants this verdict."""
        if self._cancelled():
            raise Cancelled
        if time.monotonic() > self._deadline:
            raise CannotJudge(
                f"It was not judged after {self._total_s:g} s in all; judge it alone, or with a longer --timeout."
            )

    def start_references(self) -> None:
        """Begin to draw cases and compute references in the background; the candidate is frozen."""
        drawn = self.drawn
        self.seeds.append(drawn.root)
        names = ["random"] * RANDOM_DRAWS + [c for c in self.task.cases() if c != "random"]
        names += self.task.gradient_cases() if self.backward else ()
        if self.task.takes_non_finite:
            names.append(NON_FINITE)
        task, pool = self.task, self.bench.pool
        self.references = References(
            pool, task, self.size, names, drawn, backward=self.backward, wait=self.wait
        )
        self.other_sizes = OtherSizes(pool, task, drawn, backward=self.backward, wait=self.wait)

    def wait(self, future: Future[Any]) -> Any:
        """The result of what the reference thread does; looks up meanwhile, as `checkpoint` does.

        A reference that has not come back when the verdict's time is up, nor soon after, never will: the judge ends
        after this verdict.
        """
        while True:
            try:
                return future.result(timeout=LOOK_UP_S)
            except TimeoutError:
                if future.done():
                    return future.result()  # it came just then, or this is the reference's own TimeoutError
            try:
                self.checkpoint()
            except CannotJudge as error:
                self._drop_references()
                if self.bench.settled():
                    raise
                raise CannotJudge(
                    f"The task's reference did not come back in the {self._total_s:g} s that a verdict may take; look "
                    "for what it waits for, or for an endless loop in it."
                ) from error

    def built_for(self, plan: Plan) -> Built:
        """The binaries that `plan` launches; one of fills and library steps alone runs beside any."""
        return self.builds.get(plan.options) or next(iter(self.builds.values()))

    def keep(self, options: CompileOptions, built: Built) -> None:
        """Remember a build; one it replaces (with fewer kernels) gives its runner up."""
        old = self.builds.get(options)
        if old is not None:
            self._drop_runner(old)
        self.builds[options] = built

    def start_audit(self, built: Built) -> None:
        """Disassemble and audit in the background."""
        built.audit = self.bench.start_audit(built.cuda)

    def audited(self, built: Built) -> AuditReport:
        """What the audit found.

        Raises:
            JudgeError: there is no nvdisasm.
        """
        if built.audit is None:
            self.start_audit(built)
        assert built.audit is not None
        return built.audit.result()

    def watched(self) -> Watched:
        """What the instrumented run of the first case saw; it is made when a gate first asks."""
        if self._watched is None:
            prepared, plain = self.first_run()
            self._watched = watching.watch(self, self.stage(self.size), prepared, plain)
            if self._watched.why:
                self.unchecked.append(watching.not_seen(self._watched))
        return self._watched

    @property
    def overflows(self) -> Overflows:
        """What is found about indices at the sizes that cannot be run here; known once the plans are."""
        if self._overflows is None:
            self._overflows = Overflows(self)
        return self._overflows

    @property
    def counted(self) -> tuple[Counts, ...]:
        """What the instrumented run counted of forward and backward; () where it was not made, or not to its end."""
        return self._watched.counts if self._watched is not None else ()

    def stage(self, size: SizeSpec, plan: Plan | None = None) -> Stage:
        """The plan at `size`, ready to run; the judged size's is kept for all gates.

        Raises:
            CannotJudge: there is no host build to run.
        """
        if plan is None and size.name in self._stages:
            stage = self._stages[size.name]
            stage.runner = self._runner(self.built_for(stage.plan))
            return stage
        chosen = plan or self.plans[size.name]
        built = self.built_for(chosen)
        self.ran |= {(chosen.options, kernel) for kernel in chosen.kernels}
        stage = Stage(
            chosen, size, built.kernels, self._runner(built), self.timeout_s, self._side_effects(size)
        )
        if plan is None:
            self._stages[size.name] = stage
        return stage

    def first_run(self) -> tuple[Prepared, Run]:
        """The case on which the repeats of later gates are made."""
        if self.first is None:
            raise CannotJudge("No case could be run.")
        return self.first

    def blame(self, gate: str, finding: Finding) -> None:
        """Another gate found a cause that belongs to `gate`."""
        self.blamed[gate] = finding

    # --- the way through ------------------------------------------------------------------------------------------

    def judge(self) -> Judged:
        """Run the gates until one fails; answers with the verdict."""
        from workbench.judge.worker.assemble import assemble

        started = time.perf_counter()
        outcome: Outcome = "pass"
        reason, failed = "", None
        try:
            failed = self._through()
            if failed is not None:
                outcome, reason = "fail", self.results[failed].reason
        except CannotJudge as error:
            outcome, reason = "error", str(error)
        finally:
            self.close()
        ordered = tuple(self.results[name] for name in GATES if name in self.results)
        verdict = assemble(self, outcome, failed, reason, ordered, time.perf_counter() - started)
        sass = self._listing() if self.request.sass else ""
        return Judged(candidate=self.request.candidate, verdict=verdict, knobs=self.knobs, sass=sass)

    def _listing(self) -> str:
        """The machine code of every build that was audited; nothing is disassembled for it."""
        done = [b for b in self.builds.values() if b.audit is not None and b.audit.done()]
        cubins = {b.cuda.cubin: b.cuda for b in done if b.audit is not None and b.audit.exception() is None}
        text = "\n".join(listing(cuda) for cuda in list(cubins.values())[:LISTED])
        kept = text.encode()[:LISTED_BYTES]
        if len(kept) < LISTED_BYTES:
            return text
        whole = kept.decode("utf-8", "ignore").rpartition("\n")[0]
        return f"{whole}\n// cut off here: more than {LISTED_BYTES >> 20} MiB of text\n"

    def _through(self) -> str | None:
        """The name of the gate that failed, or None."""
        for name, run in gates.in_order().items():
            if self._run(name, run) != "fail" and not self.blamed:
                continue
            if name in ("numerics", "precision") and not self.blamed:
                self._look_for_cause()
            for other, finding in self.blamed.items():
                self._record(other, finding, 0.0)
            failed = [n for n in (*CAUSES, *GATES) if n in self.results and self.results[n].status == "fail"]
            return failed[0]
        return None

    def _run(self, name: str, run: gates.GateRun) -> str:
        self.checkpoint()
        self._tick(name, None)
        started = time.perf_counter()
        try:
            finding = run(self)
        except Faulted as faulted:
            self.checkpoint()
            finding = self._fault(name, faulted)
        except (CannotJudge, WorkbenchError) as error:
            self.checkpoint()
            self._record(name, Finding("skipped", str(error)), time.perf_counter() - started)
            raise CannotJudge(str(error)) from error
        except Exception as error:
            self.checkpoint()
            traceback.print_exc()
            reason = f"The judge failed in gate {name}: {type(error).__name__}: {error}"
            self._record(name, Finding("skipped", reason), time.perf_counter() - started)
            raise CannotJudge(f"{reason}. This is a bug in workbench; please report it.") from error
        self._record(name, finding, time.perf_counter() - started)
        return finding.status

    def _record(self, name: str, finding: Finding, seconds: float) -> None:
        spent = self.results[name].seconds if name in self.results else 0.0
        gate = Gate(name, finding.status, finding.reason, finding.evidence, round(spent + seconds, 4))
        self.results[name] = gate
        self._tick(name, gate)

    def _look_for_cause(self) -> None:
        """A wrong result is followed by the checks that could name its cause; where no run ended, there is none."""
        if self.first is None:
            return
        order = gates.in_order()
        for name in CAUSES:
            if name in self.results:
                continue
            # What cannot be found out about the cause changes nothing about the failure.
            with contextlib.suppress(CannotJudge):
                if self._run(name, order[name]) == "fail" or self.blamed:
                    return

    def cause_at(self, stage: Stage, prepared: Prepared, run: Run, wrong: Finding) -> Gate | None:
        """What a wrong result at another size comes from: the first gate of `CAUSES` to fail on that very case.

        They work on a view of this verdict in which that size is the judged one; what they note there is not kept.
        """
        there = copy.copy(self)
        there.size, there._stages = stage.size, {stage.size.name: stage}
        there.plans = {**self.plans, stage.size.name: stage.plan}
        there.first, there.runs = (prepared, run), [run]
        there.results = {"shapes": Gate("shapes", "fail", wrong.reason)}
        there.blamed, there.unchecked = {}, []
        there._watched = there.irreproducible = None
        there._tick = lambda name, gate: None
        there._look_for_cause()
        for name, finding in there.blamed.items():
            there._record(name, finding, 0.0)
        found = (there.results.get(name) for name in CAUSES)
        return next((gate for gate in found if gate is not None and gate.status == "fail"), None)

    def _fault(self, during: str, faulted: Faulted) -> Finding:
        fault = faulted.fault
        for built in self.builds.values():
            self._drop_runner(built)
        if fault.kind == "unsupported":
            raise CannotJudge(f"needs cuda: {fault.message}")
        if fault.kind == "launch":
            # Limits and arguments were checked before: what cannot be loaded or launched now is the host's lack.
            raise CannotJudge(f"The host target could not launch it: {fault.message}")
        where = "" if faulted.size == self.size.name else f" (at size {faulted.size})"
        sentence = fault.message.rstrip(".") + where + "."
        finding = Finding("fail", sentence, fault_evidence(faulted))
        gate = gate_of(fault, during, self._read_only())
        # At the judged size these gates had nothing to say: what fails is the other size.
        if gate == during or during == "shapes":
            return finding
        self.blame(gate, finding)
        return Finding("skipped", f"Its run was stopped: see {gate}.")

    def _side_effects(self, size: SizeSpec) -> frozenset[str]:
        """Running statistics of norm layers in train mode: a module's own, so a candidate may write them too."""
        if self.task.info.mode != "train":
            return frozenset()
        found = frozenset(
            p.path
            for p in size.parameters
            if p.role == "buffer" and p.key.rpartition(".")[2] in STATISTICS and not p.mutable
        )
        if found:
            self.unchecked.append("side effects: running statistics may be written and are not compared")
        return found

    def _read_only(self) -> set[str]:
        parameters = list(self.size.parameters)
        if (plan := self.plans.get(self.size.name)) is not None and plan.backward is not None:
            parameters += size_of(plan, self.size).parameters
        return {p.name for p in parameters if p.tensor is not None and not p.mutable}

    def _runner(self, built: Built) -> HostRunner:
        if built.host is None:
            raise CannotJudge(built.no_host or "There is no build for the host.")
        if built.runner is None:
            built.runner = self.bench.start_runner(built.host)
        return built.runner

    def _drop_runner(self, built: Built) -> None:
        if built.runner is not None:
            built.runner.close()
            built.runner = None

    def close(self) -> None:
        """Give back what this verdict held."""
        self._drop_references()
        self.instrumented.drop()
        for stage in self._stages.values():
            stage.close()
        for built in self.builds.values():
            self._drop_runner(built)

    def _drop_references(self) -> None:
        if self.references is not None:
            self.references.drop()
        if self.other_sizes is not None:
            self.other_sizes.drop()
