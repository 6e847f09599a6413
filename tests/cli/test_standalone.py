"""`workbench standalone`: what it writes, what it refuses and with which exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from warm_judge import WarmJudge

from workbench.core.task import Parameter, SizeSpec
from workbench.core.tensors import contiguous

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
    assert "def forward(x, weight, eps):" in (target / "plan.txt").read_text()
    program = msgspec.json.decode((target / "standalone.json").read_bytes())["program"]
    assert (program["seed"], program["size"], program["arch"]) == (7, "small", "sm_80")
    again = tmp_path / "again"
    assert _run(NORM / "task.py", NORM / "dynamic_shared.cu", "-o", again, "--seed", 7).returncode == 0
    for file in (target / "inputs").iterdir():
        assert file.read_bytes() == (again / "inputs" / file.name).read_bytes(), (
            "the same seed, the same inputs"
        )


REFUSED: list[tuple[str, str, dict[str, str], str, str]] = [
    ("library_step", "library_and_trivia", {}, "candidate", "is a library step (aten."),
    ("norm", "fills_with_zeros", {}, "candidate", "launches no kernel of its own"),
    ("norm", "two_pass", {"size": "none_such"}, "request", "The task has no size 'none_such'; it has small"),
    ("norm", "two_pass", {"case": "none_such"}, "request", "The task has no case 'none_such'; it has "),
    ("matmul", "missing_argument", {}, "candidate", "line "),
    ("matmul", "misspelt_name", {}, "candidate", "line "),
    ("matmul", "half_result", {}, "candidate", "line "),
    ("matmul", "host_code", {}, "candidate", "line "),
]


@pytest.mark.parametrize(("task", "candidate", "how", "whose", "said"), REFUSED)
def test_a_candidate_that_has_no_such_program_is_refused_in_a_sentence(
    task: str, candidate: str, how: dict[str, str], whose: str, said: str, judge: WarmJudge, tmp_path: Path
) -> None:
    folder = CANDIDATES / task
    source = (folder / f"{candidate}.cu").read_bytes()
    answer = judge.standalone(folder / "task.py", source, tmp_path, **how)
    assert not answer.written and answer.whose == whose
    assert said in answer.stopped and "\n" not in answer.stopped


def test_garbage_is_refused_and_the_judge_goes_on(judge: WarmJudge, tmp_path: Path) -> None:
    for source in (b"", b"\0", b"\xff\xfe", b"/*@plan\n@*/", b"x" * 100):
        assert not judge.standalone(NORM / "task.py", source, tmp_path).written
    written = judge.standalone(NORM / "task.py", (NORM / "two_pass.cu").read_bytes(), tmp_path)
    assert written.written and written.nbytes == sum(
        f.stat().st_size for f in tmp_path.rglob("*") if f.is_file()
    )
    gone = judge.standalone(NORM / "task.py", (NORM / "two_pass.cu").read_bytes(), tmp_path / "none")
    assert not gone.written and gone.whose == "request"
    assert "could not be written: No such file or directory." in gone.stopped


def test_inputs_that_do_not_fit_the_disk_are_refused_before_they_are_drawn(
    judge: WarmJudge, small_disk: Path
) -> None:
    small_disk.chmod(0o777)
    answer = judge.standalone(NORM / "task.py", (NORM / "two_pass.cu").read_bytes(), small_disk)
    assert not answer.written and not any(small_disk.iterdir())
    assert "the disk has 0." in answer.stopped and "a smaller size" in answer.stopped


def test_inputs_that_cannot_be_drawn_in_this_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.judge.worker import standalone

    x = Parameter("x", "x", "input", contiguous((1 << 20,), "float32"))
    size = SizeSpec("full", {"n": 1 << 20}, (x,), (), judged=False)
    assert (standalone._available() or 1 << 40) > 1 << 20
    standalone._room(tmp_path, [], size)
    monkeypatch.setattr(standalone, "_available", lambda: 19 << 20)  # five times 4 MiB are needed
    with pytest.raises(Exception, match=r"about 20\.0 MiB of memory and 19\.0 MiB is free; choose a smaller"):
        standalone._room(tmp_path, [], size)
    standalone._room(tmp_path, [], msgspec.structs.replace(size, judged=True))


def test_the_command_leaves_nothing_of_a_candidate_that_it_refuses(tmp_path: Path) -> None:
    folder = CANDIDATES / "library_step"
    done = _run(folder / "task.py", folder / "library_and_trivia.cu", "-o", tmp_path / "program")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("workbench: library_and_trivia.cu: Line ") and done.stderr.count("\n") == 1
    assert not any(tmp_path.iterdir()), "whole or not at all"


def test_a_wrong_folder_architecture_or_file_is_a_wrong_command_line(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    good = (NORM / "task.py", NORM / "two_pass.cu")
    for arguments, said in (
        ((*good, "-o", tmp_path / "mine"), "is not empty, and no standalone program"),
        ((*good, "-o", tmp_path / "program", "--arch", "sm_90; rm"), "is not an architecture known here"),
        ((NORM / "task.py", tmp_path / "none.cu", "-o", tmp_path / "program"), "There is no file"),
        ((*good, "-o", tmp_path / "program", "--size", "none_such"), "has no size 'none_such'"),
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


def test_a_compiler_that_is_not_there_is_no_fault_of_the_candidate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_NVRTC", str(tmp_path))
    done = _run(NORM / "task.py", NORM / "two_pass.cu", "-o", tmp_path / "program")
    assert done.returncode == 3 and "NVRTC" in done.stderr
    assert not any(tmp_path.iterdir())


def test_the_command_itself_never_imports_torch() -> None:
    code = "import sys, workbench.cli.standalone; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0
