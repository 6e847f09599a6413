"""The screen's process stays light: read from sys.modules of a fresh interpreter."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
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
    parts = ("judge", "runner", "dialect", "profile", "sandbox", "evolve", "llm", "archive", "report")
    assert not [n for n in after if n.startswith(tuple(f"workbench.{p}" for p in parts))]
    engine = {n for n in after if n.startswith("workbench.engine.")}
    # The log's reader with the list of sessions, which shows one whose first line is damaged; it takes core alone.
    assert engine == {f"workbench.engine.{n}" for n in ("client", "log", "runtime", "sessions")}


def test_the_engine_can_be_started_before_the_toolkit_is_imported() -> None:
    out = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, text=True, check=True).stdout
    before, _ = json.loads(out)
    assert "workbench.engine.client" in before
    assert not [n for n in before if n.partition(".")[0] in ("textual", "rich")]


def test_no_module_of_the_screen_imports_more_of_workbench_than_core_and_the_engines_client() -> None:
    for file in sorted((ROOT / "workbench" / "ui").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                seen = (
                    name.startswith(("workbench.core", "workbench.ui")) or name == "workbench.engine.client"
                )
                assert seen or not name.startswith("workbench"), f"{file.name} imports {name}"


def test_the_contract_on_the_screen_names_every_module_of_the_engine_but_its_client() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (screen,) = [c for c in contracts if c.get("source_modules") == ["workbench.ui"]]
    engine = {f"workbench.engine.{f.stem}" for f in (ROOT / "workbench" / "engine").glob("*.py")}
    hidden = engine - {"workbench.engine.__init__", "workbench.engine.client"}
    assert hidden <= set(screen["forbidden_modules"])
    packages = {f"workbench.{f.parent.name}" for f in (ROOT / "workbench").glob("*/__init__.py")}
    above = {"workbench.ui", "workbench.cli"}
    assert packages - above - {"workbench.core", "workbench.engine"} <= set(screen["forbidden_modules"])
