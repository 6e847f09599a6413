"""Two real judges of one session on the host target: everything is judged once, and one's death costs no verdict."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from engine_world import World, alive, children, until
from kill9_rounds import _children_of

from workbench.core.events import JudgingStarted, TaskLoaded, VerdictReached
from workbench.core.messages import CancelCandidate, SubmitCandidate
from workbench.core.session import SessionState
from workbench.engine.log import read_log

ROOT = Path(__file__).resolve().parent.parent.parent
DONE = ("passed", "failed", "could not judge", "cancelled", "duplicate")

pytestmark = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")),
    reason="no C++ compiler, so the host target judges nothing",
)

HANGS = (
    "/*@plan\ndef forward(x):\n    y = empty_like(x)\n"
    '    launch("k", grid=1, block=32, args=[x, y])\n    return y\n@*/\n'
    'extern "C" __global__ void k(const float* x, float* y) {{ while (true) y[threadIdx.x] += x[{0}]; }}\n'
)


def are(state: str, *candidates: str) -> Callable[[SessionState], bool]:
    return lambda s: all(c in s.candidates and s.candidates[c].state == state for c in candidates)


@pytest.mark.timeout(600)
async def test_two_real_judges_share_a_session_and_the_death_of_one_loses_nothing(opened: World) -> None:
    opened.config.write_text('[judge]\ntarget = "host"\njudges = 2\ntimeout_s = 900\n')
    shutil.copy(ROOT / "tasks" / "softmax.py", opened.task)
    client = await opened.open()
    await until(client, lambda s: s.last_proposals is not None, "shipped kernels")
    shipped = [v.id for v in client.state.candidates.values()]
    source = (opened.session / "candidates" / f"{shipped[0]}.cu").read_text()
    edits = [source.replace("expf(", f"{factor} * expf(", 1) for factor in ("1.0f", "1.001f")]
    edited = [
        (await client.request(SubmitCandidate(source=text.encode(), name="edit"))).candidate or ""
        for text in edits
    ]
    await until(client, lambda s: all(v.state in DONE for v in s.candidates.values()), "verdicts")
    states = {v.id: v.state for v in client.state.candidates.values()}
    assert len(states) >= 4
    assert [states[i] for i in shipped] == ["passed"] * len(shipped)
    events = read_log(opened.session / "events.jsonl").events
    reached = Counter(e.candidate for e in events if isinstance(e, VerdictReached))
    assert reached == Counter(states.keys())
    assert Counter(e.candidate for e in events if isinstance(e, JudgingStarted)) == reached
    assert sum(isinstance(e, TaskLoaded) for e in events) == 1  # the same task in both judges
    await until(client, lambda _: client.progress.working == 2, "the second judge")

    # Both are held by a kernel that hangs; then one is killed with all that it started.
    one, other = [
        (await client.request(SubmitCandidate(source=HANGS.format(n).encode(), name="hangs"))).candidate or ""
        for n in (0, 1)
    ]
    await until(client, are("judging", one, other), "both judging")
    (engine,) = opened.engine_pids()
    judges = _children_of(engine)
    assert len(judges) == 2
    for pid in [judges[0], *children(judges[0])]:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)
    await until(client, lambda s: any("is judged once more" in n.text for n in s.notices), "the death")
    (text,) = [n.text for n in client.state.notices if "is judged once more" in n.text]
    moved, stayed = (one, other) if f"It was judging {one}" in text else (other, one)
    assert client.state.candidates[stayed].state == "judging"
    await client.request(CancelCandidate(candidate=stayed))
    await until(client, are("cancelled", stayed))
    await until(client, are("judging", moved), "the other judge takes it")
    await client.request(CancelCandidate(candidate=moved))
    await until(client, are("cancelled", moved))
    last = (
        await client.request(
            SubmitCandidate(source=edits[0].encode() + b"\nstatic const int n = 0;", name="last")
        )
    ).candidate
    assert last is not None
    await until(client, are(states[edited[0]], last))
    events = read_log(opened.session / "events.jsonl").events
    assert Counter(e.candidate for e in events if isinstance(e, VerdictReached)) == Counter([*states, last])
