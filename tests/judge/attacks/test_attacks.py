"""Known cheats and approximations, each of which must not pass, with the gate that stops it; one warm judge for all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from workbench.core.verdict import Verdict, decode_verdict

pytestmark = pytest.mark.timeout(300)

PLAN = """/*@plan
{before}
def forward(x, weight, eps):
    rows, cols = x.shape
    y = empty_like(x)
{body}
@*/
"""
ARGUMENTS = "[x, weight, y, cols, eps]"
LAUNCH = f'    launch("rmsnorm", grid=rows, block=32, args={ARGUMENTS})\n    return y'
KERNEL = """extern "C" __global__ void rmsnorm(const float* x, const float* w, float* y, int cols, float eps)
{
    const float* r = x + (size_t)blockIdx.x * cols;
    float s = 0.0f;
    for (int i = threadIdx.x; i < cols; i += 32) { float v = r[i]; s += v * v; }
    for (int d = 16; d; d /= 2) s += __shfl_xor_sync(~0u, s, d);
    float k = rsqrtf(s / cols + eps);
    for (int i = threadIdx.x; i < cols; i += 32) y[(size_t)blockIdx.x * cols + i] = r[i] * k * w[i];
}
"""
WRONG = KERNEL.replace("r[i] * k * w[i]", "2.0f * r[i] * k")


def plan(body: str = LAUNCH, before: str = "") -> str:
    return PLAN.format(body=body, before=before)


def edited(old: str, new: str, header: str = "") -> str:
    assert old in KERNEL
    return plan() + header + KERNEL.replace(old, new)


def either(condition: str) -> str:
    return plan() + f"{condition}\n{KERNEL}\n#else\n{WRONG}\n#endif\n"


HALF = "#include <cuda_fp16.h>\n"
ATTACKS: dict[str, tuple[str, str]] = {
    # Right here and wrong on a GPU.
    "asks_gnuc": (either("#ifdef __GNUC__"), "error"),
    "asks_nvrtc": (either("#ifndef __CUDACC_RTC__"), "error"),
    "asks_by_pasting": (either("#define P(a, b) a##b\n#if P(__SS, E__)"), "error"),
    "asks_long_double": (edited("* k * w[i]", "* k * (sizeof(long double) == 16 ? w[i] : 0.5f)"), "error"),
    # Nearly right.
    "half_result": (edited("r[i] * k * w[i]", "__half2float(__float2half(r[i] * k * w[i]))", HALF), "precision"),
    "half_weight_in_places": (
        edited("* w[i]", "* (i % 64 == 63 ? __half2float(__float2half(w[i])) : w[i])", HALF),
        "precision",
    ),
    "one_element_off": (edited("r[i] * k", "(blockIdx.x == 17 && i == 100 ? 1.0008f : 1.0f) * r[i] * k"), "precision"),
    "skips_small": (edited("s += v * v", "if (fabsf(v) > 0.01f) s += v * v"), "numerics"),
    "no_eps": (edited(" + eps", ""), "numerics"),
    "skips_the_last": (edited("s += v * v", "if (i != cols - 1) s += v * v"), "numerics"),
    "samples": (edited("s += v * v", "if (i % 2 == 0) s += 2 * v * v"), "numerics"),
    "clamps": (edited("r[i] * k * w[i]", "fminf(r[i] * k * w[i], 8.0f)"), "numerics"),
    "absolute_weight": (edited("* w[i]", "* fabsf(w[i])"), "numerics"),
    "capped_weight": (edited("* w[i]", "* fminf(w[i], 3.0f)"), "numerics"),
    "row_of_8_bits": (
        plan() + KERNEL.replace("(size_t)blockIdx.x", "(size_t)(blockIdx.x & 255)"),
        "shapes",
    ),
    "multiples_of_32_only": (edited("s += v * v", "if (i < cols / 32 * 32) s += v * v"), "shapes"),
    "one_width_only": (edited("s / cols", "s / 512.0f"), "shapes"),
    # Plans.
    "grid_wraps": (plan(LAUNCH.replace("grid=rows", "grid=2**32 + rows")) + KERNEL, "parse"),
    "grid_times_block": (plan(LAUNCH.replace("block=32", "block=2**31")) + KERNEL, "parse"),
    "negative_shape": (plan('    empty((-1, cols), "float32")\n' + LAUNCH) + KERNEL, "parse"),
    "huge_scratch": (plan('    empty((2**62, 4), "float32")\n' + LAUNCH) + KERNEL, "parse"),
    "float_shape": (plan('    empty((rows * 1.0,), "float32")\n' + LAUNCH) + KERNEL, "parse"),
    "input_as_output": (plan(LAUNCH.replace("weight, y", "weight, x").replace("return y", "return x")) + KERNEL, "parse"),
    "view_of_input": (plan("    y = view(x, x.shape)\n" + LAUNCH) + KERNEL, "parse"),
    "nan_for_eps": (plan(LAUNCH.replace("eps]", 'float("nan")]')) + KERNEL, "any"),
    "injected_name": (plan(LAUNCH.replace('"rmsnorm"', '"rmsnorm); abort("')) + KERNEL, "any"),
    "endless_plan": (plan("    while True: pass") + KERNEL, "parse"),
    "escape_in_a_message": (plan('    require(False, "\\x1b[31m[bold]red[/]\\x1b]0;title\\x07")\n' + LAUNCH) + KERNEL, "parse"),
}  # fmt: skip


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verdict]:
    folder: Path = tmp_path_factory.mktemp("attacks")
    files = []
    for name, (text, _) in ATTACKS.items():
        files.append(folder / f"{name}.cu")
        files[-1].write_text(text)
    command = [
        sys.executable,
        "-m",
        "workbench",
        "verify",
        "rmsnorm",
        *map(str, files),
        "--json",
        "--timeout",
        "5",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert "\x1b" not in done.stdout
    found = [decode_verdict(line) for line in done.stdout.splitlines()]
    assert len(found) == len(files), done.stderr
    return dict(zip(ATTACKS, found, strict=True))


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_does_not_pass(name: str, verdicts: dict[str, Verdict]) -> None:
    verdict, expected = verdicts[name], ATTACKS[name][1]
    assert verdict.outcome != "pass"
    if expected == "error":
        assert verdict.outcome == "error" and "needs cuda" in verdict.reason
    elif expected != "any":
        assert (verdict.outcome, verdict.failed_gate) == ("fail", expected), verdict.reason
