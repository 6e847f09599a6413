"""What goes wrong on the host target is reported with kernel, block, thread, line and buffer; the next call works."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from host_kernels.harness import KERNELS, HostRunners, built, empty, given, must_run, run, zeros

from workbench.runner.host.client import HostRunner
from workbench.runner.host.faults import Fault
from workbench.runner.host.toolchain import find_toolchain

NAMES = (
    "read_behind", "read_before", "write_input", "write_behind", "null_pointer", "stack_overflow", "spin", "divergent_barrier",
    "two_barriers", "returns_early", "wrong_mask", "traps", "shared_behind", "divides", "fine", "atomic_behind", "large_frame",
    "misaligned", "misaligned_shared", "no_first_value",
)  # fmt: skip
X = np.arange(1000, dtype=np.float32)


@pytest.fixture(scope="module")
def runner() -> Iterator[HostRunner]:
    with HostRunners(workers=2) as pool, pool.start(built("faults.cu", *NAMES)) as started:
        yield started


@pytest.fixture(autouse=True)
def the_next_call_works(runner: HostRunner) -> Iterator[None]:
    yield
    y = empty(64, np.int32)
    must_run(runner, "fine", 2, 32, [y])
    np.testing.assert_array_equal(y.result, 41)


def line_of(text: str) -> int:
    lines = (KERNELS / "faults.cu").read_text().splitlines()
    return next(i for i, line in enumerate(lines, 1) if text in line)


def fault(ran: object) -> Fault:
    found = ran.report.fault  # type: ignore[attr-defined]  # a fault is what is being looked for
    assert found is not None
    print(found.message)
    return found


def test_a_read_one_element_behind_a_buffer_faults_where_it_ends_at_the_guard(runner: HostRunner) -> None:
    found = fault(run(runner, "read_behind", 1, 32, [given(X, "weight"), empty(32, np.float32), 1000]))
    assert (found.kind, found.buffer, found.index, found.access) == ("illegal access", "weight", 4000, "read")
    assert (found.kernel, found.block, found.line) == ("read_behind", (0, 0, 0), line_of("= x[n]"))


def test_a_read_one_element_before_a_buffer_faults_where_it_starts_at_the_guard(runner: HostRunner) -> None:
    args = [given(X, "weight"), empty(32, np.float32)]
    found = fault(run(runner, "read_before", 1, 32, args, placement="start"))
    assert (found.kind, found.buffer, found.index, found.access) == ("illegal access", "weight", -4, "read")


def test_a_write_to_an_input_faults_and_leaves_it_as_it_was(runner: HostRunner) -> None:
    x = given(X, "weight")
    found = fault(run(runner, "write_input", 4, 32, [x]))
    assert (found.kind, found.buffer, found.index, found.access) == ("illegal access", "weight", 28, "write")
    assert (found.block, found.thread, found.line) == ((2, 0, 0), (3, 0, 0), line_of("x[7] = 1.f"))
    np.testing.assert_array_equal(x.result, X)


def test_a_write_behind_a_buffer_is_seen_by_the_canary_where_no_guard_is(runner: HostRunner) -> None:
    y = empty(999, np.float32, "out")  # 4 bytes of slack up to the guard
    ran = run(runner, "write_behind", 1, 32, [y, 999])
    assert ran.report.fault is None
    assert [(d.name, d.side) for d in ran.damaged] == [("out", "after")]
    assert 999 * 4 <= ran.damaged[0].offset < 1000 * 4


def test_a_null_pointer_is_named(runner: HostRunner) -> None:
    found = fault(run(runner, "null_pointer", 1, 1, [zeros(1, np.float32)]))
    assert found.kind == "illegal access"
    assert "null pointer" in found.message


def test_a_stack_overflow_is_named(runner: HostRunner) -> None:
    found = fault(run(runner, "stack_overflow", 1, 32, [zeros(4, np.int32)]))
    assert (found.kind, found.buffer) == ("illegal access", "stack")


def test_an_infinite_loop_is_cut_and_named(runner: HostRunner) -> None:
    found = fault(run(runner, "spin", 2, 64, [zeros(4, np.int32)], timeout_s=1))
    assert (found.kind, found.kernel) == ("hang", "spin")


def stopped(runner: HostRunner, after_s: float, for_s: float) -> threading.Thread:
    """Takes the processor from the runner's process for a while, as a busy machine would."""

    def stop() -> None:
        time.sleep(after_s)
        process = runner._process
        assert process is not None
        os.kill(process.popen.pid, signal.SIGSTOP)
        time.sleep(for_s)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.popen.pid, signal.SIGCONT)

    thread = threading.Thread(target=stop)
    thread.start()
    return thread


def test_what_counts_for_a_hang_is_the_time_that_it_worked(runner: HostRunner) -> None:
    must_run(runner, "fine", 2, 32, [empty(64, np.int32)])  # the process is there
    busy = stopped(runner, 0.2, 1.5)
    ran = run(runner, "spin", 2, 64, [zeros(4, np.int32)], timeout_s=1)
    busy.join()
    assert fault(ran).kind == "hang"
    assert ran.report.seconds >= 1  # not of the clock, which stood at 1 while nothing could run


def test_one_that_never_gets_to_work_is_given_up_by_the_clock(runner: HostRunner) -> None:
    must_run(runner, "fine", 2, 32, [empty(64, np.int32)])
    busy = stopped(runner, 0.0, 4)
    found = fault(run(runner, "spin", 2, 64, [zeros(4, np.int32)], timeout_s=0.2))
    assert found.kind == "hang"
    busy.join()


def test_a_barrier_that_some_threads_never_reach_says_who_waits_for_what(runner: HostRunner) -> None:
    found = fault(run(runner, "divergent_barrier", 1, 32, [zeros(32, np.int32)]))
    assert found.kind == "divergent barrier"
    barrier = line_of("__syncthreads();")
    assert f"threads 0 to 15 wait for __syncthreads() in line {barrier}" in found.message
    assert "threads 16 to 31 wait for __shfl_sync with mask 0xffffffff" in found.message


def test_threads_of_one_warp_at_two_barriers_are_divergent(runner: HostRunner) -> None:
    found = fault(run(runner, "two_barriers", 1, 32, [zeros(32, np.int32)]))
    assert found.kind == "divergent barrier"
    assert "different barriers" in found.message


def test_threads_that_return_before_a_barrier_are_warned_of(runner: HostRunner) -> None:
    y = zeros(64, np.int32)
    ran = must_run(runner, "returns_early", 1, 64, [y, 40])
    np.testing.assert_array_equal(y.result, [7] * 40 + [0] * 24)
    assert "returned" in ran.report.warnings[0]


def test_a_shuffle_by_a_lane_that_its_mask_does_not_name_is_a_fault(runner: HostRunner) -> None:
    found = fault(run(runner, "wrong_mask", 1, 32, [zeros(32, np.int32)]))
    assert found.kind == "divergent barrier"
    assert "mask 0x0000ffff" in found.message
    assert found.thread == (16, 0, 0)


def test_a_trap_names_its_thread(runner: HostRunner) -> None:
    found = fault(run(runner, "traps", 1, 32, [zeros(32, np.int32)]))
    assert (found.kind, found.thread, found.line) == ("crash", (9, 0, 0), line_of("__trap()"))


def test_a_read_past_dynamic_shared_memory_is_a_fault(runner: HostRunner) -> None:
    found = fault(run(runner, "shared_behind", 1, 32, [zeros(1, np.float32), 32], shared=128))
    assert (found.kind, found.buffer, found.index) == ("illegal access", "shared memory", 128)


def test_an_integer_division_by_zero_is_named(runner: HostRunner) -> None:
    found = fault(run(runner, "divides", 1, 1, [zeros(1, np.int32), 0]))
    assert found.kind == "crash"
    assert "division by zero" in found.message


def test_a_grid_barrier_without_a_cooperative_launch_or_with_a_missing_block_is_a_fault() -> None:
    with HostRunners(workers=2) as pool, pool.start(built("groups.cu", "half_grid_sync")) as started:
        found = fault(run(started, "half_grid_sync", 4, 32, [zeros(4, np.int32)]))
        assert found.kind == "divergent barrier"
        assert "cooperative=True" in found.message
        found = fault(run(started, "half_grid_sync", 4, 32, [zeros(4, np.int32)], cooperative=True))
        assert found.kind == "divergent barrier"
        assert "1 of 4 blocks have returned" in found.message


def test_arguments_that_do_not_fit_are_refused(runner: HostRunner) -> None:
    found = fault(run(runner, "fine", 1, 1, [zeros(1, np.int32), 3]))
    assert found.kind == "launch"


def test_a_fault_inside_an_intrinsic_is_at_the_line_that_called_it(runner: HostRunner) -> None:
    found = fault(run(runner, "atomic_behind", 1, 32, [zeros(1000, np.float32, "sum"), 1000]))
    assert (found.kind, found.buffer, found.index, found.line) == (
        "illegal access",
        "sum",
        4000,
        line_of("atomicAdd("),
    )


def test_a_frame_larger_than_a_stack_does_not_reach_another_threads_stack(runner: HostRunner) -> None:
    found = fault(run(runner, "large_frame", 1, 32, [zeros(4, np.int32), 1]))
    assert (found.kind, found.buffer) == ("illegal access", "stack")


@pytest.fixture
def sees_alignment() -> None:
    found = find_toolchain()
    if found is None or found.family != "gcc":
        pytest.skip("clang checks the alignment of single values, not of vectors")


@pytest.mark.usefixtures("sees_alignment")
def test_a_vector_access_at_an_address_that_the_device_refuses_is_a_fault(runner: HostRunner) -> None:
    args = [given(X, "weight"), empty(32, np.float32)]
    must_run(runner, "misaligned", 1, 32, [*args, 8])
    found = fault(run(runner, "misaligned", 1, 32, [*args, 9]))
    assert (found.kind, found.buffer, found.index, found.access) == ("illegal access", "weight", 36, "")
    assert found.line == line_of("the vector read") and "16 bytes" in found.message


@pytest.mark.usefixtures("sees_alignment")
def test_a_misaligned_vector_write_to_shared_memory_is_a_fault(runner: HostRunner) -> None:
    y = empty(32, np.float32)
    must_run(runner, "misaligned_shared", 1, 1, [y, 2], shared=64)
    found = fault(run(runner, "misaligned_shared", 1, 1, [y, 3], shared=64))
    assert (found.kind, found.buffer, found.index, found.access) == (
        "illegal access",
        "shared memory",
        12,
        "write",
    )
    assert found.line == line_of("the vector write") and "8 bytes" in found.message


def test_a_sum_without_a_first_value_does_not_happen_to_begin_at_zero(runner: HostRunner) -> None:
    y = empty(3, np.float32)
    must_run(runner, "no_first_value", 1, 1, [given(X, "x"), y, 8])
    assert not (np.abs(y.result) < 1e30).any(), y.result
