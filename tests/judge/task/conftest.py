"""Tasks for these tests: the files in kernelbench/, written for this project in KernelBench's form, and inline ones."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from workbench.judge.worker.task.loaded import LoadedTask
from workbench.judge.worker.task.loader import load_task

KERNELBENCH = Path(__file__).parent / "kernelbench"
HEAD = "import torch\nimport torch.nn as nn\n"


@functools.cache
def _load(name: str) -> LoadedTask:
    return load_task(str(KERNELBENCH / f"{name}.py"), target="host", revision=1)


@pytest.fixture
def loaded() -> Callable[[str], LoadedTask]:
    """Load a task of kernelbench/ by its name; each is loaded once for all tests, which must not change it."""
    return _load


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a task file: `write(forward="x * 2", inputs="torch.randn(4, 8)")`, or `write(text)`."""

    def make(
        text: str = "", *, forward: str = "x", inputs: str = "torch.randn(8, 16)", head: str = ""
    ) -> Path:
        body = text or (
            f"{head}\n"
            "class Model(nn.Module):\n"
            "    def forward(self, x):\n"
            f"        return {forward}\n\n"
            "def get_inputs():\n"
            f"    return [{inputs}]\n"
        )
        path = tmp_path / "task.py"
        path.write_text(HEAD + body)
        return path

    return make


@pytest.fixture
def load(write: Callable[..., Path]) -> Callable[..., LoadedTask]:
    """Write a task and load it."""

    def make(text: str = "", **parts: str) -> LoadedTask:
        return load_task(str(write(text, **parts)), target="host", revision=1)

    return make
