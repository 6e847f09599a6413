"""The kernels that come with workbench, and which of them fit a task's signature.

They stand in `kernels/<task>/*.cu`, written for the shipped task of that name. `kernels/signatures.json` says what
their `forward` asks for: names and dtypes; ranks, shapes and outputs are tried by evaluating the plan at the task's
own sizes. A signature does not say what a task computes (a softmax and a ReLU both take `x`), so a task of another
name gets few of them, as starting points; the judge says what they are worth.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from workbench.core.plan import Diagnostic, LaunchLimits, NotCovered, PlanFailure
from workbench.core.task import SizeSpec, TaskInfo
from workbench.dialect.check import check_outputs
from workbench.dialect.planner import Planner
from workbench.dialect.signature import find
from workbench.dialect.source import split

FOLDER = Path(__file__).parent / "kernels"
STARTING_POINTS = 2
"""How many kernels a task gets that only has the signature in common with them."""

Signature = dict[str, str | None]
"""Dtype by parameter name; None for a scalar."""


class ShippedKernel(msgspec.Struct, frozen=True):
    """One kernel of the archive."""

    name: str
    """"warp-per-row"."""
    task: str
    """The shipped task that it was written for."""
    source: bytes
    note: str
    named_alike: bool = True
    """The task at hand has the name of the one that it was written for; False: only the signature in common."""


def shipped_kernels(folder: Path = FOLDER) -> list[ShippedKernel]:
    """Every shipped kernel, by task and name."""
    return [
        ShippedKernel(
            name=path.stem.replace("_", "-"),
            task=path.parent.name,
            source=path.read_bytes(),
            note=f"shipped with workbench for {path.parent.name}",
        )
        for path in sorted(folder.glob("*/*.cu"))
    ]


def signatures(folder: Path = FOLDER) -> dict[str, Signature]:
    """What the kernels of each shipped task ask for."""
    return msgspec.json.decode((folder / "signatures.json").read_bytes(), type=dict[str, Signature])


def fitting(task: TaskInfo, *, limits: LaunchLimits, folder: Path = FOLDER) -> list[ShippedKernel]:
    """The shipped kernels whose plans can be launched for `task`: its namesakes, else a few of the same signature.

    Raises:
        JudgeError: the planner cannot be started.
    """
    asked = signatures(folder)
    sizes = [size for size in task.sizes if size.judged][:1]
    if not sizes:
        return []
    named = [k for k in shipped_kernels(folder) if _dtypes_fit(asked.get(k.task, {}), sizes[0])]
    if not named:
        return []
    with Planner() as planner:
        launchable = _launchable(named, planner, sizes, limits, task.own_kernels_only)
        namesakes = [kernel for kernel in named if _related(kernel.task, task.name)]
        if namesakes:
            return [kernel for kernel in launchable if kernel in namesakes]
        found: list[ShippedKernel] = []
        for kernel in launchable:
            note = f"{kernel.note}, which has the same signature"
            found.append(msgspec.structs.replace(kernel, note=note, named_alike=False))
            if len(found) == STARTING_POINTS:
                break
        return found


def _launchable(
    kernels: list[ShippedKernel],
    planner: Planner,
    sizes: list[SizeSpec],
    limits: LaunchLimits,
    own_kernels_only: bool,
) -> Iterator[ShippedKernel]:
    for kernel in kernels:
        source = split(kernel.source)
        if isinstance(source, PlanFailure):
            continue
        plans = planner.evaluate(source, sizes, limits=limits, own_kernels_only=own_kernels_only)
        if isinstance(plans, PlanFailure):
            continue
        if all(
            not isinstance(plan, NotCovered) and not _wrong(check_outputs(plan, size))
            for plan, size in zip(plans, sizes, strict=True)
        ):
            yield kernel


def _wrong(diagnostics: Iterable[Diagnostic]) -> bool:
    return any(d.severity == "error" for d in diagnostics)


def _dtypes_fit(asked: Signature, size: SizeSpec) -> bool:
    for name, dtype in asked.items():
        parameter = find(size, name)
        if isinstance(parameter, str):
            return False
        if (parameter.tensor.dtype if parameter.tensor is not None else None) != dtype:
            return False
    return bool(asked)


def _related(shipped: str, task: str) -> bool:
    """ "rmsnorm" and "36_RMSNorm_" are."""
    ours, theirs = (re.sub(r"[\W_\d]+", "", name.lower()) for name in (shipped, task))
    return bool(theirs) and ours in theirs
