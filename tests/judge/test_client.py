"""The judge's client with a real worker: frames, cancelling, limits, deaths, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from workbench.core.errors import JudgeError, TaskError
from workbench.core.messages import GateTicked, Judged
from workbench.core.verdict import GATES
from workbench.judge.client import FormLimitError, JudgeClient

CANDIDATES = Path(__file__).parent / "candidates"
NORM = str(CANDIDATES / "norm" / "task.py")
GOOD = (CANDIDATES / "norm" / "two_pass.cu").read_bytes()
LOOP = (CANDIDATES / "norm" / "infinite_loop.cu").read_bytes()


@pytest.fixture
async def judge() -> AsyncIterator[JudgeClient]:
    async with JudgeClient() as client:
        yield client


def children_of(pid: int) -> set[int]:
    """Every process that descends from `pid`."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found, front = set(), {pid}
    while front:
        front = {child for child, parent in parents.items() if parent in front} - found
        found |= front
    return found


async def all_gone(pids: set[int]) -> bool:
    """Every one of `pids` has ended; a second is enough for the kernel to say so."""
    for _ in range(500):
        left = {pid for pid in pids if Path(f"/proc/{pid}/stat").exists() and not _zombie(pid)}
        if not left:
            return True
        await asyncio.sleep(0.02)
    return False


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def test_gates_tick_in_order_and_the_same_judge_serves_again(judge: JudgeClient) -> None:
    info = await judge.load_task(NORM, target="host")
    assert info.sizes[0].name == "small"
    for round_ in range(2):
        ticks: list[GateTicked] = []
        judged = await judge.judge(f"c{round_}", GOOD, path="two_pass.cu", on_tick=ticks.append)
        assert judged.verdict is not None and judged.verdict.outcome == "pass", judged.verdict
        assert [t.name for t in ticks if t.gate is None] == list(GATES)
        assert [t.name for t in ticks if t.gate is not None] == list(GATES)
    assert judged.verdict.seeds


async def test_cancelling_stops_a_hung_kernel_and_the_next_candidate_is_judged(judge: JudgeClient) -> None:
    await judge.load_task(NORM, target="host", timeout_s=600)
    reached = asyncio.Event()

    def tick(ticked: GateTicked) -> None:
        if ticked.name == "numerics":
            reached.set()

    hung = asyncio.create_task(judge.judge("hung", LOOP, on_tick=tick))
    waiting = asyncio.create_task(judge.judge("waiting", GOOD))
    good = asyncio.create_task(judge.judge("good", GOOD))
    await asyncio.wait_for(reached.wait(), 120)
    await judge.cancel("waiting")
    await asyncio.sleep(0.3)
    await judge.cancel("hung")
    assert await hung == Judged(candidate="hung", verdict=None, cancelled=True)
    assert (await waiting).cancelled
    verdict = (await good).verdict
    assert verdict is not None and verdict.outcome == "pass"
    await judge.cancel("good")  # out already: nothing happens
    assert (await judge.judge("again", GOOD)).verdict is not None


async def test_closing_during_a_hung_kernel_leaves_no_process_behind() -> None:
    judge = JudgeClient()
    await judge.start()
    await judge.load_task(NORM, target="host", timeout_s=600)
    reached = asyncio.Event()
    hung = asyncio.create_task(
        judge.judge("hung", LOOP, on_tick=lambda t: reached.set() if t.name == "numerics" else None)
    )
    await asyncio.wait_for(reached.wait(), 120)
    assert judge.pid is not None
    processes = {judge.pid} | children_of(judge.pid)
    assert len(processes) > 3  # planner, compiler, runner
    await judge.close()
    assert (await hung).cancelled
    assert await all_gone(processes)


async def test_a_killed_worker_is_reported_and_takes_its_children_with_it() -> None:
    judge = JudgeClient()
    await judge.start()
    await judge.load_task(NORM, target="host", timeout_s=600)
    reached = asyncio.Event()
    hung = asyncio.create_task(
        judge.judge("hung", LOOP, on_tick=lambda t: reached.set() if t.name == "numerics" else None)
    )
    await asyncio.wait_for(reached.wait(), 120)
    assert judge.pid is not None
    processes = children_of(judge.pid)
    os.kill(judge.pid, signal.SIGKILL)
    with pytest.raises(JudgeError, match="SIGKILL"):
        await hung
    assert not judge.alive
    with pytest.raises(JudgeError):
        await judge.judge("next", GOOD)
    assert await all_gone(processes)
    await judge.close()


async def test_a_client_that_is_killed_takes_its_judge_with_it(tmp_path: Path) -> None:
    script = tmp_path / "client.py"
    script.write_text(
        "import asyncio\n"
        "from workbench.judge.client import JudgeClient\n"
        "async def main():\n"
        "    judge = JudgeClient()\n"
        "    await judge.start()\n"
        f"    await judge.load_task({NORM!r}, target='host')\n"
        "    print('ready', flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    processes = children_of(process.pid)
    assert processes
    process.kill()
    await process.wait()
    assert await all_gone(processes)


async def test_a_task_that_prints_disturbs_no_frame(judge: JudgeClient, tmp_path: Path) -> None:
    task = tmp_path / "loud.py"
    task.write_text(
        "import os, sys, torch\n"
        "print('from python')\n"
        "os.write(1, b'\\xff\\xff\\xff\\xff straight to descriptor one\\n')\n"
        "class Model(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        print('in forward')\n"
        "        return x + 1\n"
        "def get_inputs():\n"
        "    print(sys.stdin.read())\n"
        "    return [torch.randn(16)]\n"
        "def get_init_inputs():\n"
        "    return []\n"
    )
    info = await judge.load_task(str(task), target="host")
    assert info.name == "loud"
    assert "straight to descriptor one" in judge.stderr_tail


async def test_a_task_that_takes_forever_is_stopped(judge: JudgeClient, tmp_path: Path) -> None:
    task = tmp_path / "slow.py"
    task.write_text("while True:\n    pass\n")
    with pytest.raises(TaskError, match=r"still loading after 3 s"):
        await judge.load_task(str(task), target="host", limit_s=3)
    assert not judge.alive


async def test_a_broken_task_leaves_the_judge_alive(judge: JudgeClient, tmp_path: Path) -> None:
    task = tmp_path / "broken.py"
    task.write_text("raise SystemExit(7)\n")
    with pytest.raises(TaskError):
        await judge.load_task(str(task), target="host")
    judged = await judge.judge("c1", GOOD)
    assert judged.verdict is not None and judged.verdict.outcome == "error"
    assert (await judge.load_task(NORM, target="host")).name
    form = await judge.functional_form()
    assert form.source


async def test_a_task_that_kills_its_process_is_reported(judge: JudgeClient, tmp_path: Path) -> None:
    task = tmp_path / "dies.py"
    task.write_text(
        "import os, sys\nsys.stderr.write('goodbye from the task\\n')\nsys.stderr.flush()\nos.abort()\n"
    )
    with pytest.raises(JudgeError, match=r"SIGABRT while it loaded the task.*goodbye from the task"):
        await judge.load_task(str(task), target="host")


@pytest.mark.parametrize("stream", [0, 1, 2])
async def test_a_task_that_closes_a_standard_stream_is_refused_and_the_judge_keeps_its_own(
    judge: JudgeClient, tmp_path: Path, stream: int
) -> None:
    task = tmp_path / "closes.py"
    closing = f"import os\nos.close({stream})\n"
    task.write_text(Path(NORM).read_text().replace("import torch", closing + "import torch", 1))
    with pytest.raises(TaskError, match=rf"closes a standard stream \(file descriptor {stream}\)"):
        await judge.load_task(str(task), target="host")
    for number in range(3):
        where = os.readlink(f"/proc/{judge.pid}/fd/{number}")
        assert where == "/dev/null" or where.startswith("pipe:"), (number, where)
    await judge.load_task(NORM, target="host")
    judged = await judge.judge("c1", GOOD)
    assert judged.verdict is not None and judged.verdict.outcome == "pass", judged.verdict.reason


async def test_a_command_that_is_not_there_is_a_judge_error() -> None:
    with pytest.raises(JudgeError, match="could not be started"):
        await JudgeClient(command=["/nonexistent/python"]).start()


async def test_a_command_that_is_no_judge_is_a_judge_error() -> None:
    client = JudgeClient(command=["/bin/echo", "hello, I am not a judge"])
    with pytest.raises(JudgeError, match="no answer"):
        await client.start()
    await client.close()


async def test_a_judge_that_gave_its_memory_back_judges_as_before(judge: JudgeClient) -> None:
    await judge.load_task(str(CANDIDATES / "norm" / "task.py"), target="host")
    first = (await judge.judge("c1", GOOD)).verdict
    await judge.free_memory()
    again = (await judge.judge("c2", GOOD)).verdict
    assert first is not None and again is not None
    assert (first.outcome, again.outcome) == ("pass", "pass")
    assert [(g.name, g.status) for g in first.gates] == [(g.name, g.status) for g in again.gates]


async def test_the_limit_of_a_functional_form_begins_with_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    client = JudgeClient()
    asked: list[object] = []

    async def send(message: object) -> None:
        asked.append(message)

    monkeypatch.setattr(client._process, "send", send)
    verdict: asyncio.Future[Judged] = asyncio.get_running_loop().create_future()
    client._judging["c1"] = (verdict, None)
    form = asyncio.ensure_future(client.functional_form(limit_s=0.01))
    await asyncio.sleep(0.2)
    assert asked and not form.done(), "it waits behind a verdict, for which another limit holds"
    verdict.cancel()
    with pytest.raises(FormLimitError):
        await form
