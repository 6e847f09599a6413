"""A standalone program on a real device computes what the reference does, and the tools of its README see it."""

from __future__ import annotations

import math
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from warm_judge import WarmJudge

from workbench.core.tensors import TensorSpec
from workbench.judge.worker.task.loader import load_task

pytestmark = pytest.mark.gpu

ROOT = Path(__file__).resolve().parents[2]
CANDIDATES = ROOT / "tests" / "judge" / "candidates"
KERNELS = ROOT / "workbench" / "archive" / "kernels"
HONEST: dict[str, tuple[Path, Path]] = {
    "three_launches": (CANDIDATES / "norm" / "task.py", CANDIDATES / "norm" / "three_launches.cu"),
    "templated": (CANDIDATES / "norm" / "task.py", CANDIDATES / "norm" / "templated.cu"),
    "float_atomics": (CANDIDATES / "norm" / "task.py", CANDIDATES / "norm" / "float_atomics.cu"),
    "in_place": (CANDIDATES / "add_in_place" / "task.py", CANDIDATES / "add_in_place" / "in_place.cu"),
    "grid_sync": (CANDIDATES / "center" / "task.py", CANDIDATES / "center" / "grid_sync.cu"),
    "several_outputs": (
        CANDIDATES / "several_outputs" / "task.py",
        CANDIDATES / "several_outputs" / "one_kernel.cu",
    ),
    "softmax_half": (CANDIDATES / "softmax_half" / "task.py", CANDIDATES / "softmax_half" / "online.cu"),
    "row_in_shared": (ROOT / "tasks" / "softmax.py", KERNELS / "softmax" / "row_in_shared.cu"),
    "with_backward": (ROOT / "tasks" / "rmsnorm.py", KERNELS / "rmsnorm" / "with_backward.cu"),
    "register_blocked": (
        ROOT / "tasks" / "matmul_square.py",
        KERNELS / "matmul_square" / "register_blocked.cu",
    ),
}
SEED = 20_261_121


@dataclass
class Ran:
    folder: Path
    results: list[bytes]


def _program(judge: WarmJudge, task: Path, candidate: Path, folder: Path) -> None:
    if shutil.which("make") is None or not any(map(shutil.which, ("g++", "clang++"))):
        pytest.skip("building the program needs make and a C++ compiler")
    written = judge.standalone(task, candidate.read_bytes(), folder, path=str(candidate), seed=SEED)
    assert written.written, written.stopped
    compiler = "g++" if shutil.which("g++") else "clang++"
    subprocess.run(["make", "-s", "-C", folder, f"CXX={compiler}"], check=True)


def _run(folder: Path, *arguments: str) -> list[bytes]:
    done = subprocess.run([folder / "standalone", *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    files = sorted((folder / "outputs").iterdir(), key=lambda f: int(f.name.partition("_")[0]))
    return [file.read_bytes() for file in files]


def _tensor(data: bytes, spec: TensorSpec) -> torch.Tensor:
    flat = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    return flat.view(getattr(torch, spec.dtype)).reshape(spec.shape)


@pytest.mark.parametrize("name", HONEST)
def test_the_results_are_the_references(name: str, judge: WarmJudge, tmp_path: Path) -> None:
    task, candidate = HONEST[name]
    _program(judge, task, candidate, tmp_path)
    loaded = load_task(str(task), target="host", revision=1)
    size = loaded.sizes[0]
    backward = "with_backward" in name
    case = loaded.draw(size, SEED, backward=backward)
    expected = loaded.expected(size, case, backward=backward)
    wanted = list(expected.exact or expected.eager)
    specs = [output.tensor for output in size.outputs]
    mutable = [p for p in size.parameters if p.tensor is not None and p.mutable]
    # Files: outputs, what was written in place, gradients; the reference: outputs, then gradients.
    wanted[len(specs) : len(specs)] = [expected.mutated[p.path] for p in mutable]
    specs += [p.tensor for p in mutable if p.tensor is not None]
    by_path = size.by_path()
    specs += [t for path in size.gradients if backward and (t := by_path[path].tensor) is not None]
    for arguments in ((), ("--repeat", "7")):
        results = _run(tmp_path, *arguments)
        assert len(results) == len(wanted) == len(specs)
        for data, spec, right in zip(results, specs, wanted, strict=True):
            actual = _tensor(data, spec)
            if not actual.is_floating_point():
                assert torch.equal(actual, right.to(actual.dtype))
                continue
            scale = float(right.abs().max()) + 1e-30
            wrong = float((actual.double() - right.double()).abs().max()) / scale
            assert math.isfinite(wrong) and wrong < 64 * torch.finfo(actual.dtype).eps * math.sqrt(512)


@pytest.mark.parametrize(("name", "code"), [("two_pass", 0), ("writes_one_too_far", 9)])
def test_memcheck_sees_what_the_program_does(name: str, code: int, judge: WarmJudge, tmp_path: Path) -> None:
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        pytest.skip("there is no compute-sanitizer here")
    _program(judge, CANDIDATES / "norm" / "task.py", CANDIDATES / "norm" / f"{name}.cu", tmp_path)
    command = [tool, "--error-exitcode", "9", "--tool", "memcheck", "--padding", "256", "./standalone"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == code, done.stdout


def test_ncu_profiles_the_program_by_its_readmes_line(judge: WarmJudge, tmp_path: Path) -> None:
    tool = shutil.which("ncu")
    if tool is None:
        pytest.skip("there is no ncu here")
    task, candidate = HONEST["row_in_shared"]
    _program(judge, task, candidate, tmp_path)
    (line,) = [each for each in (tmp_path / "README.txt").read_text().splitlines() if " -o profile " in each]
    done = subprocess.run(
        [tool, *line.split()[1:]], cwd=tmp_path, capture_output=True, text=True, timeout=200
    )
    if "ERR_NVGPUCTRPERM" in done.stdout + done.stderr:
        pytest.skip("the GPU's counters are for administrators here")
    assert done.returncode == 0 and (tmp_path / "profile.ncu-rep").stat().st_size, done.stdout + done.stderr
