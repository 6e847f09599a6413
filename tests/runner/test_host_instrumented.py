"""The instrumented build names accesses out of bounds, reads of unwritten memory and races, and leaves honest kernels alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from host_kernels.harness import KERNELS, HostRunners, build, built, empty, given, run, zeros

from workbench.core.build import BuildFailure
from workbench.runner.host import messages as m
from workbench.runner.host.accesses import AccessFinding, decode
from workbench.runner.host.client import HostRunner

SOURCE = (KERNELS / "instrumented.cu").read_text()
NAMES = tuple(
    line.split("void ")[1].split("(")[0] for line in SOURCE.splitlines() if line.startswith("__global__")
)
X = np.arange(1024, dtype=np.float32)
F = np.float32


@pytest.fixture(scope="module")
def runner() -> Iterator[HostRunner]:
    with HostRunners() as pool, pool.start(built("instrumented.cu", *NAMES, instrumented=True)) as started:
        yield started


def line_of(text: str) -> int:
    return next(i for i, line in enumerate(SOURCE.splitlines(), 1) if text in line)


def findings(runner: HostRunner, *args: Any, **options: Any) -> tuple[AccessFinding, ...]:
    report = run(runner, *args, **options).report
    assert report.fault is None, report.fault
    assert report.seen is not None and report.seen.accesses > 0
    assert not report.seen.incomplete
    for found in report.findings:
        print(found.message)
    return report.findings


def only(runner: HostRunner, *args: Any, **options: Any) -> AccessFinding:
    found = findings(runner, *args, **options)
    assert len(found) == 1
    return found[0]


def test_a_missing_barrier_is_a_race_with_both_lines_and_threads(runner: HostRunner) -> None:
    found = only(runner, "missing_barrier", 1, 64, [given(X), empty(64, F)])
    assert (found.kind, found.space, found.kernel) == ("race", "shared", "missing_barrier")
    assert {found.line, found.other_line} == {line_of("// race: reads"), line_of("// race: reads") - 1}
    assert {found.access, found.other_access} == {"read", "write"}
    assert (found.buffer, found.block) == ("shared memory tile", (0, 0, 0))
    assert found.other_thread == (63 - found.thread[0], 0, 0) and found.index % 4 == 0


def test_overwriting_what_others_still_read_is_a_race(runner: HostRunner) -> None:
    found = only(runner, "missing_second_barrier", 1, 64, [given(X), empty(64, F)])
    assert found.kind == "race"
    assert line_of("// race: writes") in (found.line, found.other_line)


def test_a_read_one_past_a_shared_array_is_out_of_bounds(runner: HostRunner) -> None:
    found = only(runner, "one_too_far", 1, 64, [given(X), empty(64, F)])
    assert (found.kind, found.buffer, found.index) == ("out of bounds", "shared memory tile", 256)
    assert (found.line, found.thread, found.access) == (line_of("// one too far"), (63, 0, 0), "read")


@pytest.mark.parametrize("threads", [64, 63])
def test_a_read_past_dynamic_shared_memory_is_out_of_bounds(runner: HostRunner, threads: int) -> None:
    report = run(runner, "dynamic_too_far", 1, threads, [given(X), empty(64, F)], shared=4 * threads).report
    found = report.findings[0]
    assert (found.kind, found.buffer, found.index) == ("out of bounds", "dynamic shared memory", 4 * threads)
    assert found.line == line_of("// dynamic too far")


def test_a_read_in_the_slack_behind_a_buffer_is_out_of_bounds(runner: HostRunner) -> None:
    found = only(runner, "into_slack", 1, 1, [given(X[:999], "weight"), empty(1, F), 999])
    assert (found.kind, found.buffer, found.index) == ("out of bounds", "weight", 999 * 4)
    assert "past its 3996 bytes" in found.message


def test_a_copy_that_is_too_long_is_out_of_bounds(runner: HostRunner) -> None:
    found = findings(runner, "copies_too_far", 1, 1, [given(X, "weight"), empty(998, F, "out"), 999 * 4])
    assert [(f.kind, f.buffer, f.line) for f in found] == [
        ("out of bounds", "out", line_of("// copies too far"))
    ]


def test_a_shared_accumulator_that_is_never_zeroed_is_an_unwritten_read(runner: HostRunner) -> None:
    found = findings(runner, "shared_accumulator", 1, 64, [given(X), empty(2, F)])
    assert {(f.kind, f.buffer, f.line) for f in found} == {
        ("unwritten read", "shared memory sum", line_of("// never zeroed"))
    }


def test_a_scratch_accumulator_that_is_never_zeroed_is_an_unwritten_read(runner: HostRunner) -> None:
    args = [given(X), empty(64, F, "scratch t1"), empty(64, F)]
    found = only(runner, "scratch_accumulator", 1, 64, args)
    assert (found.kind, found.buffer, found.line) == (
        "unwritten read",
        "scratch t1",
        line_of("// nobody wrote it"),
    )
    assert not findings(runner, "scratch_accumulator", 1, 64, args, fills=[args[1]])
    again = findings(runner, "scratch_accumulator", 1, 64, args, launches=2)
    assert again and again[0].count == 16, "the second launch reads what the first one wrote"


def test_blocks_that_add_to_one_place_without_atomics_race(runner: HostRunner) -> None:
    found = findings(runner, "between_blocks", 5, 32, [given(X), zeros(1, F, "out")])
    assert found and all(f.kind == "race" and f.space == "global" for f in found)
    assert {f.line for f in found} == {line_of("// blocks race")}
    assert all(f.block != f.other_block for f in found)


def test_reading_another_blocks_result_in_the_same_launch_is_a_race(runner: HostRunner) -> None:
    args = [given(X), empty(64, F, "scratch"), zeros(64, F)]
    found = only(runner, "neighbour_block", 8, 1, args)
    assert (found.kind, found.buffer, found.line) == ("race", "scratch", line_of("// reads another block's"))


def test_a_histogram_that_is_read_before_all_have_added_races(runner: HostRunner) -> None:
    x = (np.arange(64) % 32).astype(np.int32)
    found = findings(runner, "histogram_missing_barrier", 1, 64, [given(x), empty(32, np.int32)])
    assert [f.kind for f in found] == ["race"]
    assert line_of("// read beside atomics") in (found[0].line, found[0].other_line)


def test_lanes_of_two_half_warps_that_only_met_their_own_half_race(runner: HostRunner) -> None:
    found = findings(runner, "half_warps_wrong", 1, 32, [given(X), empty(32, F)])
    assert {f.kind for f in found} == {"race"}


def test_a_race_in_a_function_of_a_template_has_its_own_line(runner: HostRunner) -> None:
    found = findings(runner, "race_in_template", 1, 64, [given(X), empty(64, F)])
    assert {f.kind for f in found} == {"race"}
    assert line_of("// in a function") in (found[0].line, found[0].other_line)
    assert found[0].buffer == "shared memory tile"


def test_lanes_of_a_warp_that_do_not_meet_race(runner: HostRunner) -> None:
    found = findings(runner, "no_syncwarp", 1, 32, [given(X), empty(32, F)])
    assert {f.kind for f in found} == {"race"}


def test_a_flag_in_memory_that_nobody_zeroed_is_an_unwritten_read(runner: HostRunner) -> None:
    found = findings(runner, "stale_flag", 4, 1, [given(X), empty(16, np.int32, "flag"), empty(2, F)])
    assert [(f.kind, f.buffer) for f in found] == [("unwritten read", "flag")]


def test_writes_of_the_same_value_are_a_finding_of_their_own(runner: HostRunner) -> None:
    found = findings(runner, "same_value", 1, 64, [zeros(65, F), given(X)])
    assert {f.kind for f in found} <= {"same-value race", "race"}
    print([f.kind for f in found])
    assert {f.kind for f in found} == {"same-value race"}


@pytest.mark.parametrize(
    ("kernel", "marker", "size"),
    [("shuffle_from_returned", "// returned", 1), ("shuffle_from_elsewhere", "// elsewhere", 32)],
)
def test_a_shuffle_from_a_lane_that_takes_no_part_is_found(
    runner: HostRunner, kernel: str, marker: str, size: int
) -> None:
    found = findings(runner, kernel, 1, 32, [given(X), empty(size, F)])
    assert {(f.kind, f.kernel, f.line) for f in found} == {("inactive lane", kernel, line_of(marker))}
    assert found[0].thread[0] < 20 and "which takes no part" in found[0].message


@pytest.mark.parametrize(
    ("kernel", "marker", "said"),
    [
        ("odd_width", "// odd width", "width 24"),
        ("divergent_shuffle", "// divergent", "__shfl_xor_sync with mask 0xffffffff"),
        ("not_in_the_mask", "// not in the mask", "lane 0, which the mask does not name"),
        ("other_masks", "// mask of 17", "__syncwarp with mask 0x0001ffff"),
    ],
)
def test_a_warp_intrinsic_that_its_lanes_do_not_share_is_a_fault(
    runner: HostRunner, kernel: str, marker: str, said: str
) -> None:
    fault = run(runner, kernel, 1, 32, [given(X), empty(32, F)]).report.fault
    assert fault is not None and fault.kind == "divergent barrier"
    assert (fault.kernel, fault.line, fault.block) == (kernel, line_of(marker), (0, 0, 0))
    assert said in fault.message


INT = np.int32
HONEST: dict[str, tuple[Any, Any, Any, dict[str, Any]]] = {
    "with_barriers": (1, 64, lambda: [given(X), empty(64, F)], {}),
    "double_buffer": (1, 64, lambda: [given(X), empty(64, F), 5], {}),
    "shuffles": (7, 64, lambda: [given(X), empty(7, F)], {}),
    "warp_exchange": (1, 64, lambda: [given(X), empty(64, F)], {}),
    "half_warps": (1, 32, lambda: [given(X), empty(32, F)], {}),
    "last_block": (20, 32, lambda: [given(X), empty(20, F), zeros(1, np.uint32), empty(1, F)], {}),
    "look_back": (20, 32, lambda: [given(X), empty(20, F), zeros(20, INT), empty(640, F)], {}),
    "look_back_atomic": (
        20,
        32,
        lambda: [given(X), empty(20, F), zeros(20, INT), zeros(1, INT), empty(640, F)],
        {},
    ),
    "float_atomics": (16, 64, lambda: [given(X), zeros(7, F), 1000], {}),
    "guide_loop": (16, 32, lambda: [given(X), zeros(1, np.uint32)], {}),
    "grid_sync": (6, 32, lambda: [given(X), empty(192, F), empty(192, F)], {"cooperative": True}),
    "halves": (
        4,
        64,
        lambda: [given(X.astype(np.float16)), empty(251, np.float16), empty(251, bool), 251],
        {},
    ),
    "shared_halves": (1, 64, lambda: [given(X.astype(np.float16)), zeros(64, np.float16)], {}),
    "tiles": (1, 64, lambda: [given(X), empty(64, F)], {}),
    "named_barriers": (1, 64, lambda: [given(X), empty(32, F)], {}),
    "vectors": (1, 32, lambda: [given(X), empty(128, F), empty(128, F)], {}),
    "shuffles_of_a_part": (1, 32, lambda: [given(X), empty(1, F)], {}),
    "active_mask": (1, 32, lambda: [given(X), empty(32, F)], {}),
    "copies": (1, 128, lambda: [given(X), empty(1024, F)], {}),
}


@pytest.mark.parametrize("kernel", HONEST)
def test_an_honest_kernel_gives_no_finding(runner: HostRunner, kernel: str) -> None:
    grid, block, args, options = HONEST[kernel]
    assert findings(runner, kernel, grid, block, args(), **options) == ()


def test_every_kernel_of_the_file_is_used() -> None:
    tests = KERNELS.parent.joinpath("test_host_instrumented.py").read_text()
    assert [name for name in NAMES if f'"{name}"' not in tests] == []


@pytest.mark.parametrize("name", ["__SANITIZE_THREAD__", "WB_INSTRUMENTED"])
def test_code_cannot_tell_the_instrumented_build_by_the_preprocessor(name: str) -> None:
    source = f"""
#ifdef {name}
#error seen
#endif
__global__ void k(int *y) {{ y[0] = 1; }}
"""
    results = [build(source, ["k"], instrumented=instrumented) for instrumented in (True, False)]
    causes = [r.cause if isinstance(r, BuildFailure) else "" for r in results]
    assert causes in (["", ""], ["unsupported", "unsupported"])


@pytest.mark.skipif(shutil.which("clang++") is None, reason="clang++ is not installed")
def test_clang_finds_the_same() -> None:
    watched = built("instrumented.cu", *NAMES, instrumented=True, compiler="clang++")
    with HostRunners() as pool, pool.start(watched) as runner:
        found = only(runner, "one_too_far", 1, 64, [given(X), empty(64, F)])
        assert (found.kind, found.buffer, found.index) == ("out of bounds", "shared memory tile", 256)
        for kernel, threads in (("missing_barrier", 64), ("no_syncwarp", 32)):
            args = [given(X), empty(64, F)]
            assert {f.kind for f in findings(runner, kernel, 1, threads, args)} == {"race"}
        for kernel, (grid, block, args, options) in HONEST.items():
            assert findings(runner, kernel, grid, block, args(), **options) == (), kernel


def test_findings_of_a_hostile_runner_are_bounded_and_only_shown() -> None:
    raw = m.FindingsC()
    raw.count = 1 << 31
    for i, item in enumerate(raw.item):
        item.kind = i % 7
        item.pc = item.other_pc = (1 << 64) - 1
        item.step = item.buffer = item.space = item.how = (1 << 32) - 1
        item.offset = -(1 << 63)
    seen = decode(raw, b"no library", [], [], [])
    assert len(seen.findings) <= m.MAX_FINDINGS
    assert all(len(f.message) < 1000 and f.line == 0 for f in seen.findings)
