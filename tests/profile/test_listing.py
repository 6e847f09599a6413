"""Machine code as text: every instruction that was read, at the candidate's own lines."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from workbench.core.build import CudaBuild
from workbench.profile import listing as module
from workbench.profile import sass
from workbench.profile.listing import listing

Build = Callable[..., CudaBuild]

KERNEL = """template <typename T> __device__ __noinline__ T twice(T x) { return x + x; }
extern "C" __global__ void double_all(const float* x, float* y, int count)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count)
        y[i] = twice(x[i]);
}
"""


def test_a_listing_has_every_instruction_once_and_names_the_candidates_lines(build: Build) -> None:
    built = build(KERNEL, "double_all")
    text = listing(built)
    functions = [f for f in sass.disassemble(built.cubin) if "workbench_probe_" not in f.symbol]
    instructions = [i for f in functions for i in f.instructions]
    shown = [line for line in text.splitlines() if re.match(r"  /\*[0-9a-f]{4}\*/", line)]
    assert len(shown) == len(instructions) > 10
    assert f"// double_all: {len(instructions)} instructions" in text and built.arch in text
    (load,) = [line for line in shown if " LDG.E" in line]
    assert load.endswith("// line 6") or "// line 6" in text[: text.index(load)]
    assert {int(n) for n in re.findall(r"// line (\d+)$", text, re.MULTILINE)} == {1, 2, 4, 5, 6, 7}


def test_a_listing_that_is_too_long_says_where_it_is_cut_off(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_INSTRUCTIONS", 5)
    text = listing(build(KERNEL, "double_all"))
    assert text.count("  /*00") == 5
    assert text.endswith("// cut off here: more than 5 instructions\n")


def test_a_function_whose_name_is_longer_than_a_line_is_cut_where_it_stands(build: Build) -> None:
    name = "f" * 5000
    text = listing(build(KERNEL.replace("twice", name), "double_all"))
    assert "ffff" in text and "…" in text and max(map(len, text.splitlines())) <= module.MAX_LINE + 40


def test_without_a_disassembler_there_is_no_listing(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    built = build(KERNEL.replace("x + x", "x * x"), "double_all")
    monkeypatch.setattr(sass, "find_nvdisasm", lambda: None)
    assert listing(built) == ""
