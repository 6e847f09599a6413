"""NaN and infinity among the inputs: where eager has them in its outputs and the candidate does not, or the other way.

CUDA's fmaxf drops what torch.max propagates, and few tasks define what they want, so this never fails a candidate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from workbench.judge.worker.outcome import Faulted
from workbench.judge.worker.runs import Stage, as_tensor
from workbench.judge.worker.task.cases import NON_FINITE

if TYPE_CHECKING:
    from workbench.judge.worker.judging import Judging

UNCHECKED = "inputs that are NaN or infinite"
SHORTEST_S = 1.0
SLOWER = 50
"""So many times what an ordinary run takes is a hang here."""


def warning(judging: Judging, stage: Stage) -> str:
    """What the candidate does otherwise than eager, in words; "" where nothing was found. Names what was not checked."""
    references = judging.references
    assert references is not None
    number = next((i for i, name in enumerate(references.names) if name == NON_FINITE), None)
    if number is None:
        if any(p.tensor is not None and "float" in p.tensor.dtype for p in judging.size.parameters):
            judging.unchecked.append(UNCHECKED)
        return ""
    prepared = references.get(number)
    judging.checkpoint()
    if prepared.failure or prepared.expected is None:
        judging.unchecked.append(f"{UNCHECKED}: {prepared.failure or 'the reference does not survive them'}")
        return ""
    judging.seeds.append(prepared.case.seed)
    judging.case_seeds.append((prepared.case.name, prepared.case.seed))
    usual = max((run.seconds for run in judging.runs), default=0.0)
    try:
        result = stage.run(prepared.case, timeout_s=max(SHORTEST_S, SLOWER * usual))
    except Faulted as faulted:
        judging.checkpoint()
        fault = faulted.fault
        # Without the seconds that it was given: a reproduction must say the same.
        how = f"{fault.kernel} does not end" if fault.kind == "hang" else fault.message.rstrip(".")
        return f"on inputs with NaN and infinity {how}"
    # Gradients come behind the outputs; what NaN does to those is not looked at.
    for output, eager, data in zip(stage.size.outputs, prepared.expected.eager, result.outputs, strict=False):
        actual = as_tensor(data, output.tensor)
        at = _other_kind(actual, eager)
        if at is not None:
            place = f"{output.name}{list(at) if at else ''}"
            got, wanted = actual[at].item(), eager[at].item()
            return f"on inputs with NaN and infinity {place} is {got:.6g} where eager gives {wanted:.6g}"
    return ""


def _other_kind(actual: torch.Tensor, eager: torch.Tensor) -> tuple[int, ...] | None:
    """The first element that is NaN, infinite or finite where the other is not the same kind."""
    if not eager.is_floating_point() or eager.shape != actual.shape:
        return None
    other = (actual.isnan() != eager.isnan()) | (actual.isinf() != eager.isinf())
    other |= eager.isinf() & actual.isinf() & (actual.sign() != eager.sign())
    if not bool(other.any()):
        return None
    return tuple(int(i) for i in other.nonzero()[0])
