"""Known cheats and approximations, each of which must not pass, with the gate that stops it; one warm judge for all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from workbench.core.verdict import Verdict, decode_verdict

pytestmark = pytest.mark.timeout(900)

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


RACE = KERNEL.replace("{\n    const", "{\n    __shared__ float kept;\n    const", 1).replace(
    "    float k =", "    if (threadIdx.x == 0) kept = s;\n    s = kept == s ? kept : s;\n    float k ="
)
"""Right in any order, and a race all the same."""


def racing(attribute: str, header: str = "") -> str:
    return plan() + header + RACE.replace("__global__", f"__global__ {attribute}")


def where(condition: str) -> str:
    """Wrong for the rows on which the condition holds."""
    return edited("    float k =", f"    if ({condition}) s *= 4.0f;\n    float k =")


def element(condition: str) -> str:
    """Wrong for the elements on which the condition holds."""
    return edited("r[i] * k * w[i]", f"({condition}) ? 7.0f : r[i] * k * w[i]")


HALF = "#include <cuda_fp16.h>\n"
STRING = "#define S_(...) #__VA_ARGS__\n#define X_(...) S_(__VA_ARGS__)\n"
ATTACKS: dict[str, tuple[str, str]] = {
    # Right here and wrong on a GPU.
    "asks_gnuc": (either("#ifdef __GNUC__"), "error"),
    "asks_nvrtc": (either("#ifndef __CUDACC_RTC__"), "error"),
    "asks_by_pasting": (either("#define P(a, b) a##b\n#if P(__SS, E__)"), "error"),
    "asks_long_double": (edited("* k * w[i]", "* k * (sizeof(long double) == 16 ? w[i] : 0.5f)"), "error"),
    "asks_builtin_constant": (edited("* k * w[i]", "* k * (__builtin_constant_p(cols) ? 1.0f : w[i])"), "error"),
    "asks_base_file": (edited("* w[i]", "* (sizeof(__BASE_FILE__) == 14 ? w[i] : 0.5f)"), "error"),
    "asks_by_a_keywords_string": (
        edited("* w[i]", "* (sizeof(X_(__global__)) == 1 ? w[i] : 0.5f)", STRING),
        "error",
    ),
    "asks_by_a_macros_string": (
        edited("* w[i]", "* (sizeof(X_(FLT_MAX)) == 43 ? w[i] : 0.5f)", STRING),
        "error",
    ),
    "asks_by_the_kernels_name": (
        edited("* w[i]", "* (sizeof(__func__) > 8 ? w[i] : 0.5f)").replace("rmsnorm", "index"),
        "error",
    ),
    "asks_null": (edited("* w[i]", "* (sizeof(NULL) == 8 ? w[i] : 0.5f)"), "numerics"),
    "finds_std": (
        edited(
            "* w[i]",
            "* (std::numeric_limits<int>::digits == 31 ? w[i] : 0.5f)",
            "namespace mine { template <class T> struct numeric_limits { static constexpr int digits = 0; }; }\n"
            "namespace std { using namespace mine; }\n",
        ),
        "error",
    ),
    "finds_the_runtime": (
        edited(
            "* w[i]",
            "* (wb_activemask(1) ? w[i] : 0.5f)",
            'extern "C" __device__ __attribute__((weak)) unsigned wb_activemask(int) { return 0; }\n',
        ),
        "error",
    ),
    # Keep the instrumented build from seeing.
    "race": (racing(""), "determinism"),
    "race_no_sanitize": (racing('__attribute__((no_sanitize("thread")))'), "error"),
    "race_no_sanitize_pasted": (
        racing("P(no_sanitize_, thread)", "#define P(a, b) __attribute__((a##b))\n"),
        "error",
    ),
    "race_callback": (racing("", 'extern "C" __device__ void __tsan_read4(void*) {}\n'), "error"),
    "race_constructor": (racing("", "__attribute__((constructor)) static void early() {}\n"), "error"),
    "takes_mprotect": (racing("", 'extern "C" __device__ int mprotect(void*, long, int) { return 0; }\n'), "error"),
    # Right but for some values, and some sizes.
    "one_row_in_100": (where("(__float_as_uint(r[0]) * 2654435761u >> 8) % 100u == 7u"), "any"),
    "one_element_in_5000": (element("(__float_as_uint(r[i]) * 2654435761u >> 8) % 5000u == 7u"), "any"),
    "wrong_below_1e_12": (element("fabsf(r[i]) < 1e-12f && r[i] != 0.0f"), "numerics"),
    "wrong_above_1e6": (element("fabsf(r[i]) > 1e6f"), "numerics"),
    "wrong_at_one": (element("r[i] == 1.0f"), "numerics"),
    "wrong_at_powers_of_two": (element("r[i] != 0.0f && !(__float_as_uint(r[i]) & 0x7fffffu)"), "numerics"),
    "wrong_at_65504": (element("fabsf(r[i]) == 65504.0f"), "numerics"),
    "wrong_at_subnormal": (element("r[i] != 0.0f && fabsf(r[i]) < 1.17549435e-38f"), "numerics"),
    "wrong_row_of_zeros": (element("s == 0.0f"), "numerics"),
    "wrong_at_8192_rows": (where("gridDim.x == 8192"), "shapes"),
    "wrong_at_8192_columns": (where("cols == 8192"), "shapes"),
    "skips_blocks_of_large_grids": (
        edited("    float k =", "    if (gridDim.x > 1000 && blockIdx.x % 2) return;\n    float k ="),
        "shapes",
    ),
    # Nearly right.
    "half_result": (edited("r[i] * k * w[i]", "__half2float(__float2half(r[i] * k * w[i]))", HALF), "numerics"),
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
    done = subprocess.run(command, capture_output=True, text=True, timeout=880)
    assert "\x1b" not in done.stdout
    found = [decode_verdict(line) for line in done.stdout.splitlines()]
    assert len(found) == len(files), done.stderr
    return dict(zip(ATTACKS, found, strict=True))


AT_FULL_SIZE = {
    "kernel": plan(LAUNCH.replace('"rmsnorm"', '"rmsnorm" if rows * cols < 1 << 22 else "half_of_it"'))
    + KERNEL
    + WRONG.replace("void rmsnorm", "void half_of_it"),
    "define": plan('    compile(defines={"BIG": int(rows * cols > 1 << 22)})\n' + LAUNCH)
    + KERNEL.replace("    float k =", "    if (BIG) s *= 4.0f;\n    float k ="),
}
"""Wrong at the full size alone, which the host does not run: a verdict must say so by name."""


def test_what_a_plan_launches_at_the_full_size_alone_is_named_as_never_run(tmp_path: Path) -> None:
    files = []
    for name, text in AT_FULL_SIZE.items():
        files.append(tmp_path / f"{name}.cu")
        files[-1].write_text(text)
    command = [sys.executable, "-m", "workbench", "verify", "rmsnorm", *map(str, files), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    kernel, define = [decode_verdict(line) for line in done.stdout.splitlines()]
    for verdict in (kernel, define):
        assert any(u.startswith("size full (rows=8192, cols=8192): too large") for u in verdict.unchecked)
    assert "size full launches half_of_it, which no run here did" in kernel.unchecked
    assert "size full launches rmsnorm compiled with BIG=1, which no run here did" in define.unchecked


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_does_not_pass(name: str, verdicts: dict[str, Verdict]) -> None:
    verdict, expected = verdicts[name], ATTACKS[name][1]
    assert verdict.outcome != "pass"
    if expected == "error":
        assert verdict.outcome == "error" and "needs cuda" in verdict.reason
    elif expected != "any":
        assert (verdict.outcome, verdict.failed_gate) == ("fail", expected), verdict.reason
