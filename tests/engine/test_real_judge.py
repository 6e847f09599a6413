"""A whole session with the real judge: shipped kernels pass, an edit is judged, a sweep runs, and no death is felt."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path

import pytest
from engine_world import World, alive, children, until

from workbench.core.messages import CancelCandidate, ReadVerdict, SubmitCandidate, TuneCandidate
from workbench.core.verdict import decode_verdict

ROOT = Path(__file__).resolve().parent.parent.parent
DONE = ("passed", "failed", "could not judge", "cancelled", "duplicate")

pytestmark = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")),
    reason="no C++ compiler, so the host target judges nothing",
)


@pytest.fixture
def real(opened: World) -> World:
    """A world with the real judge and the shipped softmax task."""
    opened.config.write_text('[judge]\ntarget = "host"\n')
    shutil.copy(ROOT / "tasks" / "softmax.py", opened.task)
    return opened


@pytest.mark.timeout(600)
async def test_a_session_with_the_real_judge_from_opening_to_reopening(real: World) -> None:
    client = await real.open()
    await until(client, lambda s: s.task is not None, "the task")
    await until(client, lambda s: s.last_proposals is not None, "shipped kernels")
    await until(client, lambda s: all(v.state in DONE for v in s.candidates.values()), "verdicts")
    shipped = list(client.state.candidates.values())
    assert len(shipped) >= 2
    assert [(v.name, v.state) for v in shipped] == [(v.name, "passed") for v in shipped]
    first = shipped[0]
    assert first.verdict is not None and first.verdict.rank is not None
    assert client.state.knobs[first.id]
    for view in shipped:  # the machine code that its audit read, with lines of its own file
        sass = (real.session / "profiles" / f"{view.id}.sass").read_text()
        kernel = decode_verdict(
            (await client.request(ReadVerdict(candidate=view.id))).data
        ).resources.kernels[0]
        assert kernel.name in sass and "LDG.E" in sass and "EXIT" in sass
        count = len((real.session / "candidates" / f"{view.id}.cu").read_text().splitlines())
        lines = [int(n) for n in re.findall(r";  // line (\d+)$", sass, re.MULTILINE)]
        assert lines and max(lines) <= count

    source = real.session / "candidates" / f"{first.id}.cu"
    mine = real.candidate("mine.cu", source.read_text().replace("expf(", "1.001f * expf(", 1))
    await client.submit_file(mine)
    mine.write_text("// no plan any more\n")
    await until(
        client, lambda s: any(v.verdict and v.verdict.failed_gate == "parse" for v in s.candidates.values())
    )

    answer = await client.request(TuneCandidate(candidate=first.id))
    assert answer.ok, answer.message
    await until(client, lambda s: any(v.provenance == "tune" for v in s.candidates.values()))
    (engine,) = real.engine_pids()
    for pid in children(engine):  # judge, compiler, planner and runners, all at once
        if alive(pid):
            os.kill(pid, signal.SIGKILL)
    await until(
        client, lambda s: all(v.state in DONE for v in s.candidates.values()), "verdicts of the sweep"
    )
    swept = [v for v in client.state.candidates.values() if v.provenance == "tune"]
    assert [v.state for v in swept] == ["passed"] * len(swept)
    verdict = decode_verdict((await client.request(ReadVerdict(candidate=swept[0].id))).data)
    assert verdict.candidate.sha256 == swept[0].sha256
    await until(client, lambda s: s.functional is not None, "the functional form")

    below = children(engine)
    real.kill_engines()
    while any(map(alive, below)):  # judge, compiler, planner and runners end with their engine
        os.sched_yield()
    again = await real.open()
    before, after = client.state.candidates, again.state.candidates
    assert {i: (v.state, v.verdict) for i, v in after.items()} == {
        i: (v.state, v.verdict) for i, v in before.items()
    }


@pytest.mark.timeout(600)
async def test_a_candidate_that_hangs_is_cancelled_and_the_next_one_is_judged(real: World) -> None:
    client = await real.open()
    hang = (
        "/*@plan\ndef forward(x):\n    y = empty_like(x)\n"
        '    launch("k", grid=1, block=32, args=[x, y])\n    return y\n@*/\n'
        'extern "C" __global__ void k(const float* x, float* y) { while (true) y[threadIdx.x] += x[0]; }\n'
    )
    await until(client, lambda s: s.task is not None, "the task")
    answer = await client.request(SubmitCandidate(source=hang.encode(), name="hangs"))
    one = answer.candidate
    assert one is not None
    await until(client, lambda s: s.candidates[one].state == "judging" if one in s.candidates else False)
    assert (await client.request(CancelCandidate(candidate=one))).ok
    await until(client, lambda s: s.candidates[one].state == "cancelled")
    await until(client, lambda s: all(v.state in DONE for v in s.candidates.values()))
    assert any(v.state == "passed" for v in client.state.candidates.values())
