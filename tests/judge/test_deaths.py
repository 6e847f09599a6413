"""What the system does to the judge's own processes is never held against a candidate."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.core.errors import JudgeError
from workbench.core.messages import Judge, LoadTask
from workbench.core.verdict import Gate, Verdict
from workbench.judge.worker.bench import Bench
from workbench.judge.worker.cancelled import Cancelled
from workbench.judge.worker.overflow import Overflows
from workbench.runner.compiler.client import Compiler
from workbench.runner.compiler.messages import BuildAnswer, BuildRequest, Ended
from workbench.runner.host.client import HostRunner

FOLDER = Path(__file__).parent / "candidates" / "norm"


class Mortal(Compiler):
    """A compiler whose process is killed at each of the next `deaths` requests for the source with `mark`.

    The instrumented build that a candidate before it began in the background may be asked for meanwhile.
    """

    deaths = 0
    asked = 0
    mark = ""

    def _ask(self, request: BuildRequest) -> BuildAnswer | Ended:
        if not request.device.endswith(self.mark):
            return super()._ask(request)
        self.asked += 1
        if self.deaths > 0:
            self.deaths -= 1
            assert self._process is not None
            os.killpg(self._process.pid, signal.SIGKILL)
        return super()._ask(request)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(lambda _: None)
    made.warm_up()
    assert made._parts is not None
    made._parts.compiler.close()
    made._parts.compiler = Mortal(cache=tmp_path_factory.mktemp("builds"))
    made.load(LoadTask(path=str(FOLDER / "task.py"), target="host"))
    yield made
    made.close()


@pytest.fixture
def compiler(bench: Bench) -> Mortal:
    assert bench._parts is not None and isinstance(bench._parts.compiler, Mortal)
    bench._parts.compiler.deaths = bench._parts.compiler.asked = 0
    bench._parts.compiler.mark = ""
    return bench._parts.compiler


def judged(
    bench: Bench, mark: str, *, until: str, name: str = "shuffles"
) -> tuple[dict[str, Gate], Verdict | None]:
    """The gates of a candidate up to `until`, and its verdict where that ended before."""
    gates: dict[str, Gate] = {}

    def tick(name: str, gate: Gate | None) -> None:
        if gate is not None:
            gates[name] = gate

    end = f"\n// {mark}\n"
    source = (FOLDER / f"{name}.cu").read_bytes() + end.encode()
    assert bench._parts is not None and isinstance(bench._parts.compiler, Mortal)
    bench._parts.compiler.mark = end
    request = Judge(candidate="c1", source=source, path="x.cu")
    try:
        return gates, bench.judge(request, tick, lambda: until in gates).verdict
    except Cancelled:
        return gates, None


def test_a_compiler_that_was_killed_is_asked_again(bench: Bench, compiler: Mortal) -> None:
    compiler.deaths = 1
    gates, _ = judged(bench, "killed once", until="compile")
    assert gates["compile"].status == "pass", gates["compile"]


def test_a_compiler_that_is_killed_every_time_is_an_error_and_asked_twice(
    bench: Bench, compiler: Mortal
) -> None:
    compiler.deaths = 1000
    _, verdict = judged(bench, "killed always", until="compile")
    assert verdict is not None and verdict.outcome == "error" and verdict.failed_gate is None
    assert "died" in verdict.first_line and compiler.asked == 2


def test_a_host_compiler_that_dies_after_nvrtc_is_an_error(
    bench: Bench, compiler: Mortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(request: BuildRequest) -> BuildAnswer | Ended:
        compiler.deaths = int(request.host)
        return Mortal._ask(compiler, request)

    monkeypatch.setattr(compiler, "_ask", ask)
    gates, verdict = judged(bench, "host killed", until="shapes")
    assert verdict is not None and verdict.outcome == "error", verdict
    assert gates["compile"].status == "pass" and gates["audit"].status == "pass" and compiler.asked >= 3


@pytest.mark.parametrize(("deaths", "outcome"), [(1, None), (1000, "error")])
def test_a_call_whose_runner_was_killed_is_made_once_more(
    deaths: int, outcome: str | None, bench: Bench, compiler: Mortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, calls = deaths, 0
    resume = HostRunner._resume

    def kill_first(self: HostRunner) -> None:
        nonlocal left, calls
        calls += 1
        if left > 0:
            left -= 1
            assert self._process is not None
            self._process.popen.kill()
        resume(self)

    monkeypatch.setattr(HostRunner, "_resume", kill_first)
    gates, verdict = judged(bench, "runner killed", until="numerics")
    if outcome is None:
        assert verdict is None and gates["numerics"].status == "pass" and calls > 2
    else:
        assert verdict is not None and verdict.outcome == outcome and verdict.failed_gate is None
        assert "killed" in verdict.first_line and calls == 2


def test_a_race_that_was_seen_stands_when_following_full_sizes_fails(
    bench: Bench, compiler: Mortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def follow(self: Overflows, *rest: object) -> None:
        raise JudgeError("The runner was lost.")

    monkeypatch.setattr(Overflows, "follow", follow)
    monkeypatch.setattr(Overflows, "address_space", 1 << 20)
    _, verdict = judged(bench, "raced", until="never", name="missing_barrier")
    assert verdict is not None and verdict.failed_gate == "determinism", verdict
    assert next(g for g in verdict.gates if g.name == "determinism").evidence["other_line"] > 0
