"""Every unmodified task in KernelBench's form loads, can be drawn, and has a reference that can be trusted."""

from __future__ import annotations

import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from workbench.core.locate import shipped_tasks
from workbench.core.plan import Plan
from workbench.dialect.check import check_outputs
from workbench.dialect.planner import Planner
from workbench.dialect.skeleton import skeleton
from workbench.dialect.source import CandidateSource, split
from workbench.judge.worker.task.limits import HOST_WORK
from workbench.judge.worker.task.loaded import LoadedTask
from workbench.judge.worker.task.loader import load_task
from workbench.judge.worker.task.signature import dtype_name

KERNELBENCH = Path(__file__).parent / "kernelbench"
NAMES = sorted(path.stem for path in KERNELBENCH.glob("*.py"))
Loaded = Callable[[str], LoadedTask]


def test_there_are_enough_tasks() -> None:
    assert len(NAMES) >= 25


@pytest.mark.parametrize("name", NAMES)
def test_a_task_loads_with_a_judged_size_first(loaded: Loaded, name: str) -> None:
    info = loaded(name).info
    assert info.name == name
    assert info.sizes[0].judged
    assert [s.judged for s in info.sizes] == sorted((s.judged for s in info.sizes), reverse=True)
    assert info.sizes[0].outputs
    assert info.sizes[0].bytes_moved > 0
    assert len(info.fingerprint) == 64


@pytest.mark.parametrize("name", NAMES)
def test_a_derived_size_is_small_and_its_full_size_is_known(loaded: Loaded, name: str) -> None:
    info = loaded(name).info
    judged = info.sizes[0]
    elements = sum(p.tensor.numel for p in judged.parameters if p.tensor is not None)
    assert elements + judged.flops // 2 < 8 * HOST_WORK
    if info.derived_small:
        full = next(s for s in info.sizes if s.name == "full")
        assert not full.judged
        assert full.bytes_moved > judged.bytes_moved
        assert any("full" in line for line in info.unchecked)
        assert full.values.keys() >= judged.values.keys()


@pytest.mark.parametrize("name", NAMES)
def test_every_case_matches_the_signature_and_has_an_exact_reference(loaded: Loaded, name: str) -> None:
    task = loaded(name)
    size = task.sizes[0]
    seed = zlib.crc32(name.encode())
    for case_name in task.cases():
        case = task.draw(size, seed, case_name)
        assert set(case.values) == {p.path for p in size.parameters}
        for parameter in size.parameters:
            value = case.values[parameter.path]
            if parameter.tensor is None:
                assert value == parameter.value
                continue
            assert isinstance(value, torch.Tensor) and value.is_contiguous()
            assert tuple(value.shape) == parameter.tensor.shape, (case_name, parameter)
            assert dtype_name(value.dtype) == parameter.tensor.dtype, (case_name, parameter)
        expected = task.expected(size, case)
        assert [tuple(t.shape) for t in expected.eager] == [o.tensor.shape for o in size.outputs]
        assert [dtype_name(t.dtype) for t in expected.eager] == [o.tensor.dtype for o in size.outputs]
        assert expected.exact is not None and expected.perturbed is not None, (case_name, seed)
        for exact in expected.exact:
            assert exact.dtype == torch.float64 or not exact.is_floating_point()


@pytest.mark.parametrize("name", NAMES)
def test_the_exact_reference_agrees_with_eager_on_random_draws(loaded: Loaded, name: str) -> None:
    task = loaded(name)
    size = task.sizes[0]
    for seed in (3, 4):
        expected = task.expected(size, task.draw(size, seed))
        assert expected.exact is not None
        for eager, exact in zip(expected.eager, expected.exact, strict=True):
            if eager.is_floating_point():
                epsilon = torch.finfo(eager.dtype).eps
                scale = float(exact.abs().max())
                assert float((eager.double() - exact).abs().max()) <= 300 * epsilon * scale, (name, seed)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_case_and_another_seed_another(loaded: Loaded, name: str) -> None:
    task = loaded(name)
    size = task.sizes[0]
    for case_name in task.cases():
        first, again, other = (task.draw(size, seed, case_name).values for seed in (77, 77, 78))
        tensors = [p.path for p in size.parameters if p.role == "input" and p.tensor is not None]
        for path in tensors:
            assert torch.equal(torch.as_tensor(first[path]), torch.as_tensor(again[path])), (case_name, path)
        assert any(not torch.equal(torch.as_tensor(first[p]), torch.as_tensor(other[p])) for p in tensors), (
            case_name
        )


@pytest.mark.parametrize("name", NAMES)
def test_the_functional_form_computes_what_the_module_computes(loaded: Loaded, name: str) -> None:
    form = loaded(name).functional_form()
    assert form.validated, form.note
    assert form.source is not None
    assert f"def {name}(" in form.source


def test_an_input_of_six_gigabytes_is_never_allocated() -> None:
    script = (
        "import resource, sys\n"
        "from workbench.judge.worker.task.loader import load_task\n"
        "import torch._decomp, torch.fx.experimental.symbolic_shapes\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in sys.argv[1:]:\n"
        "    task = load_task(path, target='host', revision=1)\n"
        "    task.expected(task.sizes[0], task.draw(task.sizes[0], 1))\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    tasks = [
        str(KERNELBENCH / f"{name}.py") for name in ("huge_relu_inplace", "groupnorm_spatial", "hinge_loss")
    ]
    result = subprocess.run(
        [sys.executable, "-c", script, *tasks], capture_output=True, text=True, check=True
    )
    grown_mib = int(result.stdout)
    assert grown_mib < 400, f"{grown_mib} MiB for inputs of 6, 7 and 4 GiB at full size"


@pytest.fixture(scope="module")
def planner() -> Iterator[Planner]:
    with Planner() as warm:
        yield warm


def parses(planner: Planner, task: LoadedTask, *, backward: bool) -> None:
    """What the gate `parse` asks of the skeleton: a plan at every declared size, whose outputs are the reference's."""
    text = skeleton(task.info.sizes, backward=backward)
    source = split(text.encode())
    assert isinstance(source, CandidateSource), (source, text)
    plans = planner.evaluate(source, task.sizes, own_kernels_only=task.info.own_kernels_only)
    assert isinstance(plans, list), (plans, text)
    for plan, size in zip(plans, task.sizes, strict=True):
        assert isinstance(plan, Plan), (plan, text)
        assert check_outputs(plan, size) == (), text
        assert (plan.backward is not None) == (backward and bool(size.gradients))


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("name", NAMES)
def test_the_skeleton_of_a_task_passes_parse_at_every_size(
    loaded: Loaded, planner: Planner, name: str, backward: bool
) -> None:
    parses(planner, loaded(name), backward=backward)


@pytest.mark.parametrize("name", [task.name for task in shipped_tasks()])
def test_the_skeleton_of_a_shipped_task_passes_parse_at_every_size(planner: Planner, name: str) -> None:
    (located,) = [task for task in shipped_tasks() if task.name == name]
    task = load_task(located.path, target="host", revision=1)
    for backward in (False, True):
        parses(planner, task, backward=backward)
