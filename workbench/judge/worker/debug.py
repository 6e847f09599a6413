"""`verify --debug`: one run on one random draw, with printf and assert allowed; what it showed, and no verdict.

The host build's `printf` is given a tag in front that says where it was called. Blocks run on one OS thread, so that
tag and text stay together. All of it is a candidate's word: it is bounded here and made harmless where it is shown.
"""

from __future__ import annotations

import os
import re
import threading
from concurrent.futures import Future
from typing import Any

import msgspec
import torch

from workbench.core.build import BuildFailure, CudaBuild
from workbench.core.errors import WorkbenchError
from workbench.core.messages import DebugCandidate, Debugged, Differing, Judge, Printed
from workbench.core.plan import CompileOptions, Diagnostic
from workbench.judge.worker.compare import wrong_elements
from workbench.judge.worker.gates import build, parse
from workbench.judge.worker.gates.bounds import damaged
from workbench.judge.worker.judging import Judging
from workbench.judge.worker.outcome import CannotJudge, Faulted, Finding
from workbench.judge.worker.parts import Parts
from workbench.judge.worker.references import Prepared, prepare
from workbench.judge.worker.results import results_of
from workbench.judge.worker.runs import Run, Stage, as_tensor
from workbench.judge.worker.seeds import fresh_seed
from workbench.judge.worker.task.loaded import LoadedTask
from workbench.profile.audit import AuditReport
from workbench.runner.compiler.client import Builds
from workbench.runner.host.pool import HostRunners

OUTPUT_BYTES = 64 << 10
OUTPUT_LINES = 1_000
LINE_CHARACTERS = 500
DIFFERING = 20
DRAIN_S = 5.0
"""How long to wait for the last of the output, once every runner has ended."""

_DEFINES = (
    ("WORKBENCH_DEBUG", "1"),
    # An object, not a function: `printf(...)` becomes a call of the second operand, after the tag was written.
    (
        "printf",
        '(wb_printf("%c%u %u %u %u %u %u %d %s%c", 1, blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y, '
        "threadIdx.z, __LINE__, __func__, 2), wb_printf)",
    ),
)
_STDIO = re.compile(r'^[ \t]*#[ \t]*include[ \t]*[<"](?:cstdio|stdio\.h)[>"][ \t]*$', re.MULTILINE)
_TAG = re.compile(
    r"\x01(\d{1,10}) (\d{1,10}) (\d{1,10}) (\d{1,10}) (\d{1,10}) (\d{1,10}) (\d{1,8}) (\w{1,200})\x02"
)


class _Debugging(Parts):
    """The judge's warm planner, compiler and reference thread, with runners whose output is kept."""

    def __init__(self, parts: Parts, output: int) -> None:
        self.compiler, self.planner, self.pool = parts.compiler, parts.planner, parts.pool
        self.runners = HostRunners(workers=1, output=output)
        self._busy = self._runner = None
        self.stuck = parts.stuck

    def build(self, source: Any, options: CompileOptions, *args: Any, **kwargs: Any) -> Builds:
        """Both compilers define WORKBENCH_DEBUG; the host's also makes `printf` say who prints."""
        if not kwargs.get("host"):
            return self.compiler.build(source, options, *args, debug=True, **kwargs)
        # The prelude has printf already; the system's header would declare it under the macro's name.
        source = msgspec.structs.replace(source, device=_STDIO.sub("", source.device))
        # A header that declares printf itself does not compile with the tag: then nobody says who prints.
        for defines in (_DEFINES, _DEFINES[:1]):
            asked = msgspec.structs.replace(options, defines=(*options.defines, *defines))
            builds = self.compiler.build(source, asked, *args, debug=True, **kwargs)
            if not isinstance(builds.host, BuildFailure):
                break
        return builds

    def start_audit(self, build: CudaBuild) -> Future[AuditReport]:
        """Nobody asks for it: what the audit refuses is allowed here."""
        return Future()

    def close(self) -> None:
        """End the runners; the rest is the judge's."""
        self.runners.close()


def debug(
    request: DebugCandidate, task: LoadedTask, parts: Parts, *, arch: str, timeout_s: float
) -> Debugged:
    """Run the candidate once at the judged size."""
    reading, writing = os.pipe()
    output = _Output(reading)
    debugging = _Debugging(parts, writing)
    judging = Judging(
        Judge(candidate=request.candidate, source=request.source, path=request.path),
        task,
        debugging,
        arch=arch,
        timeout_s=timeout_s,
        revision=0,
        tick=lambda name, gate: None,
        cancelled=lambda: False,
    )
    seed = fresh_seed()
    try:
        found = _run(judging, seed)
    except Faulted as faulted:
        found = {"ran": False, "stopped": faulted.fault.message.rstrip(".") + "."}
    except (CannotJudge, WorkbenchError) as error:
        found = {"ran": False, "stopped": str(error)}
    finally:
        parts.stuck = debugging.stuck
        judging.close()
        debugging.close()
        os.close(writing)
        output.end()
    return Debugged(
        candidate=request.candidate,
        seed=seed,
        size=judging.size.name,
        printed=output.lines(),
        dropped_bytes=output.dropped,
        **found,
    )


def _run(judging: Judging, seed: int) -> dict[str, Any]:
    finding = parse.run(judging)
    if finding.status == "fail":
        return _refused(finding)
    plan = judging.plans[judging.size.name]
    if not plan.kernels:
        return {"ran": False, "stopped": "The plan launches no kernel of its own."}
    refused = build.build(judging, [plan], host=True)
    if refused is not None:
        return _refused(refused)
    drawn = judging.bench.pool.submit(prepare, judging.task, judging.size, seed, "random", judging.backward)
    prepared = judging.wait(drawn)
    stage = judging.stage(judging.size)
    return {
        "ran": True,
        "diagnostics": judging.built_for(plan).cuda.diagnostics,
        **_compared(stage, prepared, stage.run(prepared.case)),
    }


def _refused(finding: Finding) -> dict[str, Any]:
    said = [
        Diagnostic(d["message"], line=d["line"], column=d["column"], severity=d["severity"])
        for d in finding.evidence.get("diagnostics", [])
    ]
    return {"ran": False, "stopped": finding.reason, "diagnostics": tuple(said)}


def _compared(stage: Stage, prepared: Prepared, result: Run) -> dict[str, Any]:
    """The first elements that differ from the reference, by the judge's own measure, and what else was seen."""
    differing: list[Differing] = []
    wrong, elements = 0, 0
    sources = prepared.selected_from()
    for each in results_of(stage, prepared, result):
        bar, actual = each.bar, each.actual
        elements += actual.numel()
        mask = wrong_elements(bar, actual, perturbed=each.perturbed, sides=each.sides, selected_from=sources)
        if mask is None:
            continue
        if mask.dim() > actual.dim():
            mask = mask.any(-1)  # a complex number is wrong where one of its parts is
        wrong += int(mask.sum())
        target = torch.view_as_complex(bar.target) if actual.is_complex() else bar.target
        for index in mask.nonzero()[: DIFFERING - len(differing)].tolist():
            place = tuple(index)
            expected, got = _text(target[place]), _text(actual[place])
            differing.append(Differing(bar.output.name, place, expected, got))
    notes = list(result.warnings)
    if (outside := damaged([result])) is not None:
        notes.append(outside.reason)
    if result.changed:
        notes.append(f"{', '.join(result.changed)} changed, though the reference does not write it.")
    if prepared.check is not None:
        actual_outputs = [
            as_tensor(d, o.tensor) for d, o in zip(result.outputs, stage.size.outputs, strict=False)
        ]
        said = prepared.refused(actual_outputs)
        notes.append("The task's own check says " + ("yes." if said is None else f"no: {said}".rstrip(": ")))
    return {"differing": tuple(differing), "wrong": wrong, "elements": elements, "notes": tuple(notes)}


def _text(element: torch.Tensor) -> str:
    value = element.item()
    return f"{value:.9g}" if isinstance(value, float) else str(value)


class _Output:
    """Reads what runners print until the last of them has ended; keeps the first 64 KiB and counts the rest."""

    def __init__(self, descriptor: int) -> None:
        self.dropped = 0
        self._kept = bytearray()
        self._descriptor = descriptor
        self._thread = threading.Thread(target=self._read, name="judge-debug-output", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Wait for the end of the output; the writing side is closed."""
        self._thread.join(DRAIN_S)

    def lines(self) -> tuple[Printed, ...]:
        """What was printed, by call where that is known, else by line."""
        text = bytes(self._kept).decode(errors="replace")
        first, *rest = _pieces(text)
        found = [Printed(line) for line in _split(first[0])]
        for text, tag in rest:
            block, thread, line, function = tag[:3], tag[3:6], int(tag[6]), tag[7]
            found += [Printed(said, function, _triple(block), _triple(thread), line) for said in _split(text)]
        return tuple(found[:OUTPUT_LINES])

    def _read(self) -> None:
        while chunk := os.read(self._descriptor, 1 << 16):
            room = OUTPUT_BYTES - len(self._kept)
            self._kept += chunk[:room]
            self.dropped += max(len(chunk) - room, 0)
        os.close(self._descriptor)


def _pieces(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """The text before the first tag, then each tag with what follows it."""
    found: list[tuple[str, tuple[str, ...]]] = []
    tag: tuple[str, ...] = ()
    at = 0
    for match in _TAG.finditer(text):
        found.append((text[at : match.start()], tag))
        tag, at = match.groups(), match.end()
    found.append((text[at:], tag))
    return found


def _split(text: str) -> list[str]:
    return [line[:LINE_CHARACTERS] for line in text.split("\n") if line]


def _triple(numbers: tuple[str, ...]) -> tuple[int, int, int]:
    x, y, z = map(int, numbers)
    return x, y, z
