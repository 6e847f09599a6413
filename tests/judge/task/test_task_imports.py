"""A task brings its project's sources along: packages, relative imports, data files, and edits between two loads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from workbench.core.errors import TaskError
from workbench.judge.worker.task.loaded import LoadedTask
from workbench.judge.worker.task.loader import load_task

TASK = """
import torch
import torch.nn as nn
from .layers import scale
from . import config

class Model(nn.Module):
    def forward(self, x):
        return scale(x) * config.FACTOR

class Other(nn.Module):
    def forward(self, x):
        return x - 1

N = 4

def get_inputs():
    return [torch.randn(N, 8)]
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "proj_for_tests" / "kernels"
    folder.mkdir(parents=True)
    (tmp_path / "proj_for_tests" / "__init__.py").write_text("")
    (folder / "__init__.py").write_text("")
    (folder / "layers.py").write_text("from ..shared import three\ndef scale(x):\n    return x * three()\n")
    (folder / "config.py").write_text("FACTOR = 2\n")
    (folder / "job.py").write_text(TASK)
    (tmp_path / "proj_for_tests" / "shared.py").write_text("def three():\n    return 3\n")
    return folder


def load(path: Path | str) -> LoadedTask:
    return load_task(str(path), target="host", revision=1)


def doubled(task: LoadedTask) -> float:
    size = task.sizes[0]
    case = task.draw(size, 1)
    x = case.values["input:x"]
    assert isinstance(x, torch.Tensor)
    return round(float((task.expected(size, case).eager[0] / x).mean()), 3)


def test_a_file_in_a_package_imports_relatively_and_all_its_sources_count(package: Path) -> None:
    task = load(package / "job.py")
    assert doubled(task) == 6
    names = {Path(source).name for source in task.info.sources}
    assert {"job.py", "layers.py", "config.py", "shared.py"} <= names
    assert not any("site-packages" in source or "/torch/" in source for source in task.info.sources)
    assert Path(task.info.sources[0]).name == "job.py"


def test_a_changed_import_changes_the_fingerprint_and_the_reference(package: Path) -> None:
    before = load(package / "job.py")
    (package / "config.py").write_text("FACTOR = 5\n")
    after = load(package / "job.py")
    assert doubled(after) == 15
    assert before.info.fingerprint != after.info.fingerprint
    assert load(package / "job.py").info.fingerprint == after.info.fingerprint


def test_a_module_and_class_name_a_task(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(package.parents[1])
    task = load("proj_for_tests.kernels.job:Other")
    assert task.info.name == "Other"
    size = task.sizes[0]
    case = task.draw(size, 1)
    assert torch.equal(task.expected(size, case).eager[0], case.values["input:x"] - 1)  # type: ignore[operator]  # a tensor
    assert load(f"{package / 'job.py'}:Other").info.name == "Other"


def test_a_folder_is_a_task_by_task_py_or_by_its_only_model(tmp_path: Path) -> None:
    folder = tmp_path / "my_task"
    folder.mkdir()
    (folder / "helper.py").write_text("def f(x):\n    return x + 1\n")
    text = TASK.replace("from .layers import scale", "from helper import f as scale").replace(
        "from . import config", "import types\nconfig = types.SimpleNamespace(FACTOR=1)"
    )
    (folder / "model.py").write_text(text)
    assert load(folder).info.name == "my_task"
    (folder / "task.py").write_text(text.replace("FACTOR=1", "FACTOR=0"))
    assert doubled(load(folder)) == 0


def test_an_edit_within_the_same_second_is_seen(tmp_path: Path) -> None:
    (tmp_path / "constant_of_task.py").write_text("K = 1\n")
    task = tmp_path / "task.py"
    task.write_text(
        "import torch\nfrom constant_of_task import K\nclass Model(torch.nn.Module):\n"
        "    def forward(self, x):\n        return x * K\ndef get_inputs():\n    return [torch.randn(4, 4)]\n"
    )
    for value in (1, 2, 3):
        (tmp_path / "constant_of_task.py").write_text(f"K = {value}\n")
        assert doubled(load(task)) == value
    assert not (tmp_path / "__pycache__").exists()


def test_a_raising_import_inside_the_package_names_the_task(package: Path) -> None:
    (package / "layers.py").write_text("1 / 0\n")
    with pytest.raises(TaskError, match=r"job\.py raises when it is imported: ZeroDivisionError"):
        load(package / "job.py")
    (package / "layers.py").write_text("def scale(x):\n    return x\n")
    assert doubled(load(package / "job.py")) == 2


def test_data_files_are_read_and_fingerprinted(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    torch.save([torch.randn(4, 8)], tmp_path / "batch.pt")
    save_file({"weight": torch.full((3, 8), 2.0), "bias": torch.zeros(3)}, tmp_path / "m.safetensors")
    (tmp_path / "task.py").write_text(
        "import torch\ninputs('batch.pt')\nweights_file('m.safetensors')\n"
        "Model = torch.nn.Linear\ndef get_init_inputs():\n    return [8, 3]\n"
    )
    task = load(tmp_path / "task.py")
    values = task.draw(task.sizes[0], 1).values
    weight = values["parameter:weight"]
    assert isinstance(weight, torch.Tensor) and float(weight.min()) == 2.0
    assert {Path(s).name for s in task.info.sources} == {"task.py", "batch.pt", "m.safetensors"}
    save_file({"weight": torch.full((3, 8), 4.0), "bias": torch.zeros(3)}, tmp_path / "m.safetensors")
    assert load(tmp_path / "task.py").info.fingerprint != task.info.fingerprint


def test_weights_that_do_not_fit_are_said(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(2, 2)}, tmp_path / "m.pt")
    (tmp_path / "task.py").write_text(
        "import torch\nweights_file('m.pt')\nModel = torch.nn.Linear\n"
        "def get_inputs():\n    return [torch.randn(4, 8)]\ndef get_init_inputs():\n    return [8, 3]\n"
    )
    with pytest.raises(TaskError, match=r"m\.pt does not fit the model"):
        load(tmp_path / "task.py")
