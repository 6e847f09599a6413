"""Candidates with `backward`: honest ones pass, and each wrong gradient fails at the gate that names its cause.

The wrong ones are the honest ones with one thing changed. All of a task are judged by one `workbench verify`.
"""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest

from workbench.core.verdict import Verdict, decode_verdict

pytestmark = pytest.mark.timeout(900)  # the first test of a task judges all its candidates
HERE = Path(__file__).parent / "backward"


class Wrong(NamedTuple):
    """An honest candidate with one thing changed."""

    base: str
    old: str
    new: str
    gate: str
    says: str = ""
    """Part of the verdict's reason."""


HONEST: dict[str, tuple[str, ...]] = {
    "norm": ("saves_rstd", "atomics"),
    "softmax": ("saves_y", "library", "forward_only"),
    "bias_gelu": ("fused",),
}
WRONG: dict[str, dict[str, Wrong]] = {
    "norm": {
        "weight gradient of x, not of x hat": Wrong(
            "saves_rstd", "+ i] * rstd[r])", "+ i])", "numerics", "gradient of weight"
        ),
        "no eps": Wrong(
            "atomics",
            "const float r = reciprocal(x, cols, eps);\n    float dot",
            "const float r = reciprocal(x, cols, 0.0f);\n    float dot",
            "numerics",
            "gradient of",
        ),
        "no sum over rows": Wrong("saves_rstd", "r < rows", "r < 1", "numerics", "gradient of weight"),
        "no projection": Wrong("saves_rstd", "- x[row + i] * r * dot", "", "numerics", "gradient of x"),
        "tail not written": Wrong(
            "saves_rstd",
            "    if (i >= cols) return;\n    float sum",
            "    if (i >= cols / 64 * 64) return;\n    float sum",
            "poison",
            "gradient of weight",
        ),
        "saved and then overwritten": Wrong(
            "saves_rstd",
            "    save(rstd)",
            '    launch("forward", grid=1, block=64, args=[x, weight, empty_like(x), rstd, rows, eps])\n    save(rstd)',
            "numerics",
            "gradient of",
        ),
        "no atomics": Wrong(
            "atomics", "atomicAdd(&dw[i], g[i] * (x[i] * r));", "dw[i] += g[i] * (x[i] * r);", "determinism"
        ),
        "no barrier": Wrong(
            "saves_rstd",
            "+= partial[threadIdx.x + step];\n        __syncthreads();",
            "+= partial[threadIdx.x + step];",
            "determinism",
        ),
        "hard-coded columns": Wrong(
            "saves_rstd", "dot = over_block(dot) / cols", "dot = over_block(dot) / 160", "shapes"
        ),
        "large gradients clipped": Wrong(
            "saves_rstd",
            "dot += g[row + i] * w[i]",
            "dot += fminf(fmaxf(g[row + i], -20.0f), 20.0f) * w[i]",
            "numerics",
            "case gradient_",
        ),
        "small gradients dropped": Wrong(
            "atomics",
            "dx[i] = r * (",
            "dx[i] = fabsf(g[i]) < 1e-4f ? 0.0f : r * (",
            "numerics",
            "gradient of x",
        ),
        "accumulator not zeroed": Wrong("atomics", "zeros_like(weight)", "empty_like(weight)", "poison"),
        "writes the incoming gradient": Wrong(
            "saves_rstd",
            "    dot = over_block(dot) / cols;",
            "    const_cast<float*>(g)[row] = 0.0f;\n    dot = over_block(dot) / cols;",
            "inputs_intact",
            "grad_out",
        ),
        "writes what was saved": Wrong(
            "saves_rstd",
            "    dw[i] = sum;",
            "    dw[i] = sum;\n    if (i == 0) const_cast<float*>(rstd)[0] = 0.0f;",
            "inputs_intact",
            "rstd",
        ),
        "reads past the gradient": Wrong(
            "saves_rstd",
            "dx[row + i] = r * (g[row + i]",
            "dx[row + i] = r * (g[row + i + 1] * 0.0f + g[row + i]",
            "bounds",
        ),
        # The output that backward would mend was looked at before, and what was saved cannot be written.
        "backward puts the output right": Wrong("mends", "", "", "inputs_intact", "late"),
        "clock in backward": Wrong("atomics", "float dot = 0.0f;", "float dot = clock64() == 1;", "audit"),
        "hangs in backward": Wrong(
            "atomics",
            "float dot = 0.0f;",
            "float dot = 0.0f;\n    while (cols > 0) dot += g[0];",
            "numerics",
            "backward",
        ),
        "rounds the gradient to 11 bits": Wrong(
            "saves_rstd",
            "dx[row + i] = r * (g[row + i]",
            "dx[row + i] = r * (__uint_as_float((__float_as_uint(g[row + i]) + 0x800u) & 0xfffff000u)",
            "precision",
            "gradient of x",
        ),
        "no backward": Wrong("atomics", "def backward(", "def backwards(", "parse", "define backward"),
        "no gradient of the weight": Wrong(
            "saves_rstd", "return grad_x, grad_w", "return grad_x, None", "parse", "weight"
        ),
        "gradients in the wrong order": Wrong(
            "saves_rstd", "return grad_x, grad_w", "return grad_w, grad_x", "parse", "It would fit"
        ),
        "an argument of the wrong kind": Wrong(
            "saves_rstd", "grad_w, rows, cols])", "grad_w, 1.0, cols])", "compile", "backward_w"
        ),
    },
    "softmax": {
        "no dot product": Wrong("saves_y", "(g[i] - dot)", "g[i]", "numerics", "gradient of x"),
        "sum over a part of the row": Wrong(
            "saves_y",
            "i < cols; i += 32) dot",
            "i < min(cols, 128); i += 32) dot",
            "numerics",
            "gradient of x",
        ),
        "right only for ones": Wrong("saves_y", "(g[i] - dot)", "(g[i] - g[0])", "numerics", "gradient of x"),
        "forward wrong": Wrong("saves_y", "/ total;", "/ (total + 0.1f);", "numerics", "out["),
    },
    "bias_gelu": {
        "only one of the outputs": Wrong(
            "fused",
            "gy[at] + (residual[at] >= 0.0f ? gz[at] : 0.0f)",
            "gy[at]",
            "numerics",
            "gradient of residual",
        ),
        "no side of the kink": Wrong(
            "fused",
            "(residual[at] >= 0.0f ? gz[at] : 0.0f)",
            "(residual[at] > 0.0f ? gz[at] : residual[at] < 0.0f ? 0.0f : 3.0f * gz[at])",
            "numerics",
            "zeros_signed",
        ),
        "slope of another gelu": Wrong("fused", "v * expf(-0.5f * v * v) * 0.39894228f", "0.0f", "numerics"),
        "a slab short": Wrong("fused", "s < slabs", "s < slabs - 1", "numerics", "gradient of bias"),
        "reads a slab too many": Wrong("fused", "s < slabs", "s <= slabs", "bounds"),
    },
}


@functools.cache
def verdicts(task: str) -> dict[str, Verdict]:
    """Every candidate of a task, judged in one warm judge."""
    with tempfile.TemporaryDirectory() as made:
        files = {name: HERE / task / f"{name}.cu" for name in HONEST[task]}
        for number, (name, wrong) in enumerate(WRONG[task].items()):
            files[name] = Path(made) / f"wrong_{number}.cu"
            files[name].write_text(changed(task, wrong))
        command = [
            sys.executable,
            "-m",
            "workbench",
            "verify",
            str(HERE / task / "task.py"),
            *map(str, files.values()),
        ]
        done = subprocess.run(
            [*command, "--json", "--timeout", "2"], capture_output=True, text=True, timeout=800, check=False
        )
    found = [decode_verdict(line) for line in done.stdout.splitlines()]
    assert len(found) == len(files) and done.returncode == 1, done.stderr
    by_path = {v.candidate.path: v for v in found}
    return {name: by_path[str(path)] for name, path in files.items()}


def changed(task: str, wrong: Wrong) -> str:
    """The wrong candidate's text."""
    if wrong.base == "mends":
        return MENDS
    text = (HERE / task / f"{wrong.base}.cu").read_text()
    assert text.count(wrong.old) == 1, wrong.old
    return text.replace(wrong.old, wrong.new)


MENDS = (HERE / "norm" / "atomics.cu").read_text()
MENDS = MENDS.replace("    return y\n", "    save(y, name='late')\n    return y\n")
MENDS = MENDS.replace("eps, grad_out):", "eps, grad_out, late):")
MENDS = MENDS.replace("y[i] = x[i] * r * w[i];", "y[i] = 0.0f;")
MENDS = MENDS.replace(
    "    return {",
    '    launch("forward2", grid=rows, block=32, args=[x, weight, late, cols, eps])\n    return {',
)
MENDS += """
extern "C" __global__ void forward2(const float* x, const float* w, float* y, int cols, float eps)
{
    const float r = reciprocal(x + size_t(blockIdx.x) * cols, cols, eps);
    const size_t row = size_t(blockIdx.x) * cols;
    for (int i = threadIdx.x; i < cols; i += 32) y[row + i] = x[row + i] * r * w[i];
}
"""


@pytest.mark.parametrize(("task", "name"), [(t, n) for t, names in HONEST.items() for n in names])
def test_an_honest_gradient_passes(task: str, name: str) -> None:
    verdict = verdicts(task)[name]
    assert verdict.outcome == "pass", verdict.first_line
    if name != "forward_only":
        assert "forward and backward" in verdict.first_line
        assert verdict.gradients
        kernels = {k.name for k in verdict.resources.kernels}
        assert any("backward" in k or "slab" in k for k in kernels), "backward's kernels are reported too"
    else:
        assert not verdict.gradients


@pytest.mark.parametrize(("task", "name"), [(t, n) for t, names in WRONG.items() for n in names])
def test_a_wrong_gradient_fails_at_the_gate_that_names_its_cause(task: str, name: str) -> None:
    verdict, wrong = verdicts(task)[name], WRONG[task][name]
    assert verdict.outcome == "fail" and verdict.failed_gate == wrong.gate, verdict.first_line
    assert wrong.says in verdict.reason


def test_the_verdict_counts_what_is_kept_for_backward() -> None:
    assert verdicts("norm")["saves_rstd"].memory.saved_bytes == 24 * 4
    assert verdicts("norm")["atomics"].memory.saved_bytes == 0
    assert verdicts("softmax")["saves_y"].memory.saved_bytes == 24 * 160 * 4


def test_a_wrong_gradient_is_shown_with_its_element_and_what_came_in() -> None:
    numerics = {g.name: g for g in verdicts("norm")["no sum over rows"].gates}["numerics"]
    assert numerics.evidence["output"] == "gradient of weight"
    assert len(numerics.evidence["index"]) == 1 and numerics.evidence["seed"]
    assert "grad_out" in numerics.evidence["inputs"]


def test_the_instrumented_run_sees_backward() -> None:
    found = verdicts("norm")["no atomics"]
    race = {g.name: g for g in found.gates}["determinism"]
    text = changed("norm", WRONG["norm"]["no atomics"]).splitlines()
    assert race.evidence["kernel"] == "backward" and "dw[i] +=" in text[race.evidence["line"] - 1]
    assert not [u for u in verdicts("norm")["saves_rstd"].unchecked if "not every access" in u]
