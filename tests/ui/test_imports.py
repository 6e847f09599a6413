"""The screen's process stays light: read from sys.modules of a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys

SHOW = """
import json, sys
import workbench.cli
workbench.cli.Commands().get_command(None, "open")
before = sorted(sys.modules)
import workbench.ui.app
print(json.dumps([before, sorted(sys.modules)]))
"""


def test_the_screens_process_imports_neither_torch_nor_numpy_nor_pygments_nor_the_judge() -> None:
    out = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, text=True, check=True).stdout
    _, after = json.loads(out)
    roots = {name.partition(".")[0] for name in after}
    assert not roots & {"torch", "numpy", "pygments", "watchdog", "jinja2", "cuda", "tree_sitter_cuda"}
    parts = ("judge", "runner", "dialect", "sandbox", "evolve")
    assert not [n for n in after if n.startswith(tuple(f"workbench.{p}" for p in parts))]


def test_the_engine_can_be_started_before_the_toolkit_is_imported() -> None:
    out = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, text=True, check=True).stdout
    before, _ = json.loads(out)
    assert "workbench.engine.client" in before
    assert not [n for n in before if n.partition(".")[0] in ("textual", "rich")]
