"""Shipped kernels: which fit a signature, and that what signatures.json says is what the shipped tasks have."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from workbench.archive.shipped import STARTING_POINTS, fitting, shipped_kernels, signatures
from workbench.core.plan import LaunchLimits
from workbench.core.task import Output, Parameter, SizeSpec, TaskInfo
from workbench.core.tensors import contiguous
from workbench.evolve.shipped import ShippedKernels
from workbench.judge.client import JudgeClient

ROOT = Path(__file__).resolve().parent.parent.parent


def task(
    name: str, shape: tuple[int, ...] = (64, 512), *, dtype: str = "float32", **others: tuple[int, ...]
) -> TaskInfo:
    """A task of one input x of `shape`, and other inputs by name and shape."""
    spec = contiguous(shape, dtype)
    parameters = [Parameter("x", "x", "input", spec)]
    parameters += [Parameter(n, n, "input", contiguous(s, dtype)) for n, s in others.items()]
    size = SizeSpec("small", {}, tuple(parameters), (Output("out", spec),))
    return TaskInfo(
        name=name,
        path=f"{name}.py",
        fingerprint="f",
        environment="e",
        source="",
        sources=(),
        sizes=(size,),
        derived_small=False,
    )


def names(info: TaskInfo) -> list[tuple[str, str]]:
    return [(k.task, k.name) for k in fitting(info, limits=LaunchLimits())]


def test_every_shipped_folder_says_what_its_kernels_ask_for() -> None:
    folders = {kernel.task for kernel in shipped_kernels()}
    assert folders == set(signatures())


def test_a_task_of_a_shipped_name_gets_all_kernels_of_that_name_and_no_others() -> None:
    found = names(task("23_Softmax_"))
    assert {kernel for _, kernel in found} == {k.name for k in shipped_kernels() if k.task == "softmax"}
    assert {folder for folder, _ in found} == {"softmax"}


def test_a_task_that_only_has_the_signature_in_common_gets_a_few_starting_points_that_say_so() -> None:
    found = fitting(task("relu"), limits=LaunchLimits())
    assert 0 < len(found) <= STARTING_POINTS
    assert all("same signature" in kernel.note for kernel in found)


@pytest.mark.parametrize(
    "info",
    [
        task("softmax", dtype="bfloat16"),
        task("unlike", (64, 512), other=(3,)),
        msgspec.structs.replace(task("softmax"), sizes=()),
    ],
    ids=["another dtype", "other inputs as well", "no size"],
)
def test_what_does_not_fit_is_not_proposed(info: TaskInfo) -> None:
    if info.name == "unlike":
        # A plan need not use every input, so x alone does fit; the outputs decide.
        size = info.sizes[0]
        wrong = msgspec.structs.replace(size, outputs=(Output("out", contiguous((7,), "float32")),))
        info = msgspec.structs.replace(info, sizes=(wrong,))
    assert names(info) == []


def test_a_round_says_how_many_fit() -> None:
    proposer = ShippedKernels(lambda info: fitting(info, limits=LaunchLimits()))
    found = proposer.propose(task("softmax"))
    assert found.summary == f"{len(found.proposals)} shipped kernels fit this signature."
    summary = proposer.propose(task("relu")).summary
    assert summary.startswith(
        f"{STARTING_POINTS} shipped kernels of other tasks fit this signature, to start from"
    )
    assert proposer.propose(task("softmax", dtype="int8")).summary == "No shipped kernel fits this signature."


async def test_all_kernels_of_every_shipped_task_fit_it_as_the_judge_loads_it() -> None:
    async with JudgeClient() as judge:
        for path in sorted((ROOT / "tasks").glob("*.py")):
            info = await judge.load_task(str(path), target="host")
            asked = signatures()[path.stem]
            found = {p.name: p.tensor.dtype if p.tensor else None for p in info.sizes[0].parameters}
            assert asked.items() <= found.items(), path.stem
            own = {k.name for k in shipped_kernels() if k.task == path.stem}
            assert len(own) >= 2
            assert {kernel for _, kernel in names(info)} == own, path.stem
