"""The engine never imports torch or Textual, and its client nothing that would delay a first paint."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "textual", "numpy", "cuda", "jinja2", "anthropic")


def modules_of(code: str) -> set[str]:
    """What a fresh interpreter has imported after `code`: top-level names, and workbench's own in full."""
    code += "\nimport sys; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "workbench.engine.__main__",
        "workbench.engine.engine",
        "workbench.engine.client",
        "workbench.judge.client",
        "workbench.archive.shipped",
        "workbench.evolve.sweep",
        "workbench.cli.list",
    ],
)
def test_neither_torch_nor_textual_is_imported_by(module: str) -> None:
    found = modules_of(f"import {module}")
    assert not found & set(HEAVY)
    assert not {name for name in found if name.startswith(("workbench.ui", "workbench.judge.worker"))}


def test_the_client_imports_neither_the_engine_nor_the_dialect() -> None:
    found = modules_of("import workbench.engine.client")
    assert not found & {"watchdog", "click", "workbench.engine.engine", "workbench.judge.client"}
    assert not {name for name in found if name.startswith(("workbench.dialect", "workbench.evolve"))}
