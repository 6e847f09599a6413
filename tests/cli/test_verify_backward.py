"""`verify` of a candidate with backward: the table, `--debug`, `--reproduce`, `--junit`, and `workbench dialect`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytestmark = pytest.mark.timeout(900)
FOLDER = Path(__file__).parent.parent / "judge" / "backward" / "softmax"
TASK = FOLDER / "task.py"


def workbench(*args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "workbench", *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    """Its gradient lacks the dot product."""
    text = (FOLDER / "saves_y.cu").read_text().replace("(g[i] - dot)", "g[i]")
    path = tmp_path / "wrong.cu"
    path.write_text(text)
    return path


def test_a_wrong_gradient_is_reported_and_reproduced(wrong: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    done = workbench("verify", TASK, wrong, "--json", "--junit", report)
    assert done.returncode == 1
    failure = ElementTree.parse(report).getroot().find(".//failure")
    assert failure is not None and "gradient of x[" in (failure.get("message") or "") + (failure.text or "")
    verdict = tmp_path / "verdict.json"
    verdict.write_text(done.stdout)
    again = workbench("verify", TASK, wrong, "--reproduce", verdict)
    assert again.returncode == 0, again.stdout  # the same outcome, gate and evidence


def test_debug_shows_the_elements_of_the_gradient_that_differ(wrong: Path) -> None:
    done = workbench("verify", TASK, wrong, "--debug")
    assert "gradient of x[" in done.stdout and "out[" not in done.stdout


def test_the_dialect_shows_backward_where_a_task_asks_for_it() -> None:
    asked = workbench("dialect", FOLDER.parent / "norm" / "task.py").stdout
    assert "backward(..., grad_out: float32[24, 160]) -> gradient of x" in asked
    assert "def backward(x, weight, eps, grad_out):" in asked and "kernel_backward" in asked
    left_out = workbench("dialect", TASK).stdout
    assert "not asked for" in left_out and "kernel_backward" not in left_out
