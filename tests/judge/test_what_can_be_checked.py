"""Too little that can be checked is an error, never a pass; and what a task's own check does not see is compared.

Every verdict comes from a real judge.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from warm_judge import WarmJudge, complaint

from workbench.core.verdict import Verdict

HEAD = "import torch\nfrom torch import nn\n"

# The reference itself is off by about 0.03 wherever it adds and takes away a million, in all rows but the first, whose
# size hides that from the comparison of the whole output when the task is loaded.
UNTRUSTED = """
class Model(nn.Module):
    def forward(self, x):
        big = torch.zeros_like(x)
        big[1:] = 1e6
        scale = torch.ones_like(x[:, :1])
        scale[0] = 1e4
        return (x + big - big) * scale
def get_inputs():
    return [torch.randn(64, 128)]
"""
SCALES = """// clang-format off
/*@plan
def forward(x):
    rows, cols = x.shape
    y = empty_like(x)
    launch("scale", grid=rows, block=128, args=[x, y, cols])
    return y
@*/
// clang-format on
extern "C" __global__ void scale(const float* x, float* y, int cols)
{
    for (int i = threadIdx.x; i < cols; i += blockDim.x) {
        const int at = blockIdx.x * cols + i;
        y[at] = x[at] * (blockIdx.x == 0 ? 1e4f : 1.0f);
    }
}
"""

# Suits nothing but what looks like get_inputs()'s own draws, so that no hard case is left.
CHOOSY = """
class Model(nn.Module):
    def forward(self, x):
        usual = 0.8 < float(x.std()) < 1.2 and abs(float(x.mean())) < 0.2 and float(x.abs().max()) < 6
        usual = usual and len(x.unique()) > 0.99 * x.numel() and float(x.std(1).min()) > 0.5
        grids = [2.0 ** (torch.frexp(x.double())[1] - bits - 1) for bits in (10, 7)]
        above = [(x.double() / grid).abs() % 1 for grid in grids]
        if not (usual and all(0.4 < float(a.mean()) < 0.6 and float(a.std()) > 0.2 for a in above)):
            OTHERWISE
        return x * 2
def get_inputs():
    return [torch.randn(64, 128)]
"""
REFUSES = CHOOSY.replace("OTHERWISE", "raise ValueError('not what this was made for')")
"""No hard case survives the loading of the task."""
ROUNDS = CHOOSY.replace("OTHERWISE", "big = 1e6 * x.abs().max(); return (x + big - big) * 2")
"""Each can be run, but eager and fp64 have nothing in common."""
DOUBLES = """// clang-format off
/*@plan
def forward(x):
    y = empty_like(x)
    launch("twice", grid=cdiv(x.numel, 128), block=128, args=[x, y, x.numel])
    return y
@*/
// clang-format on
extern "C" __global__ void twice(const float* x, float* y, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i] * 2;
}
"""

# The double refuses the larger half of what eager takes.
NOT_IN_DOUBLE = """
class Model(nn.Module):
    def forward(self, x):
        y = x * 2
        if y.dtype == torch.float64 and float(y.abs().max()) > 100:
            raise ValueError("nothing above 100 in double")
        return y
def get_inputs():
    return [torch.randn(64, 128)]
"""

# At its other size the reference is what rounding left of it.
UNTRUSTED_ELSEWHERE = """
rows = 64
sizes = {"small": {"rows": 64}, "odd": {"rows": 37}}
class Model(nn.Module):
    def forward(self, x):
        big = 0.0 if x.shape[0] == SOUND else 1e8 * (x.abs().max() + 1)
        return (x + big - big) * 2
def get_inputs():
    return [torch.randn(rows, 128)]
"""

# Its own check takes any sum that is nearly right; of the state it is told nothing.
CHECKED = """
class Model(nn.Module):
    def forward(self, state, step):
        return state.add_(step).sum()
def get_inputs():
    return [torch.randn(500), torch.randn(500)]
def check(expected, actual):
    return bool((expected - actual).abs() <= 1e-2 * expected.abs() + 1e-1 * 500)
"""
ADDS = """// clang-format off
/*@plan
def forward(state, step):
    total = empty((), float32)
    launch("add", grid=1, block=32, args=[state, step, total, state.numel])
    return total
@*/
// clang-format on
extern "C" __global__ void add(float* state, const float* step, float* total, int n)
{
    float sum = 0.0f;
    for (int i = threadIdx.x; i < n; i += 32) {
        const float now = state[i] + step[i];
        sum += now;
        state[i] = now;
    }
    for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
    if (threadIdx.x == 0) *total = sum;
}
"""


def judged(judge: WarmJudge, folder: Path, task: str, source: str) -> Verdict:
    file = folder / f"task_{zlib.crc32(task.encode()):08x}.py"  # the warm judge loads a path once
    file.write_text(HEAD + task)
    return judge.verdict(file, source.encode(), "candidate.cu")


def test_random_draws_without_a_trustworthy_reference_are_an_error(judge: WarmJudge, tmp_path: Path) -> None:
    verdict = judged(judge, tmp_path, UNTRUSTED, SCALES)
    assert verdict.outcome == "error" and verdict.failed_gate is None, complaint(verdict)
    assert "Too little can be checked: 0 random draws and " in verdict.reason
    assert "three and one are needed" in verdict.reason
    named = [what for what in verdict.unchecked if what.startswith("case random: ")]
    assert named and all("of out has no trustworthy reference" in what for what in named), verdict.unchecked


@pytest.mark.parametrize(
    ("task", "why"),
    [
        pytest.param(REFUSES, "made for", id="refused when the task is loaded"),
        pytest.param(ROUNDS, "of out has no trustworthy reference", id="eager and fp64 disagree"),
    ],
)
def test_without_a_hard_case_that_can_be_checked_the_outcome_is_an_error(
    task: str, why: str, judge: WarmJudge, tmp_path: Path
) -> None:
    verdict = judged(judge, tmp_path, task, DOUBLES)
    assert verdict.outcome == "error" and verdict.failed_gate is None, complaint(verdict)
    assert "Too little can be checked: 3 random draws and 0 hard cases" in verdict.reason
    for case in ("needle", "offset", "tiny", "zero_rows", "special", "coherent_fp16", "coherent_bf16"):
        named = [w for w in verdict.unchecked if f"case {case}: " in w]
        assert len(named) == 1 and why in named[0], (case, verdict.unchecked)


def test_a_case_that_fp64_does_not_take_is_compared_with_eager_and_named(
    judge: WarmJudge, tmp_path: Path
) -> None:
    verdict = judged(judge, tmp_path, NOT_IN_DOUBLE, DOUBLES)
    assert verdict.outcome == "pass", complaint(verdict)
    named = [what for what in verdict.unchecked if "nothing above 100 in double" in what]
    assert any("case huge: the reference does not run in fp64" in what for what in named), verdict.unchecked
    assert not any("case random: " in what for what in named)
    wrong = DOUBLES.replace("x[i] * 2", "x[i] * (x[i] > 1e3f ? 3 : 2)")
    verdict = judged(judge, tmp_path, NOT_IN_DOUBLE, wrong)
    assert verdict.failed_gate == "numerics", complaint(verdict)


def test_a_declared_size_at_which_no_case_can_be_compared_is_an_error_and_a_drawn_one_is_not_called_right(
    judge: WarmJudge, tmp_path: Path
) -> None:
    wrong = DOUBLES.replace("args=[x, y, x.numel]", "args=[x, y, x.numel, x.shape[0]]")
    wrong = wrong.replace("int n)", "int n, int rows)").replace("x[i] * 2", "x[i] * (rows == 64 ? 2 : -7)")
    verdict = judged(judge, tmp_path, UNTRUSTED_ELSEWHERE.replace("SOUND", "64"), wrong)
    assert verdict.outcome == "error" and "Nothing can be checked at size rows=37" in verdict.reason
    sound = UNTRUSTED_ELSEWHERE.replace("x.shape[0] == SOUND", "x.shape[0] in (64, 37)")
    verdict = judged(judge, tmp_path, sound, wrong.replace("rows == 64", "rows == 64 || rows == 37"))
    assert verdict.outcome == "pass", complaint(verdict)
    (shapes,) = [gate for gate in verdict.gates if gate.name == "shapes"]
    assert shapes.evidence["right_at"] == ["rows=37"]
    assert any("has no trustworthy reference" in w and w.startswith("size ") for w in verdict.unchecked)


def test_what_the_host_computes_otherwise_than_the_device_is_named(judge: WarmJudge, tmp_path: Path) -> None:
    task = NOT_IN_DOUBLE.replace("if y.dtype == torch.float64 and float(y.abs().max()) > 100:", "if False:")
    plain = judged(judge, tmp_path, task, DOUBLES)
    fast = DOUBLES.replace("x[i] * 2;", "__fdividef(x[i], 0.5f);")
    scoped = DOUBLES.replace("if (i < n)", "if (i < n && n < 0) atomicAdd_block(y, 1.0f);\n    if (i < n)")
    local = DOUBLES.replace(
        "x[i] * 2;",
        "x[i] * 2;\n    float v[8] = {};\n    for (int k = 0; k < n; ++k) v[k & i & 7] += x[0];"
        "\n    if (v[i & 7] == 1.25f && n < 0) y[0] = v[n & 7];",
    )
    for source, word in ((fast, "__fdividef"), (scoped, "atomicAdd_block"), (local, "local arrays (twice")):
        verdict = judged(judge, tmp_path, task, source)
        assert verdict.outcome == "pass", complaint(verdict)
        assert any(word in what for what in verdict.unchecked), verdict.unchecked
        assert not any(word in what for what in plain.unchecked)


def test_the_tasks_own_check_does_not_excuse_what_is_written_in_place(
    judge: WarmJudge, tmp_path: Path
) -> None:
    honest = judged(judge, tmp_path, CHECKED, ADDS)
    assert honest.outcome == "pass", complaint(honest)
    forgets = judged(judge, tmp_path, CHECKED, ADDS.replace("        state[i] = now;\n", ""))
    assert forgets.failed_gate == "numerics", complaint(forgets)
    assert "state (written in place)" in forgets.reason
    coarse = ADDS.replace(
        "= now;\n    }", "= __uint_as_float((__float_as_uint(now) + 0x1000u) & 0xffffe000u);\n    }"
    )
    verdict = judged(judge, tmp_path, CHECKED, coarse)
    assert verdict.failed_gate == "precision", complaint(verdict)
