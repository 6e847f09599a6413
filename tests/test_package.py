"""What a wheel carries: a person who installs it has no checkout to fall back on."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built without network."""
    folder = tmp_path_factory.mktemp("wheel")
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "-q"]
    build = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *offline, "-w", str(folder), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert build.returncode == 0, build.stderr
    (made,) = folder.glob("workbench-*.whl")
    return made


def _files_under(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and not {"__pycache__", ".mypy_cache", ".ruff_cache"} & set(path.parts)
    }


def test_the_wheel_carries_the_shipped_tasks_and_kernels(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    tasks = {f"workbench/shipped_tasks/{path.name}" for path in (ROOT / "tasks").glob("*.py")}
    kernels = {f"workbench/archive/kernels/{p}" for p in _files_under(ROOT / "workbench/archive/kernels")}
    assert len(tasks) >= 8 and len(kernels) >= 16
    assert tasks <= names and kernels <= names


def test_the_wheel_carries_every_file_of_the_package(wheel: Path) -> None:
    """The host target's headers and the compiler's prelude are no Python files, and easily forgotten."""
    names = set(zipfile.ZipFile(wheel).namelist())
    missing = {f"workbench/{p}" for p in _files_under(ROOT / "workbench")} - names
    assert not missing
    assert any(name.startswith("workbench/runner/host/include/") for name in names)


def test_the_wheel_carries_nothing_of_the_tests_or_of_a_session(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"workbench"}
    assert not [name for name in names if "__pycache__" in name or "/tests/" in name or "/sessions/" in name]


def test_an_installed_wheel_finds_its_shipped_tasks_from_any_folder(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    asked = subprocess.run(
        [
            sys.executable,
            "-c",
            "from workbench.core.locate import locate_task; print(locate_task('rmsnorm').path)",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
    assert Path(asked.stdout.strip()) == site.resolve() / "workbench" / "shipped_tasks" / "rmsnorm.py"


def test_the_licence_is_in_the_wheel(wheel: Path) -> None:
    assert any(name.endswith("licenses/LICENSE") for name in zipfile.ZipFile(wheel).namelist())
