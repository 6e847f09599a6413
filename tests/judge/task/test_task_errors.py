"""A task that cannot be judged is refused in one sentence that says why and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from workbench.core.errors import TaskError
from workbench.judge.worker.task.loaded import LoadedTask
from workbench.judge.worker.task.loader import load_task

Load = Callable[..., LoadedTask]

MODEL = "class Model(nn.Module):\n    def forward(self, x):\n        return x * 2\n"
INPUTS = "def get_inputs():\n    return [torch.randn(8, 16)]\n"


def refused(load: Load, text: str = "", **parts: str) -> TaskError:
    with pytest.raises(TaskError) as caught:
        load(text, **parts)
    assert caught.value.do, "an error says what to do"
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("no/such/task.py", "There is no task at no/such/task.py"),
        ("nothing_like_this", "There is no task called nothing_like_this"),
        ("no_such_package.module:Net", "There is no module no_such_package.module"),
    ],
)
def test_a_missing_task_is_named(path: str, words: str) -> None:
    with pytest.raises(TaskError, match=words):
        load_task(path, target="host", revision=1)


def test_a_file_that_is_not_python_is_refused(tmp_path: Path) -> None:
    binary = tmp_path / "binary.py"
    binary.write_bytes(bytes(range(128, 256)))
    text = tmp_path / "notes.txt"
    text.write_text("a note")
    for path, words in ((binary, "is not UTF-8 text"), (text, "is not a Python file")):
        with pytest.raises(TaskError, match=words):
            load_task(str(path), target="host", revision=1)


def test_a_folder_without_a_task_or_with_several_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"holds no task\.py and no file with a class"):
        load_task(str(tmp_path), target="host", revision=1)
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("class Model: pass\n")
    with pytest.raises(TaskError, match=r"several tasks: a\.py, b\.py"):
        load_task(str(tmp_path), target="host", revision=1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def f(:\n", "is not valid Python: invalid syntax, line 3"),
        (
            "raise ValueError('the data is gone')\n",
            r"raises when it is imported: ValueError: the data is gone \(line 3\)",
        ),
        ("import sys\nsys.exit(3)\n", "raises when it is imported: SystemExit: 3"),
        ("import no_such_module_at_all\n", "imports 'no_such_module_at_all', which is not installed here"),
        (INPUTS, "has no class `Model`"),
        ("def Model():\n    pass\n" + INPUTS, "`Model` of task.py is not a torch.nn.Module"),
        (MODEL, r"has no get_inputs\(\)"),
        (MODEL + "def get_inputs():\n    return 3\n", r"get_inputs\(\) of task.py returns int"),
        (MODEL + "def get_inputs():\n    return [no_name]\n", r"get_inputs\(\) of task.py raises NameError"),
        (
            MODEL + INPUTS + "def get_init_inputs():\n    return [1]\n",
            r"constructor `Model\(\.\.\.\)` of task.py raises",
        ),
        (
            MODEL + "def get_inputs():\n    return [torch.randn(2)] * 2\n",
            "`Model.forward` of task.py raises TypeError",
        ),
        (MODEL + INPUTS + "tolerance = 'tight'\n", "`tolerance` of task.py is 'tight'"),
        (MODEL + INPUTS + "own_kernels_only = 1\n", "`own_kernels_only` of task.py is 1"),
        (MODEL + INPUTS + "baselines = {'mine': 3}\n", "`baselines` of task.py"),
        (MODEL + INPUTS + "check = 3\n", "`check` of task.py is 3"),
        (MODEL + INPUTS + "autocast = 'int4'\n", "`autocast` of task.py is 'int4'"),
        (MODEL + INPUTS + "sizes = {'small': {'Q': 4}}\n", "sets 'Q', which is neither a global"),
        (MODEL + INPUTS + "N = 2\nsizes = {'small': {'N': 'a'}}\n", r"small\['N'\] is 'a'"),
        (MODEL + INPUTS + "sizes = {'small': 4}\n", "'small' is not a dict of integers"),
        (MODEL + INPUTS + "inputs('batch.pt')\n", "names the file batch.pt, which is not there"),
        (
            MODEL + INPUTS + "weights_file('m.safetensors')\n",
            "names the file m.safetensors, which is not there",
        ),
        (
            MODEL + INPUTS + "def input_distributions():\n    return {'y': ('normal', 0, 1)}\n",
            "names 'y', which is no input",
        ),
        (MODEL + INPUTS + "def input_distributions():\n    return {'x': ('beta', 0, 1)}\n", "draws x as"),
    ],
)
def test_a_broken_task_is_refused_with_its_reason(load: Load, text: str, words: str) -> None:
    error = refused(load, text)
    import re

    assert re.search(words, error.what), error.what


def test_the_class_that_is_there_is_suggested(load: Load) -> None:
    error = refused(load, MODEL.replace("Model", "Net") + INPUTS)
    assert error.do.endswith("task.py:Net.")


@pytest.mark.parametrize(
    ("forward", "words"),
    [
        ("torch.log(x - 100)", "gives NaN"),
        ("x + torch.rand_like(x)", "is random: two runs on the same inputs differ in train and in eval mode"),
        ("nn.functional.dropout(x, 0.5)", "is random"),
        ("float(x.sum())", "returns no tensor but float"),
        ("None", "returns no tensor but None"),
        ("[3, 'a']", "returns no tensor but int, str"),
        ("x.to_sparse()", "returns a tensor that is not dense"),
        ("x @ x", "raises RuntimeError: mat1 and mat2 shapes cannot be multiplied"),
        ("(torch.cuda.current_stream(), x)[1]", "wants CUDA and cannot be redirected to the CPU"),
    ],
)
def test_a_reference_that_cannot_be_compared_is_refused(load: Load, forward: str, words: str) -> None:
    assert words in refused(load, forward=forward).what


def test_python_randomness_is_seen_too(load: Load) -> None:
    assert "is random" in refused(load, head="import random", forward="x * random.random()").what


def test_a_task_that_insists_on_cuda_is_told_where_it_would_run(load: Load) -> None:
    text = "class Model(nn.Module):\n    def forward(self, x):\n        assert x.is_cuda, 'needs CUDA'\n        return x\n"
    error = refused(load, text + INPUTS)
    assert "wants CUDA" in error.what and "--target cuda" in error.do


def test_inputs_that_change_their_shape_are_refused(load: Load) -> None:
    error = refused(load, head="import random", inputs="torch.randn(random.randint(2, 9999), 16)")
    assert "returns another shape for x each time" in error.what


def test_a_declared_size_that_does_not_run_is_named(load: Load) -> None:
    text = (
        "N = 64\nsizes = {'small': {'N': 3}}\n"
        "class Model(nn.Module):\n    def forward(self, x):\n        return x.view(4, -1)\n"
        "def get_inputs():\n    return [torch.randn(N, 5)]\n"
    )
    assert refused(load, text).what.startswith("At size 'small': `Model.forward` of task.py raises")


def test_a_size_that_cannot_be_shrunk_says_how_to_declare_one(load: Load) -> None:
    error = refused(load, forward="x.view(65536, 65536)[:, 60000:].sum()", inputs="torch.rand(65536, 65536)")
    assert "No size of task.py that the host can run was found" in error.what
    assert "sizes = " in error.do


def test_the_gpu_target_is_said_to_be_missing(write: Callable[..., Path]) -> None:
    with pytest.raises(TaskError, match="host target only"):
        load_task(str(write()), target="cuda", revision=1)
