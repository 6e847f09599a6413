"""`workbench dialect`, through the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.dialect.source import CandidateSource, split


def workbench(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from workbench.cli import main; main()", "dialect", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=200, check=False)


def skeleton_in(text: str) -> str:
    return text[text.index("// clang-format off") :]


def test_without_a_task_it_prints_the_dialect_and_an_example() -> None:
    done = workbench("--arch", "sm_90a")
    assert (done.returncode, done.stderr) == (0, "")
    assert "THE PLAN" in done.stdout
    assert "232,448 bytes of shared memory" in done.stdout
    assert isinstance(split(skeleton_in(done.stdout).encode()), CandidateSource)


def test_the_limits_are_those_of_the_architecture() -> None:
    done = workbench("--arch", "sm_86")
    assert "101,376 bytes of shared memory" in done.stdout
    assert "no clusters" in done.stdout


def test_with_a_task_it_prints_its_signature_and_a_skeleton_for_it() -> None:
    done = workbench("softmax")
    assert (done.returncode, done.stderr) == (0, "")
    assert "TASK softmax" in done.stdout
    assert "size small: forward(x: float32[64, 512]) -> out: float32[64, 512]" in done.stdout
    assert "def forward(x):" in skeleton_in(done.stdout)


def test_the_skeleton_it_prints_passes_parse_compiles_and_fails_by_its_numbers_alone(tmp_path: Path) -> None:
    """What a person gets who saves it and verifies it before writing the kernel."""
    candidate = tmp_path / "mine.cu"
    candidate.write_text(skeleton_in(workbench("layernorm").stdout))
    command = [sys.executable, "-m", "workbench", "verify", "layernorm", candidate, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 1, done.stderr
    verdict = json.loads(done.stdout)
    gates = {gate["name"]: gate["status"] for gate in verdict["gates"]}
    assert (gates["parse"], gates["compile"]) == ("pass", "pass"), verdict["reason"]
    assert verdict["failed_gate"] not in ("parse", "compile")


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (["--arch", "ampere"], "ampere is not an architecture. Write it as sm_75", 2),
        (["no_such_task"], "no_such_task", 2),
        (["missing.py"], "missing.py", 2),
        (["--frobnicate"], "No such option", 2),
        (["broken.py"], "broken.py", 3),
    ],
)
def test_a_bad_command_line_or_task_is_one_clear_sentence(
    tmp_path: Path, arguments: list[str], words: str, code: int
) -> None:
    (tmp_path / "broken.py").write_text("raise ValueError('on purpose')\n")
    done = workbench(*arguments, cwd=tmp_path)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_it_imports_neither_torch_nor_textual() -> None:
    script = (
        "import sys\n"
        "from workbench.cli import main\n"
        "try:\n    main(['dialect'])\nexcept SystemExit: pass\n"
        "found = {'torch', 'textual', 'cuda'} & set(sys.modules)\n"
        "assert not found, found\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
