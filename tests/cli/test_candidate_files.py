"""`verify` and the engine read the same candidate from the same file, decided by the lexer."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.cli.candidates import read_candidate
from workbench.engine.origins import read_candidate_file

PLAN = "def forward(x):\n    return x\n"
OWN = "/*@plan\ndef forward(y):\n    return y\n@*/\n"
CUDA = "__global__ void k() {}\n"


@pytest.mark.parametrize(
    "name, text, joined",
    [
        ("a.cu", CUDA, True),
        ("a.cu", OWN + CUDA, False),
        ("a.cu", OWN.replace("/*@plan", "/* \t@plan") + CUDA, False),
        ("a.cu", "// see /*@plan\n" + CUDA, True),
        ("a.cu", "// by @planner\n" + CUDA, True),
        ("a.cu", 'const char *s = "/*@plan";\n' + CUDA, True),
        ("a.cu", "\ufeff" + CUDA, True),
        ("a.cu", "\ufeff" + OWN + CUDA, False),
        ("a.cu", CUDA.replace("\n", "\r"), True),
        ("a.cuh", CUDA, True),
    ],
)
def test_a_file_is_joined_with_the_plan_beside_it_where_it_has_none_of_its_own(
    tmp_path: Path, name: str, text: str, joined: bool
) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode())
    (tmp_path / "a.plan.py").write_text("\ufeff" + PLAN)
    source = read_candidate(path).source
    assert source == read_candidate_file(path)
    assert (PLAN.encode() in source) == joined
    assert joined or source == text.encode()
    assert not joined or b"\xef\xbb\xbf" not in source


def test_a_models_answer_is_read_by_both(tmp_path: Path) -> None:
    path = tmp_path / "answer.md"
    path.write_text(f"Here it is:\n```python\n{PLAN}```\nand\n```cuda\n{CUDA}```\n")
    (tmp_path / "answer.plan.py").write_text("not this one")
    source = read_candidate(path).source
    assert source == read_candidate_file(path)
    assert source.startswith(b"/*@plan\ndef forward(x)") and CUDA.encode() in source


@pytest.mark.parametrize(
    "data, plan", [(b"\xff\xfe", PLAN.encode()), (CUDA.encode(), b"\xff"), (b"", PLAN.encode())]
)
def test_what_is_no_text_stays_as_it_is_for_both(tmp_path: Path, data: bytes, plan: bytes) -> None:
    path = tmp_path / "a.cu"
    path.write_bytes(data)
    (tmp_path / "a.plan.py").write_bytes(plan)
    source = read_candidate(path).source
    assert source == read_candidate_file(path)
    assert source == data or not data
