"""`.ci/run` says that all passed only where all of it did. pip and the tools are scripts here: no index, no suite."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PYTHON = """#!/bin/sh
[ "$1" = --version ] && echo Python && exit
bin="$3/bin"
mkdir -p "$bin"
echo "PATH=$bin:$PATH; export PATH" > "$bin/activate"
for tool in pip pytest ruff mypy lint-imports; do
    printf '#!/bin/sh\\necho ran %s "$@"\\ncase "%s $*" in *"$FAILING"*) exit 1;; esac\\n' $tool $tool > "$bin/$tool"
    chmod +x "$bin/$tool"
done
"""


def _run(root: Path, folder: Path, failing: str) -> subprocess.CompletedProcess[str]:
    """The script in a checkout and with tools of its own; the command that `failing` is part of exits with 1."""
    (folder / ".ci").mkdir()
    shutil.copy(root / ".ci" / "run", folder / ".ci" / "run")
    tools = folder / "tools"
    tools.mkdir()
    for name in ("python3.11", "g++", "clang++", "tmux"):  # nothing is missing, so nothing is installed
        (tools / name).write_text(PYTHON)
        (tools / name).chmod(0o755)
    return subprocess.run(
        [folder / ".ci" / "run"],
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "FAILING": failing},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_run_of_ci_passes_where_every_command_does(root: Path, tmp_path: Path) -> None:
    done = _run(root, tmp_path, "no such command")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ran pytest" in done.stdout and done.stdout.endswith("all of it passed\n")


@pytest.mark.parametrize(
    "failing", ["pip install -q torch", "[test]", "pytest", "ruff check", "mypy", "lint"]
)
def test_the_run_of_ci_fails_where_one_command_does(root: Path, tmp_path: Path, failing: str) -> None:
    done = _run(root, tmp_path, failing)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "all of it passed" not in done.stdout
    assert failing in done.stdout.splitlines()[-1], "it went on after a command that failed"
