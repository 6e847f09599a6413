"""A candidate's library is hostile: what its static constructors and kernels try comes to nothing, and the next one runs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import numpy as np
import pytest
from host_kernels.harness import HostRunners, built, empty, given, must_run, run, zeros

from workbench.core.build import HostBuild, Kernel, KernelParameter
from workbench.core.plan import CompileOptions, Launch, LibraryStep, Plan, PlanTensor, TensorArg
from workbench.core.tensors import contiguous
from workbench.core.wire import pack
from workbench.runner.host.arena import Arena, BufferSpec
from workbench.runner.host.messages import Done

KERNELS = ("report", "leave_a_thread", "unlock_input", "claims_to_be_done")


@pytest.fixture(scope="module")
def pool() -> Iterator[HostRunners]:
    os.environ["WORKBENCH_TEST_SECRET"] = "key"
    with HostRunners(workers=2, memory_bytes=1 << 30, load_timeout_s=3) as runners:
        yield runners
        # After everything that was tried here, an honest candidate still runs.
        with runners.start(attack(0)) as runner:
            assert outcome(runner) == 1234
    del os.environ["WORKBENCH_TEST_SECRET"]


def attack(number: int) -> HostBuild:
    return built("hostile.cu", *KERNELS, defines={"ATTACK": number})


def outcome(runner: object) -> int:
    y = empty(4, np.int32)
    must_run(runner, "report", 1, 4, [y])  # type: ignore[arg-type]  # a list is a sequence of tensors here
    return int(y.result[0])


@pytest.mark.parametrize(
    ("number", "what"),
    [(1, "read a file"), (2, "open a socket"), (3, "fork"), (7, "kill the judge"), (11, "run a program"), (12, "become root"), (14, "read its environment as a file")],
)  # fmt: skip
def test_a_static_constructor_is_refused(pool: HostRunners, number: int, what: str) -> None:
    with pool.start(attack(number)) as runner:
        assert outcome(runner) == -1, what


def test_the_sandbox_says_what_holds(pool: HostRunners) -> None:
    with pool.start(attack(0)):
        assert "seccomp allowlist" in pool.evidence.means


def test_the_judges_environment_is_not_the_runners(pool: HostRunners) -> None:
    with pool.start(attack(10)) as runner:
        assert outcome(runner) == 0


def test_a_static_constructor_that_takes_all_memory_gets_its_share(pool: HostRunners) -> None:
    with pool.start(attack(4)) as runner:
        ran = run(runner, "report", 1, 4, [empty(4, np.int32)])
        assert ran.report.fault is not None  # nothing is left for its own threads


def test_a_static_constructor_that_never_ends_is_cut(pool: HostRunners) -> None:
    with pool.start(attack(5)) as runner:
        found = run(runner, "report", 1, 4, [empty(4, np.int32)]).report.fault
        assert found is not None
        assert found.kind == "hang"


@pytest.mark.parametrize("number", [6, 8, 15])
def test_a_library_that_scribbles_over_the_channel_or_leaves_is_a_crash(
    pool: HostRunners, number: int
) -> None:
    with pool.start(attack(number)) as runner:
        y = empty(4, np.int32)
        found = run(runner, "report", 1, 4, [y]).report.fault
        assert found is not None
        assert found.kind == "crash" or (number == 15 and found.kind == "hang")


def test_a_kernel_that_claims_to_be_done_has_still_not_computed_anything(pool: HostRunners) -> None:
    frame = np.frombuffer(pack(Done(1e9, 77)), np.uint8)
    with pool.start(attack(0)) as runner:
        y = zeros(4, np.float32)
        began = time.monotonic()
        ran = run(runner, "claims_to_be_done", 1, 1, [given(frame), len(frame), y], timeout_s=5)
        # Its frame comes in one write, before the runner can say anything, so it is taken for the runner's own: the
        # buffers alone count, and time and launches are the judge's.
        assert ran.report.fault is None
        np.testing.assert_array_equal(y.result, 0)
        assert ran.report.launches == 1
        assert 0 < ran.report.seconds <= time.monotonic() - began


def test_a_kernel_that_writes_half_a_message_is_a_crash_that_names_it(pool: HostRunners) -> None:
    frame = np.frombuffer(pack(Done(0.0, 1))[:-3], np.uint8)
    broken = np.concatenate([np.array([len(frame) - 4], np.uint32).view(np.uint8), frame[4:]])
    with pool.start(attack(0)) as runner:
        y = zeros(4, np.float32)
        found = run(runner, "claims_to_be_done", 1, 1, [given(broken), len(broken), y], timeout_s=5).report
        assert found.fault is not None
        assert (found.fault.kind, found.fault.kernel, found.launches) == ("crash", "claims_to_be_done", 0)
        np.testing.assert_array_equal(y.result, 0)


def test_nothing_runs_on_while_the_judge_compares(pool: HostRunners) -> None:
    specs = [BufferSpec("y", 64, True)]
    tensors = (PlanTensor(origin="empty", spec=contiguous((16,), "float32"), role="output"),)
    launch = Launch(kernel="leave_a_thread", grid=(1, 1, 1), block=(1, 1, 1), args=(TensorArg(0),))
    plan = Plan(size="s", options=CompileOptions(), tensors=tensors, steps=(launch,), outputs=(0,))
    kernel = Kernel(name="leave_a_thread", symbol="", parameters=(KernelParameter(0, 8, "pointer"),), registers=0, spill_bytes=0, stack_bytes=0, shared_bytes=0, constant_bytes=0)  # fmt: skip
    with pool.start(attack(9)) as runner, Arena(specs, seed=1) as arena:
        report = runner.call(plan, {"leave_a_thread": kernel}, arena, {0: 0}, timeout_s=10)
        assert report.fault is None
        first = arena.array(0).copy()
        time.sleep(0.2)
        np.testing.assert_array_equal(arena.array(0), first)


def test_an_input_cannot_be_made_writable(pool: HostRunners) -> None:
    with pool.start(attack(0)) as runner:
        x, y = given(np.ones(4, np.float32)), empty(2, np.float32)
        must_run(runner, "unlock_input", 1, 1, [x, y])
        np.testing.assert_array_equal(y.result, [-1, 1])


def test_an_interrupted_call_ends_with_a_fault(pool: HostRunners) -> None:
    import threading

    with pool.start(attack(0)) as runner:
        threading.Timer(0.5, runner.interrupt).start()
        found = run(runner, "claims_to_be_done", 1, 1, [zeros(4, np.float32)], timeout_s=60)
        assert found.report.seconds < 50
        assert outcome(runner) == 1234


def test_a_library_step_runs_on_the_same_buffers_as_the_kernels() -> None:
    source = 'extern "C" __global__ void twice(const float *x, float *y, int n) { int i = threadIdx.x; if (i < n) y[i] = 2 * x[i]; }'
    build = built(source, "twice")
    kernel = Kernel(
        name="twice", symbol="", registers=0, spill_bytes=0, stack_bytes=0, shared_bytes=0, constant_bytes=0,
        parameters=(KernelParameter(0, 8, "pointer"), KernelParameter(8, 8, "pointer"), KernelParameter(16, 4, "int")),
    )  # fmt: skip
    from workbench.core.plan import ScalarArg

    square = contiguous((8, 8), "float32")
    tensors = (
        PlanTensor(origin="signature", spec=square, role="input"),
        PlanTensor(origin="empty", spec=square, role="scratch"),
        PlanTensor(origin="op", spec=square, role="output"),
        PlanTensor(origin="op", spec=contiguous((16, 8), "float32"), role="output"),
    )
    steps = (
        Launch(
            kernel="twice",
            grid=(1, 1, 1),
            block=(64, 1, 1),
            args=(TensorArg(0), TensorArg(1), ScalarArg("int", 64)),
        ),
        LibraryStep(op="aten.mm", args=(TensorArg(0), TensorArg(1)), outputs=(2,)),
        LibraryStep(op="aten.cat", args=(TensorArg(0), TensorArg(1), ScalarArg("int", 0)), outputs=(3,)),
    )
    plan = Plan(size="s", options=CompileOptions(), tensors=tensors, steps=steps, outputs=(2, 3))
    x = np.random.default_rng(3).standard_normal((8, 8)).astype(np.float32)
    specs = [
        BufferSpec("x", 256, False),
        BufferSpec("t", 256, True),
        BufferSpec("y", 256, True),
        BufferSpec("z", 512, True),
    ]
    with HostRunners(workers=1) as runners, runners.start(build) as runner, Arena(specs, seed=1) as arena:
        arena.array(0)[:] = x.reshape(-1).view(np.uint8)
        report = runner.call(plan, {"twice": kernel}, arena, {0: 0, 1: 1, 2: 2, 3: 3}, timeout_s=60)
        assert report.fault is None, report.fault
        np.testing.assert_array_equal(arena.array(3).view(np.float32).reshape(16, 8), np.vstack([x, 2 * x]))
        np.testing.assert_allclose(arena.array(2).view(np.float32).reshape(8, 8), 2 * x @ x, rtol=1e-5)
