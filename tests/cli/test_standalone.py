"""`workbench standalone`: what it writes, what it refuses and with which exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

CANDIDATES = Path(__file__).parent.parent / "judge" / "candidates"
NORM = CANDIDATES / "norm"


def _run(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "workbench", "standalone", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=cwd)


def test_it_writes_the_program_and_its_command_lines(tmp_path: Path) -> None:
    target = tmp_path / "program"
    done = _run(NORM / "task.py", NORM / "dynamic_shared.cu", "-o", target, "--seed", 7, "--arch", "sm_80")
    assert (done.returncode, done.stderr) == (0, "")
    assert "dynamic_shared.cu at small for sm_80, 1 step, 1 kernel, inputs drawn from 7" in done.stdout
    readme = (target / "README.txt").read_text()
    for line in (
        "ncu --clock-control none --set full --import-source yes --source-folders . -f -o profile ./standalone",
        "compute-sanitizer --error-exitcode 9 --tool memcheck --padding 256 ./standalone",
        "compute-sanitizer --error-exitcode 9 --tool racecheck --racecheck-report all ./standalone",
        "compute-sanitizer --error-exitcode 9 --tool initcheck ./standalone",
        "compute-sanitizer --error-exitcode 9 --tool synccheck ./standalone",
        "cuda-gdb -ex 'set cuda break_on_launch application' -ex run --args ./standalone --cubin candidate.debug.cubin",
        "break rms_norm",
    ):
        assert f"  {line}\n" in readme
    assert "-arch=sm_80" in (target / "Makefile").read_text()
    assert b"candidate.cu" in (target / "candidate.cubin").read_bytes(), "with line information"
    # The source's lines are the candidate's own, and the plan is beside it.
    source = (NORM / "dynamic_shared.cu").read_text().splitlines()
    device = (target / "candidate.cu").read_text().splitlines()
    assert len(device) == len(source) and device[-5:] == source[-5:]
    assert "def forward(x, weight, eps):" in (target / "plan.py").read_text()
    program = msgspec.json.decode((target / "standalone.json").read_bytes())["program"]
    assert (program["seed"], program["size"], program["arch"]) == (7, "small", "sm_80")
    again = tmp_path / "again"
    assert _run(NORM / "task.py", NORM / "dynamic_shared.cu", "-o", again, "--seed", 7).returncode == 0
    for file in (target / "inputs").iterdir():
        assert file.read_bytes() == (again / "inputs" / file.name).read_bytes(), (
            "the same seed, the same inputs"
        )


@pytest.mark.parametrize(
    ("task", "candidate", "options", "said"),
    [
        ("library_step", "library_and_trivia", (), "is a library step (aten."),
        ("norm", "requires", ("--size", "none_such"), "The task has no size 'none_such'; it has small"),
        ("norm", "two_pass", ("--case", "none_such"), "The task has no case 'none_such'; it has "),
        ("matmul", "missing_argument", (), "line "),
        ("matmul", "misspelt_name", (), "line "),
        ("matmul", "half_result", (), "line "),
        ("matmul", "host_code", (), "line "),
        ("norm", "fills_with_zeros", (), "launches no kernel of its own"),
    ],
)
def test_a_candidate_that_has_no_such_program_is_refused_in_a_sentence(
    task: str, candidate: str, options: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    folder = CANDIDATES / task
    done = _run(folder / "task.py", folder / f"{candidate}.cu", "-o", tmp_path / "program", *options)
    first = done.stderr.splitlines()[0]
    assert done.returncode == 1 and done.stdout == ""
    assert first.startswith(f"workbench: {candidate}.cu: ") and said in first
    assert "Traceback" not in done.stderr
    assert not any(tmp_path.iterdir()), "whole or not at all"


def test_a_wrong_folder_architecture_or_file_is_a_wrong_command_line(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    good = (NORM / "task.py", NORM / "two_pass.cu")
    for arguments, said in (
        ((*good, "-o", tmp_path / "mine"), "is not empty, and no standalone program"),
        ((*good, "-o", tmp_path / "program", "--arch", "sm_90; rm"), "is not an architecture known here"),
        ((NORM / "task.py", tmp_path / "none.cu", "-o", tmp_path / "program"), "There is no file"),
        (good, "--output"),
    ):
        done = _run(*arguments)
        assert done.returncode == 2 and said in done.stderr
    assert {entry.name for entry in tmp_path.iterdir()} == {"mine"}


def test_a_broken_task_is_no_fault_of_the_candidate(tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text("raise RuntimeError('broken')\n")
    done = _run(tmp_path / "task.py", NORM / "two_pass.cu", "-o", tmp_path / "program")
    assert done.returncode == 3 and "broken" in done.stderr
    assert {entry.name for entry in tmp_path.iterdir()} <= {"task.py", "__pycache__"}


def test_the_command_itself_never_imports_torch() -> None:
    code = "import sys, workbench.cli.standalone; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0
