"""Real kernels on the host target, against numpy."""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from host_kernels.harness import KERNELS, HostRunners, built, empty, given, must_run, prepared, zeros

from workbench.core.build import HostBuild
from workbench.core.plan import CompileOptions
from workbench.runner.host.build import compile_host
from workbench.runner.host.client import HostRunner
from workbench.runner.host.toolchain import RUNTIME, Prepared

REDUCTIONS = (
    "row_sums", "tree<float, 256>", "tree<int, 64>", "histogram", "transpose", "scan", "look_back", "half_axpy", "half2_ops",
    "bf16_fma", "where_am_i", "gather", "votes", "counts", "float_atomics", "spin_lock", "spin_flag", "spin_rounding", "unwritten",
    "math", "inverses", "bits",
)  # fmt: skip


@pytest.fixture(scope="module", params=["g++", "clang++"])
def compiler(request: pytest.FixtureRequest) -> str:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed here")
    return str(request.param)


@pytest.fixture(scope="module")
def runners() -> Iterator[HostRunners]:
    with HostRunners(workers=2) as pool:
        yield pool


@pytest.fixture(scope="module")
def runner(runners: HostRunners, compiler: str) -> Iterator[HostRunner]:
    with runners.start(built("reductions.cu", *REDUCTIONS, compiler=compiler)) as started:
        yield started


@pytest.fixture(scope="module")
def groups(runners: HostRunners, compiler: str) -> Iterator[HostRunner]:
    names = ("tile_sums", "count_odd", "ripple", "half_grid_sync")
    with runners.start(built("groups.cu", *names, compiler=compiler)) as started:
        yield started


@pytest.fixture
def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("threads", [32, 96, 1024])
def test_rows_are_summed_through_shuffles_and_static_shared_memory(
    runner: HostRunner, rng: np.random.Generator, threads: int
) -> None:
    x = rng.standard_normal((37, 1000)).astype(np.float32)
    y = empty(37, np.float32)
    must_run(runner, "row_sums", 37, threads, [given(x), y, 1000])
    np.testing.assert_allclose(y.result, x.astype(np.float64).sum(1), rtol=0, atol=1e-3)


def test_two_instances_of_a_template_share_the_name_of_their_dynamic_shared_memory(
    runner: HostRunner, rng: np.random.Generator
) -> None:
    x = rng.standard_normal(1000).astype(np.float32)
    y = empty(4, np.float32)
    must_run(runner, "tree<float, 256>", 4, 256, [given(x), y, 1000], shared=1024)
    np.testing.assert_allclose(y.result, np.append(x, np.zeros(24)).reshape(4, 256).sum(1), atol=1e-4)
    k = rng.integers(-100, 100, 128).astype(np.int32)
    z = empty(2, np.int32)
    must_run(runner, "tree<int, 64>", 2, 64, [given(k), z, 128], shared=256)
    np.testing.assert_array_equal(z.result, k.reshape(2, 64).sum(1))


def test_a_histogram_through_shared_and_global_atomics_is_exact(
    runner: HostRunner, rng: np.random.Generator
) -> None:
    x = rng.integers(0, 1 << 20, 5000).astype(np.int32)
    bins = zeros(16, np.int32)
    must_run(runner, "histogram", 8, 128, [given(x), bins, 5000])
    np.testing.assert_array_equal(bins.result, np.bincount(x & 15, minlength=16))


def test_a_tiled_transpose_is_exact(runner: HostRunner, rng: np.random.Generator) -> None:
    x = rng.standard_normal((70, 45)).astype(np.float32)
    y = empty((45, 70), np.float32)
    must_run(runner, "transpose", (2, 3), (32, 8), [given(x), y, 70, 45])
    np.testing.assert_array_equal(y.result, x.T)


@pytest.mark.parametrize("n", [1, 1000, 1024])
def test_a_block_of_1024_threads_scans(runner: HostRunner, rng: np.random.Generator, n: int) -> None:
    x = rng.integers(-50, 50, n).astype(np.int32)
    y = empty(n, np.int32)
    must_run(runner, "scan", 1, 1024, [given(x), y, n])
    np.testing.assert_array_equal(y.result, np.cumsum(x))


def test_decoupled_look_back_makes_progress(runner: HostRunner, rng: np.random.Generator) -> None:
    n = 256 * 40 - 3
    x = rng.integers(-9, 9, n).astype(np.int32)
    y, flags, prefixes = empty(n, np.int32), zeros(40, np.int32), zeros(40, np.int32)
    must_run(runner, "look_back", 40, 256, [given(x), y, flags, prefixes, n])
    np.testing.assert_array_equal(y.result, np.cumsum(x))


def test_half_fma_rounds_once(runner: HostRunner, rng: np.random.Generator) -> None:
    n = 4000
    # Subnormals, halfway cases and cancellation included: any bits but infinities and NaNs.
    x = rng.integers(0, 1 << 16, n).astype(np.uint16).view(np.float16)
    y = rng.integers(0, 1 << 16, n).astype(np.uint16).view(np.float16)
    x[~np.isfinite(x)] = 1
    y[~np.isfinite(y)] = 1
    a = np.float16(1.2002)
    out = empty(n, np.float16)
    must_run(runner, "half_axpy", 16, 256, [given(x), given(y), out, float(a), n])
    for got, u, v in zip(out.result, x, y, strict=True):
        exact = Fraction(float(a)) * Fraction(float(u)) + Fraction(float(v))
        if abs(exact) >= 65520:
            assert np.isinf(got)
            continue
        error = abs(Fraction(float(got)) - exact)
        odd = got.view(np.uint16) & 1
        for side in (np.float16(np.inf), np.float16(-np.inf)):
            with np.errstate(over="ignore"):
                other = np.nextafter(got, side)
            if np.isfinite(other):
                distance = abs(Fraction(float(other)) - exact)
                assert error < distance or (error == distance and not odd), (u, v, got)


def test_half2_operators_work_on_both_halves(runner: HostRunner, rng: np.random.Generator) -> None:
    x = rng.standard_normal(200).astype(np.float16)
    y = rng.standard_normal(200).astype(np.float16)
    total, product = empty(200, np.float16), empty(200, np.float16)
    must_run(runner, "half2_ops", 1, 128, [given(x), given(y), total, product, 100])
    np.testing.assert_array_equal(total.result, x + y)
    np.testing.assert_array_equal(product.result, x * y)


def test_bfloat16_fma_rounds_once(runner: HostRunner, rng: np.random.Generator) -> None:
    def draw() -> np.ndarray:
        return (rng.standard_normal(5000).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)

    def wide(v: np.ndarray) -> np.ndarray:
        return (v.astype(np.uint32) << 16).view(np.float32).astype(np.float64)

    x, y, z = draw(), draw(), draw()
    out = empty(5000, np.uint16)
    must_run(runner, "bf16_fma", 20, 256, [given(x), given(y), given(z), out, 5000])
    exact = wide(x) * wide(y) + wide(z)
    # The nearest of the neighbours, ties to even.
    down = (exact.astype(np.float32).view(np.uint32) >> 16).astype(np.int64)
    candidates = np.stack([np.maximum(down + d, 0) for d in (-1, 0, 1)])
    values = (candidates.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    error = np.abs(values - exact) * np.where(candidates & 1, 1 + 2**-50, 1.0)
    want = np.take_along_axis(candidates, error.argmin(0)[None], 0)[0]
    np.testing.assert_array_equal(out.result.astype(np.int64), want)


def test_grid_and_block_may_have_three_dimensions(runner: HostRunner) -> None:
    out = empty(2 * 3 * 4 * 5 * 6 * 7, np.uint32)
    must_run(runner, "where_am_i", (2, 3, 4), (5, 6, 7), [out])
    block, thread = np.divmod(np.arange(out.result.size), 210)
    np.testing.assert_array_equal(out.result, block << 16 | thread)


def test_an_array_of_pointers_reaches_each_tensor(runner: HostRunner, rng: np.random.Generator) -> None:
    rows = [given(rng.standard_normal(10).astype(np.float32), f"row {i}") for i in range(3)]
    out = empty((3, 10), np.float32)
    must_run(runner, "gather", 3, 32, [rows, out, 10])
    np.testing.assert_array_equal(out.result, np.stack([r.data for r in rows]))


def test_votes_matches_and_reductions_see_the_whole_warp(runner: HostRunner) -> None:
    out = empty((32, 8), np.uint32)
    must_run(runner, "votes", 1, 32, [out])
    t = np.arange(32)
    np.testing.assert_array_equal(out.result[:, 0], 0xAAAAAAAA)
    np.testing.assert_array_equal(out.result[:, 1], 1)
    np.testing.assert_array_equal(out.result[:, 2], 1)
    np.testing.assert_array_equal(out.result[:, 3], 0xF << (t // 4 * 4))
    np.testing.assert_array_equal(out.result[:, 4], 0xFFFFFFFF)
    np.testing.assert_array_equal(out.result[:, 5], 496)
    np.testing.assert_array_equal(out.result[:, 6], np.where(t < 12, 0xFFF, 0))
    low = t // 8 * 8 + 3
    high = np.where(t % 16 < 14, t + 2, t)
    np.testing.assert_array_equal(out.result[:, 7], np.where(t < 16, low, high))


def test_counting_barriers_answer_every_thread(runner: HostRunner) -> None:
    out = empty((100, 3), np.int32)
    must_run(runner, "counts", 1, 100, [out])
    np.testing.assert_array_equal(out.result, np.tile([34, 1, 1], (100, 1)))


def test_atomics_on_every_type_count_every_thread(runner: HostRunner) -> None:
    total, precise, pair = zeros(1, np.float32), zeros(1, np.float64), zeros(2, np.float16)
    limits, big = zeros(3, np.uint32), zeros(1, np.uint64)
    limits.data[1] = 99
    must_run(runner, "float_atomics", 4, 25, [total, precise, pair, limits, big])
    assert total.result[0] == 50
    assert precise.result[0] == 25
    np.testing.assert_array_equal(pair.result, [100, 200])
    np.testing.assert_array_equal(limits.result, [99, 0, 0])
    assert big.result[0] == 100 << 33


def test_threads_of_one_warp_that_spin_for_each_other_get_on(runner: HostRunner) -> None:
    lock, counter = zeros(1, np.int32), zeros(1, np.int32)
    must_run(runner, "spin_lock", 3, 64, [lock, counter])
    assert counter.result[0] == 192
    out = empty(64, np.int32)
    must_run(runner, "spin_flag", 1, 64, [out])
    np.testing.assert_array_equal(out.result, 5)


def test_a_thread_that_is_interrupted_while_it_rounds_up_leaves_the_others_their_rounding(
    runner: HostRunner,
) -> None:
    out = empty(128, np.float32)
    must_run(runner, "spin_rounding", 1, 64, [out])
    np.testing.assert_array_equal(out.result[:64], 1)
    np.testing.assert_array_equal(out.result[64:], np.nextafter(np.float32(1), np.float32(2)))


def test_shared_memory_that_was_not_written_differs_from_run_to_run(runner: HostRunner) -> None:
    def once() -> np.ndarray:
        out = empty(128, np.float32)
        must_run(runner, "unwritten", 1, 64, [out], shared=256)
        return out.result.view(np.uint32)

    first, second = once(), once()
    assert (first == second).sum() < 8
    assert len(np.unique(first)) > 100


def test_math_functions_agree_with_numpy(runner: HostRunner, rng: np.random.Generator) -> None:
    from math import erf

    x = rng.uniform(0.1, 3, 32).astype(np.float32)
    y = empty((32, 8), np.float32)
    must_run(runner, "math", 1, 32, [given(x), y, 32])
    d = x.astype(np.float64)
    want = np.stack(
        [np.exp(d), 1 / np.sqrt(d), 1 / d, np.clip(d - 1, 0, 1), np.ones(32), [erf(v) for v in d],
         [0.5 + 0.5 * erf(v / 2**0.5) for v in d], d], 1
    )  # fmt: skip
    np.testing.assert_allclose(y.result, want, rtol=1e-6, atol=1e-7)


def test_inverses_of_the_error_function_are_right_into_their_tails(runner: HostRunner) -> None:
    x = np.array([1e-38, 1e-20, 1e-7, 0.01, 0.2, 0.25, 0.5, 0.7, 0.75, 0.9, 0.9999, 1], np.float32)
    y = empty((len(x), 6), np.float32)
    must_run(runner, "inverses", 1, 32, [given(x), y, len(x)])
    quantile = NormalDist().inv_cdf

    def inverse(v: float) -> float:
        if abs(v) == 1:
            return math.copysign(math.inf, v)
        small = v * math.pi**0.5 / 2 * (1 + math.pi * v * v / 12)
        return small if abs(v) < 1e-4 else quantile((1 + v) / 2) / 2**0.5

    want = []
    for value in map(float, x):
        # Above 25 its square's exponential overflows: there 1 / (sqrt(pi) a) (1 - 1 / (2 a^2) + 3 / (4 a^4) - ...).
        a = 30 * value
        series = (
            (1 - 0.5 / a**2 + 0.75 / a**4 - 1.875 / a**6 + 6.5625 / a**8) / (math.pi**0.5 * a) if a > 6 else 0
        )
        scaled = math.exp(a * a) * math.erfc(a) if a < 20 else series
        normal = quantile(value) if value < 1 else math.inf
        row = [inverse(float(np.float32(2 * value - 1))), -quantile(value / 2) / 2**0.5, normal]
        want.append([*row, scaled, inverse(value), 1 / math.hypot(x[0], x[1])])
    np.testing.assert_allclose(y.result, np.array(want).astype(np.float32), rtol=3e-7)


def test_bit_intrinsics_are_exact(runner: HostRunner) -> None:
    y = empty(12, np.uint32)
    must_run(runner, "bits", 1, 1, [y])
    want = [8, 31, 4, 0x80000000, 0x77553311, 15, 3, 0x3F800000, 2, 0x7FFFFFFF, 3, 32]
    np.testing.assert_array_equal(y.result, np.array(want, np.uint32))


def test_tiles_reduce_and_shuffle_among_themselves(groups: HostRunner, rng: np.random.Generator) -> None:
    x = rng.standard_normal(256).astype(np.float32)
    y = empty((16, 2), np.float32)
    must_run(groups, "tile_sums", 2, 128, [given(x), y, 256])
    sums = x.reshape(16, 16).sum(1)
    np.testing.assert_allclose(y.result, np.stack([sums, sums], 1), atol=1e-5)


def test_coalesced_threads_are_those_that_are_together(groups: HostRunner, rng: np.random.Generator) -> None:
    x = rng.integers(0, 1000, 500).astype(np.int32)
    count = zeros(1, np.int32)
    must_run(groups, "count_odd", 4, 128, [given(x), count, 500])
    assert count.result[0] == (x % 2).sum()


def test_a_cooperative_launch_synchronises_the_whole_grid(groups: HostRunner) -> None:
    n, steps = 24 * 64, 7
    a, b = zeros(n, np.int32), empty(n, np.int32)
    a.data[:] = np.arange(n)
    must_run(groups, "ripple", 24, 64, [a, b, n, steps], cooperative=True)
    np.testing.assert_array_equal(a.result, (np.arange(n) + steps) % n + steps)


def test_a_cooperative_launch_of_a_whole_device_fits(groups: HostRunner) -> None:
    n = 132 * 256
    a, b = zeros(n, np.int32), empty(n, np.int32)
    must_run(groups, "ripple", 132, 256, [a, b, n, 2], cooperative=True)
    np.testing.assert_array_equal(a.result, 2)


def test_a_processor_without_a_switch_of_its_own_runs_the_same(
    runners: HostRunners, rng: np.random.Generator, tmp_path: Path
) -> None:
    ready = prepared()
    folder = shutil.copytree(ready.folder, tmp_path / "portable")
    toolchain = ready.toolchain
    command = [
        toolchain.compiler,
        *toolchain.flags,
        "-O2",
        "-DWB_PORTABLE",
        "-c",
        str(RUNTIME / "runtime.cpp"),
    ]
    subprocess.run([*command, "-o", str(folder / "runtime.o")], check=True)
    text = (KERNELS / "reductions.cu").read_text()
    work = tmp_path / "work"
    work.mkdir()
    build = compile_host(
        text, "k.cu", CompileOptions(), ("scan",), work, prepared=Prepared(toolchain, folder)
    )
    assert isinstance(build, HostBuild)
    x = rng.integers(-50, 50, 1000).astype(np.int32)
    y = empty(1000, np.int32)
    with runners.start(build) as runner:
        must_run(runner, "scan", 1, 1024, [given(x), y, 1000])
    np.testing.assert_array_equal(y.result, np.cumsum(x))


def test_a_zero_sized_buffer_is_fine(runner: HostRunner) -> None:
    x, y = given(np.zeros(0, np.float32)), empty(3, np.float32)
    must_run(runner, "row_sums", 3, 32, [x, y, 0])
    np.testing.assert_array_equal(y.result, 0)


def test_a_fill_zeroes_a_tensor_before_the_launch(runner: HostRunner) -> None:
    bins = empty(16, np.int32)
    must_run(runner, "histogram", 1, 32, [given(np.zeros(8, np.int32)), bins, 8], fills=[bins])
    np.testing.assert_array_equal(bins.result, [8] + [0] * 15)


def test_an_ordinary_launch_after_a_cooperative_one_runs_in_the_same_process() -> None:
    source = """
#include <cooperative_groups.h>
__global__ void together(int *y) { cooperative_groups::this_grid().sync(); y[blockIdx.x] = 1; }
__global__ void alone(int *y) { y[blockIdx.x] = 2; }
"""
    with HostRunners(workers=2) as pool, pool.start(built(source, "together", "alone")) as runner:
        for kernel, value in (("together", 1), ("alone", 2), ("together", 1), ("alone", 2)):
            y = empty(4, np.int32)
            must_run(runner, kernel, 4, 32, [y], cooperative=kernel == "together", timeout_s=10)
            np.testing.assert_array_equal(y.result, value)
