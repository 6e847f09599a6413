"""A verdict ends, whatever a candidate does with the time of its single runs."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from workbench.core.errors import JudgeError
from workbench.judge.client import JudgeClient
from workbench.judge.worker import parts
from workbench.judge.worker.cancelled import Cancelled
from workbench.judge.worker.judging import Judging
from workbench.judge.worker.outcome import CannotJudge
from workbench.judge.worker.parts import Parts


def test_a_verdict_whose_time_is_up_stops_at_its_next_checkpoint_as_an_error() -> None:
    judging = Judging.__new__(Judging)
    judging._cancelled = lambda: False
    judging._total_s = 900.0
    judging._deadline = time.monotonic() + 900
    judging.checkpoint()
    judging._deadline = time.monotonic() - 1
    with pytest.raises(CannotJudge, match="not judged after 900 s"):
        judging.checkpoint()


class _ReferenceThread(Parts):
    """The one part of a judge that a wait for the reference touches."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(1)
        self.stuck = False


def waiting(thread: Parts) -> Judging:
    """A verdict whose time is not up."""
    judging = Judging.__new__(Judging)
    judging.bench = thread
    judging.references = judging.other_sizes = None
    judging._cancelled = lambda: False
    judging._total_s = 900.0
    judging._deadline = time.monotonic() + 900
    return judging


def test_a_reference_that_never_comes_back_ends_the_verdict_and_the_judge(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parts, "REFERENCE_GRACE_S", 0.1)
    thread, ever = _ReferenceThread(), threading.Event()
    judging = waiting(thread)
    assert judging.wait(thread.pool.submit(int)) == 0 and thread.settled()
    never = thread.pool.submit(ever.wait)

    judging._cancelled = lambda: True
    with pytest.raises(Cancelled):
        judging.wait(never)
    assert not thread.stuck  # it may still come back
    assert not thread.settled() and thread.stuck  # but the next candidate does not wait behind it

    thread.stuck = False
    judging = waiting(thread)
    judging._deadline = time.monotonic() - 1
    with pytest.raises(CannotJudge, match="The task's reference did not come back in the 900 s"):
        judging.wait(never)
    assert thread.stuck
    ever.set()


def test_a_reference_that_is_only_late_neither_gets_the_blame_nor_ends_the_judge() -> None:
    thread, given_up = _ReferenceThread(), threading.Event()
    judging = waiting(thread)
    judging._deadline = time.monotonic() - 1
    judging._drop_references = given_up.set  # type: ignore[method-assign]  # what was asked for ends with its case
    with pytest.raises(CannotJudge, match="not judged after 900 s"):
        judging.wait(thread.pool.submit(given_up.wait))
    assert thread.settled()


HANGS = """
import pathlib, time, torch
here = pathlib.Path(__file__).parent
class Model(torch.nn.Module):
    def forward(self, x):
        while (here / "hang").exists():
            (here / "hangs").touch()
            time.sleep(0.05)
        return x * 2
def get_inputs():
    return [torch.randn(64, 128)]
def get_init_inputs():
    return []
"""
DOUBLES = b"""/*@plan
def forward(x):
    y = empty_like(x)
    launch("twice", grid=cdiv(x.numel, 128), block=128, args=[x, y, x.numel])
    return y
@*/
extern "C" __global__ void twice(const float* x, float* y, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = 2.0f * x[i];
}
"""
IMPATIENT = """
import os
from workbench.judge.worker import __main__, judging, parts
parts.REFERENCE_GRACE_S = 0.5
wait = judging.Judging.wait
def hurried(self, future):
    self._deadline = 0
    return wait(self, future)
if HURRIED:
    judging.Judging.wait = hurried
os._exit(__main__.main())
"""
"""The judge's worker, with less patience; hurried: with no time left once it waits for the reference."""


def impatient(*, hurried: bool = False) -> JudgeClient:
    return JudgeClient(command=[sys.executable, "-c", IMPATIENT.replace("HURRIED", str(hurried))])


async def test_a_candidate_that_is_given_up_in_a_hung_reference_does_not_hold_up_the_next(
    tmp_path: Path,
) -> None:
    (task := tmp_path / "task.py").write_text(HANGS)
    async with impatient() as judge:
        await judge.load_task(str(task), target="host")
        (tmp_path / "hang").touch()
        given_up = asyncio.create_task(judge.judge("given up", DOUBLES))
        following = asyncio.create_task(judge.judge("following", DOUBLES))
        while not (tmp_path / "hangs").exists():
            await asyncio.sleep(0.05)
        await judge.cancel("given up")
        assert (await asyncio.wait_for(given_up, 60)).cancelled
        with pytest.raises(JudgeError, match="does not come back; the judge ends"):
            await asyncio.wait_for(following, 60)
    (tmp_path / "hang").unlink()
    async with impatient() as judge:
        await judge.load_task(str(task), target="host")
        verdict = (await judge.judge("following", DOUBLES)).verdict
        assert verdict is not None and verdict.outcome == "pass", verdict


async def test_a_debugged_candidate_in_a_hung_reference_is_stopped_and_the_reference_named(
    tmp_path: Path,
) -> None:
    (task := tmp_path / "task.py").write_text(HANGS)
    async with impatient(hurried=True) as judge:
        await judge.load_task(str(task), target="host")
        (tmp_path / "hang").touch()
        debugged = await asyncio.wait_for(judge.debug("c1", DOUBLES), 120)
        assert not debugged.ran and "The task's reference did not come back" in debugged.stopped


def test_a_reference_that_raises_a_timeout_of_its_own_is_heard() -> None:
    judging = Judging.__new__(Judging)
    raised: Future[int] = Future()
    raised.set_exception(TimeoutError("the task's own"))
    with pytest.raises(TimeoutError, match="own"):
        judging.wait(raised)


class _Late(Future[int]):
    """Comes between the wait that was too short and the question whether it is there."""

    def result(self, timeout: float | None = None) -> int:
        try:
            return super().result(0)
        except TimeoutError:
            self.set_result(5)
            raise


def test_a_reference_that_comes_just_when_a_wait_ends_is_its_result_and_no_timeout() -> None:
    assert Judging.wait(Judging.__new__(Judging), _Late()) == 5
