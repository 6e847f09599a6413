"""A standalone program makes exactly the plan's calls on exactly the judge's inputs, on a driver made for the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from standalone_world import FakeDriver, Simulation, build, compiled, compilers, results, understood
from warm_judge import WarmJudge

from workbench.core.task import SizeSpec
from workbench.dialect.planner import Planner
from workbench.judge.worker.task.loaded import LoadedTask
from workbench.judge.worker.task.loader import load_task
from workbench.runner.compiler.client import Compiler

ROOT = Path(__file__).resolve().parents[3]
CANDIDATES = ROOT / "tests" / "judge" / "candidates"
KERNELS = ROOT / "workbench" / "archive" / "kernels"
EVERYTHING = Path(__file__).parent / "everything"
SEED = 20_261_121

CASES: dict[str, tuple[Path, Path]] = {
    # Scratch and several launches; dynamic shared memory; a template; a fill; a fill of one of several outputs.
    "three_launches": (CANDIDATES / "norm", CANDIDATES / "norm" / "three_launches.cu"),
    "dynamic_shared": (CANDIDATES / "norm", CANDIDATES / "norm" / "dynamic_shared.cu"),
    "templated": (CANDIDATES / "norm", CANDIDATES / "norm" / "templated.cu"),
    "float_atomics": (CANDIDATES / "norm", CANDIDATES / "norm" / "float_atomics.cu"),
    "several_outputs": (CANDIDATES / "several_outputs", CANDIDATES / "several_outputs" / "one_kernel.cu"),
    # Written in place and returned; a cooperative launch; integer inputs; half precision; sizes that end anywhere.
    "in_place": (CANDIDATES / "add_in_place", CANDIDATES / "add_in_place" / "in_place.cu"),
    "kv_cache": (CANDIDATES / "kv_cache", CANDIDATES / "kv_cache" / "write_then_read.cu"),
    "grid_sync": (CANDIDATES / "center", CANDIDATES / "center" / "grid_sync.cu"),
    "embedding": (CANDIDATES / "embedding", CANDIDATES / "embedding" / "gather.cu"),
    "softmax_half": (CANDIDATES / "softmax_half", CANDIDATES / "softmax_half" / "online.cu"),
    "odd_bytes": (CANDIDATES / "odd_bytes", CANDIDATES / "odd_bytes" / "guarded.cu"),
    "returns_the_input": (CANDIDATES / "residual", CANDIDATES / "residual" / "returns_the_input.cu"),
    # Shipped: forward and backward; a grid of its own shape; a triangle.
    "with_backward": (ROOT / "tasks" / "rmsnorm.py", KERNELS / "rmsnorm" / "with_backward.cu"),
    "register_blocked": (
        ROOT / "tasks" / "matmul_square.py",
        KERNELS / "matmul_square" / "register_blocked.cu",
    ),
    "triangular_grid": (
        ROOT / "tasks" / "matmul_lower_triangular.py",
        KERNELS / "matmul_lower_triangular" / "triangular_grid.cu",
    ),
    "split_rows": (ROOT / "tasks" / "cross_entropy.py", KERNELS / "cross_entropy" / "split_rows.cu"),
    # One of each.
    "everything": (EVERYTHING, EVERYTHING / "everything.cu"),
}


@dataclass
class Made:
    """A program in its folder, and the plan it was made of."""

    folder: Path
    simulation: Callable[[], Simulation]


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> FakeDriver:
    return FakeDriver(tmp_path_factory.mktemp("driver"))


@pytest.fixture(scope="session")
def parts() -> Iterator[tuple[Planner, Compiler]]:
    with Planner() as planner, Compiler() as compiler:
        yield planner, compiler


@pytest.fixture(scope="session")
def made(
    judge: WarmJudge, parts: tuple[Planner, Compiler], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Made]]:
    """Write and build the program of a case; each once."""
    known: dict[tuple[str, str, str], Made] = {}

    def make(name: str, *, size: str = "", case: str = "random") -> Made:
        if (name, size, case) not in known:
            task, file = CASES[name]
            task = task if task.is_file() else task / "task.py"
            folder = tmp_path_factory.mktemp(name)
            written = judge.standalone(
                task, file.read_bytes(), folder, path=str(file), size=size, case=case, seed=SEED
            )
            assert written.written, written.stopped
            build(folder)
            loaded = load_task(str(task), target="host", revision=1)
            spec = next(s for s in loaded.sizes if s.name == written.size)
            found = compiled(file.read_bytes(), spec, *parts)
            values = _bytes(loaded, spec, case, found.plan.backward is not None)
            assert (folder / "candidate.cubin").read_bytes() == found.build.cubin
            known[name, size, case] = Made(folder, lambda: Simulation(found, spec, dict(values)))
        return known[name, size, case]

    yield make


def _bytes(task: LoadedTask, size: SizeSpec, case: str, backward: bool) -> dict[str, bytes]:
    drawn = task.draw(size, SEED, case, backward=backward).values
    tensors = {path: v for path, v in drawn.items() if isinstance(v, torch.Tensor)}
    return {
        path: t.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        for path, t in tensors.items()
    }


def _check(
    made: Made, driver: FakeDriver, calls: int, *arguments: str, cwd: Path | None = None
) -> tuple[str, list[str]]:
    """Run the program and compare all that the driver saw, and the results, with the plan.

    Returns:
        Its standard output, and the driver's log.
    """
    simulation = made.simulation()
    for _ in range(calls):
        simulation.call()
    parts = simulation.compiled
    driver.knows(parts.kernels, parts.writes(), parts.tables())
    done, log = driver.run(made.folder, *arguments, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    assert understood(log, simulation) == simulation.log
    assert log[-1] == "end"
    files = sorted((made.folder / "outputs").iterdir(), key=lambda f: int(f.name.partition("_")[0]))
    assert [file.read_bytes() for file in files] == results(simulation)
    return done.stdout, log


@pytest.mark.parametrize("name", CASES)
def test_grid_arguments_and_inputs_are_the_plans(
    name: str, made: Callable[..., Made], driver: FakeDriver
) -> None:
    made_ = made(name)
    said, _ = _check(made_, driver, 1)
    steps = sum(len(half.steps) for half in made_.simulation().compiled.plan.halves)
    lines = [line for line in said.splitlines() if line.startswith("step ")]
    assert [line.split(":")[0] for line in lines] == [f"step {n} of {steps}" for n in range(1, steps + 1)]
    assert all(line.endswith("... done") for line in lines)


@pytest.mark.parametrize("name", ["in_place", "kv_cache", "everything", "with_backward", "several_outputs"])
def test_each_repetition_begins_with_the_inputs_as_they_were(
    name: str, made: Callable[..., Made], driver: FakeDriver
) -> None:
    assert "all steps were run 3 times" in _check(made(name), driver, 3, "--repeat", "3")[0]


def test_another_size_and_a_hard_case_are_drawn_as_for_a_verdict(
    made: Callable[..., Made], driver: FakeDriver
) -> None:
    needle = made("dynamic_shared", case="needle")
    _check(needle, driver, 1)
    tiny = made("everything", size="tiny")
    _check(tiny, driver, 1)
    plain = made("dynamic_shared")
    x = next((plain.folder / "inputs").glob("*_x.bin")).name
    assert (plain.folder / "inputs" / x).read_bytes() != (needle.folder / "inputs" / x).read_bytes()


def test_more_than_48_kib_of_dynamic_shared_memory_is_asked_for_before_the_launch(
    made: Callable[..., Made], driver: FakeDriver
) -> None:
    _, log = _check(made("everything"), driver, 1)
    asked = [line for line in log if line.startswith("attribute 8 ")]
    assert asked == ["attribute 8 65536 tables"]
    assert log.index(asked[0]) < next(n for n, line in enumerate(log) if line.startswith("launch tables"))


def test_it_runs_from_any_folder(made: Callable[..., Made], driver: FakeDriver, tmp_path: Path) -> None:
    _check(made("odd_bytes"), driver, 1, cwd=tmp_path)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("compiler", compilers())
def test_every_compiler_here_builds_it_without_a_warning(compiler: str, made: Callable[..., Made]) -> None:
    flags = "-O1 -Wall -Wextra -Wpedantic -Wno-unused-variable -Werror"
    for name in ("everything", "with_backward"):
        build(made(name).folder, compiler=compiler, flags=flags)
