"""What the instrumented build counts, on kernels small enough to count by hand."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from host_kernels.harness import KERNELS, HostRunners, built, empty, given, must_run, zeros

from workbench.runner.host.client import HostRunner
from workbench.runner.host.counts import COUNTS, Counts, SiteCount, decode_counts
from workbench.runner.host.sites import annotate

SOURCE = (KERNELS / "counts.cu").read_text()
NAMES = tuple(
    line.split("void ")[1].split("(")[0] for line in SOURCE.splitlines() if line.startswith("__global__")
)
COMPILERS = [c for c in ("g++", "clang++") if shutil.which(c)]
X = np.linspace(0, 1, 4096, dtype=np.float32)
F, INT = np.float32, np.int32


@pytest.fixture(scope="module", params=COMPILERS)
def runner(request: pytest.FixtureRequest) -> Iterator[HostRunner]:
    watched = built("counts.cu", *NAMES, instrumented=True, compiler=request.param)
    with HostRunners() as pool, pool.start(watched) as started:
        yield started


def counted(runner: HostRunner, *args: Any, **options: Any) -> Counts:
    counts = must_run(runner, *args, **options).report.counts
    assert counts is not None and not counts.incomplete
    for site in counts.sites:
        print(site)
    print(counts.steps, counts.touched)
    return counts


def accesses(counts: Counts, *, write: bool = False, kind: str = "global") -> list[SiteCount]:
    return [s for s in counts.sites if s.kind == kind and s.write == write and not s.atomic]


def line_of(text: str) -> int:
    return next(i for i, line in enumerate(SOURCE.splitlines(), 1) if text in line)


def test_neighbouring_lanes_share_sectors(runner: HostRunner) -> None:
    counts = counted(runner, "coalesced", 2, 64, [given(X), empty(128, F)])
    (load,), (store,) = accesses(counts), accesses(counts, write=True)
    for site in (load, store):
        assert (site.requests, site.sectors, site.bytes, site.lanes) == (4, 16, 512, 128)
    assert load.line == line_of("one line a warp")
    assert counts.touched == ((0, 0, 16, 0), (0, 1, 0, 16))


def test_a_stride_takes_a_sector_a_lane(runner: HostRunner) -> None:
    (load,) = accesses(counted(runner, "strided", 1, 64, [given(X), empty(64, F)]))
    assert (load.requests, load.sectors, load.bytes) == (2, 64, 256)


def test_a_vector_counts_whole_and_in_parts(runner: HostRunner) -> None:
    counts = counted(runner, "vectors", 1, 64, [given(X), empty(256, F)])
    for site in (*accesses(counts), *accesses(counts, write=True)):
        assert (site.width, site.bytes) == (16, 64 * 16)
        assert (site.whole_requests, site.sectors) == (2, 32)
        assert site.split_requests == 2 * site.parts and site.split_sectors == 32 * site.parts


def test_one_word_for_all_lanes_is_one_sector(runner: HostRunner) -> None:
    (load,) = accesses(counted(runner, "broadcast", 1, 32, [given(X), empty(32, F)]))
    assert (load.requests, load.sectors) == (1, 1)


def test_a_column_of_a_square_tile_meets_in_one_bank(runner: HostRunner) -> None:
    for kernel, column in (("conflicts", 32 * 32), ("padded", 32)):
        counts = counted(runner, kernel, 1, 32, [given(X), empty(32, F)])
        (load,), (store,) = accesses(counts, kind="shared"), accesses(counts, kind="shared", write=True)
        assert (store.requests, store.wavefronts, store.ideal) == (32, 32, 32)
        assert (load.requests, load.wavefronts, load.ideal) == (32, column, 32), kernel


def test_sixteen_bytes_a_lane_go_in_quarters_of_a_warp(runner: HostRunner) -> None:
    counts = counted(runner, "wide_shared", 1, 32, [given(X), empty(128, F)])
    for site in (*accesses(counts, kind="shared"), *accesses(counts, kind="shared", write=True)):
        assert (site.wavefronts, site.ideal) == (4, 4)
        assert site.split_wavefronts in (
            4,
            16,
        )  # in four pieces each of them meets itself in every fourth bank


def code(counts: Counts, text: str) -> list[SiteCount]:
    return [s for s in counts.sites if s.kind == "code" and s.line == line_of(text)]


def test_a_branch_that_parts_a_warp_is_seen_and_where_it_joins(runner: HostRunner) -> None:
    counts = counted(runner, "branches", 1, 64, [given(X), empty(64, F)])
    assert sum(s.divergent for s in counts.sites) == 2  # once a warp
    for lanes in ("odd lanes", "even lanes"):
        rounds = max(code(counts, lanes), key=lambda s: s.requests)
        assert rounds.requests == 20 and rounds.lanes == 20 * 16
    (store,) = accesses(counts, write=True)
    assert (store.requests, store.lanes) == (2, 64)


def test_lanes_that_part_in_turns_are_not_taken_for_one_request(runner: HostRunner) -> None:
    (load,) = accesses(counted(runner, "alternating", 1, 32, [given(X), empty(32, F)]))
    assert (load.requests, load.lanes) == (10, 160)


def test_updates_of_one_address_queue(runner: HostRunner) -> None:
    ones = given(np.ones(64, INT))
    for kernel, waits, hottest in (("one_counter", 64, 64), ("own_counters", 2, 1)):
        counts = counted(runner, kernel, 1, 64, [ones, zeros(64, INT)])
        (update,) = [s for s in counts.sites if s.atomic]
        assert (update.requests, update.lanes, update.wavefronts) == (2, 64, waits)
        assert (counts.steps[0].updates, counts.steps[0].hottest) == (64, hottest)


def test_updates_of_shared_memory_queue_by_bank(runner: HostRunner) -> None:
    counts = counted(runner, "shared_bins", 1, 32, [given(np.ones(32, INT)), empty(32, INT)])
    (update,) = [s for s in counts.sites if s.atomic]
    assert (update.kind, update.lanes, update.wavefronts) == ("shared", 32, 4)


def test_a_second_look_is_as_far_back_as_what_the_warp_touched_since(runner: HostRunner) -> None:
    counts = counted(runner, "twice", 1, 32, [given(X), empty(32, F)])
    first, again = sorted(accesses(counts), key=lambda s: s.line)
    assert first.reuse[0] == 64 and sum(first.reuse) == 64
    assert again.reuse[6] == 64, again.reuse  # sixteen lines of its own later


def test_arithmetic_is_counted_in_the_loop_that_does_it(runner: HostRunner) -> None:
    counts = counted(runner, "arithmetic", 1, 32, [given(X), empty(32, F)])
    loop = max(code(counts, "two multiply-adds"), key=lambda s: s.requests)
    assert loop.requests in (99, 100)
    assert 2 <= loop.weights.fp32 <= 4  # two multiply-adds, fused or not
    assert sum(s.weights.special for s in counts.sites) >= 1  # expf


def test_many_blocks_are_sampled_and_scaled(runner: HostRunner) -> None:
    x = np.zeros(1 << 16, F)
    counts = counted(runner, "coalesced", 512, 128, [given(x), empty(1 << 16, F)])
    (step,) = counts.steps
    assert step.blocks == 512 and step.sampled == 32 and step.scale == 16
    (load,) = accesses(counts)
    assert load.sectors * step.scale == 1 << 13
    assert counts.touched == ((0, 0, 1 << 13, 0), (0, 1, 0, 1 << 13))  # of all blocks


def test_counts_of_a_hostile_runner_are_bounded() -> None:
    counts = decode_counts(os.urandom(COUNTS.itemsize), {})
    assert len(counts.sites) <= 4096 and len(counts.steps) <= 256
    everything = decode_counts(b"\xff" * COUNTS.itemsize, {})
    assert all(s.sectors <= 1 << 52 for s in everything.sites)
    assert all(np.isfinite(s.scale) for s in everything.steps)


def test_code_of_headers_counts_with_its_floating_point_alone() -> None:
    text = """
\t.file 1 "kernel.cu"
\t.file 2 "wb_half.h"
\t.type k, @function
k:
\t.loc 1 7 1
\tcall\t__sanitizer_cov_trace_pc@PLT
\taddl\t%eax, %ebx
\t.loc 2 99 1
\tshll\t$3, %ebx
\tvaddss\t%xmm0, %xmm1, %xmm2
\tret
"""
    rows = annotate(text).splitlines()
    (weights,) = [row.split() for row in rows if ".short" in row]
    assert weights == [".short", "1,", "1,", "0,", "0,", "0,", "0"]
    assert any(row.endswith(" - ., 7") for row in rows)
