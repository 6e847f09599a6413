"""poison: nothing is read that was not written.

Outputs and scratch hold random bytes before each run, and different ones in every byte before the second. What still
holds them in both runs was never written; a result that changes with them was read before it was written.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from workbench.core.task import Output
from workbench.core.tensors import ITEMSIZE
from workbench.judge.worker import watching
from workbench.judge.worker.compare import unravel
from workbench.judge.worker.gates.numerics import wrong_element
from workbench.judge.worker.judging import Judging
from workbench.judge.worker.outcome import Finding
from workbench.judge.worker.results import alike, differing, pairs
from workbench.judge.worker.runs import Bytes, Run, as_tensor
from workbench.judge.worker.watching import Watched

NOT_SEEN = "reads of unwritten memory whose value did not change the result in two runs"


def run(judging: Judging) -> Finding:
    """Run the first case again on complementary poison and compare."""
    stage = judging.stage(judging.size)
    prepared, plain = judging.first_run()
    other = stage.run(prepared.case, placement="start", complement=True)
    judging.runs.append(other)
    judging.checkpoint()
    outputs = stage.results
    for number, output in enumerate(outputs):
        finding = _unwritten(output, number, plain, other)
        if finding is not None:
            return finding
    watched = judging.watched()
    if watched.why:
        judging.unchecked.append(NOT_SEEN)
    unwritten = watched.of("unwritten read")
    # A flag in recycled memory may well hold the value that is waited for: poison hardly ever does.
    if in_global := tuple(f for f in unwritten if f.space == "global"):
        return watching.failed("fail", in_global)
    changed = differing(stage, plain, other)
    if unwritten and (changed is not None or is_wrong(judging)):
        return watching.failed("fail", unwritten)
    if not watched.of("unwritten read", "race", "out of bounds", "inactive lane"):
        local = _local(judging, watched)
        if local is not None:
            return local
    if unwritten:
        # Read and then not used, as far as two runs with other noise in it can tell: legal, and often on purpose.
        return watching.failed("warn", unwritten)
    if changed is None:
        return Finding("pass", "The result does not depend on what outputs and scratch held before.")
    if watched.of("race"):
        # What is read before another thread writes it holds poison, or not: the missing order is the cause.
        return Finding(
            "pass",
            "Two runs on other poison differ, and threads race: see determinism.",
            {"first_difference": changed},
        )
    if (judging.float_atomics or judging.arrival) and near(judging, other):
        return Finding(
            "pass",
            "Two runs differ in their last digits, which the order of threads explains that atomics leave open.",
            {"first_difference": changed},
        )
    # Poison, or a race? The same poison again tells them apart.
    again = stage.run(prepared.case, placement=plain.placement)
    judging.irreproducible = differing(stage, plain, again)
    if judging.irreproducible is not None:
        return Finding("pass", "Runs on the same poison differ too: see determinism.")
    output_name, index = changed
    return Finding(
        "fail",
        f"{output_name}{list(index) if index else ''} changes with what outputs or scratch held before the call: "
        "memory is read before it is written.",
        {"output": output_name, "index": list(index)},
    )


def near(judging: Judging, run: Run) -> bool:
    """Whether a second run of the first case is right, or no further from the first than rounding explains."""
    stage = judging.stage(judging.size)
    prepared, plain = judging.first_run()
    return wrong_element(stage, prepared, run) is None or alike(stage, plain, run)


def is_wrong(judging: Judging) -> bool:
    """Whether a gate has failed before: then what is merely suspicious is the cause."""
    return any(g.status == "fail" for g in judging.results.values())


def _local(judging: Judging, watched: Watched) -> Finding | None:
    """A fail where the two builds, in whose unset local variables other values stand, do not agree."""
    if watched.outputs is None:
        return None
    stage = judging.stage(judging.size)
    prepared, plain = judging.first_run()
    seen = dataclasses.replace(plain, outputs=watched.outputs, written=watched.written)
    far = next(
        (
            (output.name, at)
            for output, a, b in pairs(stage, plain, seen)
            if (at := _far_apart(output, a, b)) is not None
        ),
        None,
    )
    if far is None:
        return None
    if not is_wrong(judging) and wrong_element(stage, prepared, seen) is None:
        return None
    # A race that the instrumented run did not see would differ from run to run.
    again = stage.run(prepared.case, placement=plain.placement)
    if differing(stage, plain, again) is not None:
        return None
    built = judging.built_for(stage.plan)
    hints = built.host.diagnostics if built.host is not None else ()
    name, index = far
    place = f"{name}{list(index) if index else ''}"
    said = "; ".join(f"line {h.line}: {h.message}" for h in hints[:3])
    return Finding(
        "fail",
        f"{place} changes with what local memory (a variable or an array of a thread) held before anything was written "
        f"to it{': ' if said else ''}{said}.",
        {
            "output": name,
            "index": list(index),
            "buffer": "local memory",
            **({"line": hints[0].line} if hints else {}),
            "hints": [f"line {h.line}: {h.message}" for h in hints],
        },
    )


def _far_apart(output: Output, one: Bytes, two: Bytes) -> tuple[int, ...] | None:
    """The first element at which two results differ by more than rounding can explain."""
    a, b = as_tensor(one, output.tensor), as_tensor(two, output.tensor)
    if a.is_complex():
        a, b = torch.view_as_real(a), torch.view_as_real(b)
    a, b = a.double(), b.double()
    apart = (a - b).abs() > 0.02 * (a.abs() + b.abs())
    apart |= a.isnan() != b.isnan()
    # An infinity is what the instrumented build puts into unset floats: it is as far from any number as can be.
    apart |= (a != b) & (a.isinf() | b.isinf()) & ~(a.isnan() | b.isnan())
    if not bool(apart.any()):
        return None
    at = int(apart.flatten().to(torch.uint8).argmax())
    return unravel(at, tuple(apart.shape))[: len(output.tensor.shape)]


def _unwritten(output: Output, number: int, plain: Run, other: Run) -> Finding | None:
    before, after = (
        (plain.poison[number], other.poison[number]),
        (plain.outputs[number], other.outputs[number]),
    )
    if before[0] is None or before[1] is None or after[0].size == 0:
        return None
    size = ITEMSIZE[output.tensor.dtype]
    kept = _elements(after[0] == before[0], size) & _elements(after[1] == before[1], size)
    count = int(kept.sum())
    if not count:
        return None
    first = [unravel(int(i), output.tensor.shape) for i in np.flatnonzero(kept)[:8]]
    numel = output.tensor.numel
    what = "No element" if count == numel else f"{count} of {numel} elements"
    verb = "was ever written" if count == numel else "were never written"
    place = "" if count == numel or not first[0] else f", the first at {list(first[0])}"
    return Finding(
        "fail",
        f"{what} of {output.name} {verb}{place}.",
        {"output": output.name, "unwritten": count, "elements": numel, "indices": [list(i) for i in first]},
    )


def _elements(same: Bytes, size: int) -> Bytes:
    """From bytes to elements: an element is untouched where all its bytes are."""
    return np.asarray(same.reshape(-1, size).all(axis=1))
