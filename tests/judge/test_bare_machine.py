"""The judge's side on a GPU machine that has torch, numpy, cuda-core, msgspec and pyelftools alone (design 10)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.core.folders import cache_folder

REFUSING = """
import importlib, sys
ALLOWED = {"torch", "numpy", "cuda", "msgspec", "elftools"}

class Refusing:
    '''Lets workbench import what it may; what torch and the others import themselves is theirs.'''
    def find_spec(self, name, path=None, target=None):
        root = name.partition(".")[0]
        if root in sys.stdlib_module_names or root in ALLOWED or root == "workbench":
            return None
        frame = sys._getframe(1)
        while frame.f_globals.get("__name__", "").startswith("importlib"):
            frame = frame.f_back
        asks = frame.f_globals.get("__name__", "")
        if asks.startswith("workbench") or asks == "__main__":
            raise ModuleNotFoundError(f"{asks} imports {name}, which a bare machine lacks")
        return None

sys.meta_path.insert(0, Refusing())
"""
JUDGES_SIDE = (
    "workbench.judge.worker.__main__",
    "workbench.judge.worker.parts",
    "workbench.judge.worker.judging",
    "workbench.judge.worker.debug",
    "workbench.judge.worker.task.loader",
    "workbench.runner.compiler.__main__",
    "workbench.runner.host.process",
    "workbench.runner.library",
    "workbench.dialect.planner_process",
)


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", REFUSING + code], capture_output=True, text=True, timeout=200
    )


def test_the_judges_side_imports_with_torch_numpy_cuda_msgspec_and_elftools_alone() -> None:
    done = run(f"for name in {JUDGES_SIDE!r}: importlib.import_module(name)\nprint('all')")
    assert (done.returncode, done.stdout) == (0, "all\n"), done.stderr


def test_what_a_bare_machine_lacks_is_refused_here() -> None:
    done = run("import workbench.cli")  # imports click
    assert done.returncode and "imports click, which a bare machine lacks" in done.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have places of their own")
def test_the_cache_is_where_the_variable_says_else_in_the_home_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("XDG_CACHE_HOME", "/fast/cache")
    assert cache_folder() == Path("/fast/cache/workbench")
    for useless in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", useless)
        assert cache_folder() == Path("/home/someone/.cache/workbench")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path(os.path.expanduser("~/.cache/workbench"))
