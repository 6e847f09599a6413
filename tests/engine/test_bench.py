"""The engine and its judge: whose turn it is, what a death costs, what cancelling does, and what a saved task changes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest
from engine_world import SCRIPTED, World, alive, children, until

from workbench.core.candidate import CandidateView, State, VerdictSummary
from workbench.core.events import JudgingStarted, TaskLoaded
from workbench.core.messages import (
    CancelCandidate,
    MarkCandidate,
    ReadVerdict,
    SubmitCandidate,
    TuneCandidate,
    VerifyAgain,
)
from workbench.core.session import SessionState
from workbench.core.verdict import Outcome, decode_verdict
from workbench.engine.client import EngineClient
from workbench.engine.log import read_log
from workbench.engine.turns import Urgent, order

DONE = ("passed", "failed", "could not judge", "cancelled", "duplicate")


def all_done(state: SessionState) -> bool:
    return bool(state.candidates) and all(v.state in DONE for v in state.candidates.values())


def is_in(candidate: str, *states: str) -> Callable[[SessionState], bool]:
    return lambda s: candidate in s.candidates and s.candidates[candidate].state in states


async def submit(client: EngineClient, text: str, **fields: Any) -> str:
    answer = await client.request(SubmitCandidate(source=text.encode(), name=text[:20], **fields))
    assert answer.ok, answer.message
    assert answer.candidate is not None
    return answer.candidate


def judged_in_order(world: World) -> list[str]:
    return [
        e.candidate for e in read_log(world.session / "events.jsonl").events if isinstance(e, JudgingStarted)
    ]


async def test_a_candidate_that_kills_the_judge_twice_could_not_be_judged_and_the_next_one_is(
    opened: World,
) -> None:
    client = await opened.open()
    bad = await submit(client, "DIES")
    good = await submit(client, "good")
    await until(client, all_done)
    assert client.state.candidates[bad].state == "could not judge"
    assert client.state.candidates[good].state == "passed"
    assert judged_in_order(opened).count(bad) == 2
    verdict = decode_verdict((await client.request(ReadVerdict(candidate=bad))).data)
    assert verdict.outcome == "error"
    assert "killed by its candidate" in verdict.reason
    assert any("is judged once more" in n.text for n in client.state.notices)


async def test_a_judge_that_is_killed_is_started_again_and_the_candidate_judged(opened: World) -> None:
    client = await opened.open()
    await until(client, lambda s: s.functional is None and s.task is not None)
    slow = await submit(client, "SLOW")
    await until(client, is_in(slow, "judging"))
    (engine,) = opened.engine_pids()
    for pid in children(engine):
        os.kill(pid, signal.SIGKILL)
    await until(client, is_in(slow, "passed"))
    assert judged_in_order(opened).count(slow) == 2


async def test_a_queued_candidate_is_cancelled_at_once_and_a_running_one_soon(opened: World) -> None:
    client = await opened.open()
    running = await submit(client, "HANGS")
    waiting = await submit(client, "waits")
    await until(client, is_in(running, "judging"))
    assert (await client.request(CancelCandidate(candidate=waiting, reason="no need"))).ok
    await until(client, is_in(waiting, "cancelled"))
    assert client.state.candidates[running].state == "judging"
    assert (await client.request(CancelCandidate(candidate=running, reason="too slow"))).ok
    await until(client, is_in(running, "cancelled"))
    assert client.state.candidates[running].state_reason == "too slow"
    refused = await client.request(CancelCandidate(candidate=running))
    assert not refused.ok
    assert refused.message == f"{running} is cancelled and waits for nothing. Press v to have it judged."
    await client.request(SubmitCandidate(source=b"good", name="good"))
    await until(client, is_in("c0003", "passed"))
    refused = await client.request(CancelCandidate(candidate="c0003"))
    assert refused.message == "c0003 has its verdict. Press v to judge it again."


async def test_a_judge_that_ignores_a_cancel_is_ended_and_the_next_candidate_still_runs(
    opened: World,
) -> None:
    client = await opened.open()
    deaf = await submit(client, "DEAF")
    following = await submit(client, "next")
    await until(client, is_in(deaf, "judging"))
    await client.request(CancelCandidate(candidate=deaf))
    await until(client, is_in(following, "passed"))
    assert client.state.candidates[deaf].state == "cancelled"


async def test_a_person_does_not_wait_for_a_proposers_candidate(opened: World) -> None:
    client = await opened.open()
    proposed = await submit(client, "HANGS", provenance="some-model")
    await until(client, is_in(proposed, "judging"))
    mine = opened.candidate("mine.cu", "mine")
    await client.submit_file(mine)
    await until(client, is_in("c0002", "queued"))
    mine.write_text("mine, edited")  # what a person saves goes first, and what a proposer made is put back
    await until(client, is_in("c0003", "passed"))
    assert client.state.candidates[proposed].state in ("queued", "judging")


async def test_verdicts_of_a_saved_task_are_stale_and_redone_best_first(opened: World) -> None:
    client = await opened.open()
    ids = [await submit(client, text) for text in ("long " * 9, "FAILS", "short", "long " * 4)]
    await until(client, all_done)
    await client.request(MarkCandidate(candidate=ids[3], mark="rejected"))
    await until(client, lambda s: s.candidates[ids[3]].mark == "rejected")
    before = len(judged_in_order(opened))
    opened.task.write_text("# another task\n")
    await until(client, lambda s: s.revision == 2)
    assert {client.state.candidates[i].state for i in ids} <= {"stale", "judging"}
    await until(client, all_done)
    assert judged_in_order(opened)[before:] == [ids[2], ids[0], ids[1], ids[3]]
    verdict = decode_verdict((await client.request(ReadVerdict(candidate=ids[0]))).data)
    assert verdict.task.revision == 2
    assert (opened.session / "task" / "1" / "task.py").read_text() != "# another task\n"
    assert (opened.session / "task" / "2" / "task.py").read_text() == "# another task\n"


async def test_saving_the_task_without_a_change_is_no_new_revision(opened: World) -> None:
    client = await opened.open()
    done = await submit(client, "one")
    await until(client, is_in(done, "passed"))
    opened.task.write_text(opened.task.read_text())
    again = await submit(client, "two")
    await until(client, is_in(again, "passed"))
    assert client.state.revision == 1
    assert judged_in_order(opened) == [done, again]


async def test_a_broken_task_keeps_its_verdicts_and_says_why_and_works_again_once_repaired(
    opened: World,
) -> None:
    client = await opened.open()
    done = await submit(client, "one")
    await until(client, is_in(done, "passed"))
    good = opened.task.read_text()
    opened.task.write_text("BROKEN")
    await until(client, lambda s: s.task_error is not None)
    assert client.state.task_error == "The task has no Model. Write one."
    assert client.state.candidates[done].state == "passed"
    waiting = await submit(client, "two")
    opened.task.write_text(good)
    await until(client, is_in(waiting, "passed"))
    assert client.state.task_error is None
    assert client.state.revision == 1
    assert judged_in_order(opened).count(done) == 1


async def test_a_task_that_is_broken_from_the_start_is_said_and_loaded_once_it_is_repaired(
    opened: World,
) -> None:
    opened.task.write_text("BROKEN")
    client = await opened.open()
    await until(client, lambda s: s.task_error is not None)
    opened.task.write_text("fine")
    await until(client, lambda s: s.task is not None)
    assert (client.state.revision, client.state.task_error) == (1, None)


async def test_a_task_that_ends_the_judge_and_one_that_never_loads_can_be_repaired(opened: World) -> None:
    opened.task.write_text("CRASHES")
    client = await opened.open()
    await until(client, lambda s: any("exit code 7" in n.text for n in s.notices))
    opened.task.write_text("ENDLESS")
    await until(client, lambda s: client.progress.activity == "loading the task")
    opened.task.write_text("fine")
    await until(client, lambda s: s.task is not None)


async def test_a_task_saved_while_no_engine_ran_is_a_new_revision(opened: World) -> None:
    client = await opened.open()
    done = await submit(client, "one")
    await until(client, is_in(done, "passed"))
    opened.kill_engines()
    opened.task.write_text("# edited meanwhile\n")
    again = await opened.open()
    await until(again, lambda s: s.revision == 2 and s.candidates[done].state == "passed")


async def test_another_environment_makes_verdicts_stale_under_the_same_revision(
    opened: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await opened.open()
    done = await submit(client, "one")
    await until(client, is_in(done, "passed"))
    opened.kill_engines(signal.SIGTERM)
    monkeypatch.setenv("SCRIPTED_ENVIRONMENT", "a newer torch")
    again = await opened.open()
    await until(again, lambda s: s.task is not None and s.task.environment == "a newer torch")
    await until(again, is_in(done, "passed"))
    assert again.state.revision == 1
    assert judged_in_order(opened).count(done) == 2


async def test_the_same_tokens_are_a_duplicate_that_is_never_judged(opened: World) -> None:
    client = await opened.open()
    first = await submit(client, "__global__ void k() {}  // one")
    answer = await client.request(SubmitCandidate(source=b"__global__   void k()\n{ }\n", name="again"))
    second = answer.candidate
    assert second is not None and first in answer.message
    await until(client, all_done)
    assert client.state.candidates[second].duplicate_of == first
    assert client.state.candidates[second].state == "duplicate"
    assert judged_in_order(opened) == [first]
    again = await client.request(VerifyAgain(candidate=second))
    assert again.candidate == first
    await until(client, lambda s: judged_in_order(opened).count(first) == 2)


PLAN = """/*@plan
BLOCK = tune(256, [64, 128, 256, 512])
require(BLOCK < 512, "fits")

def forward(unlike_any_shipped):
    y = empty_like(unlike_any_shipped)
    launch("k", grid=64, block=BLOCK, args=[unlike_any_shipped, y])
    return y
@*/
extern "C" __global__ void k(const float* x, float* y) {}
"""


async def test_tuning_adds_a_child_for_each_other_setting_that_the_plan_takes(opened: World) -> None:
    client = await opened.open()
    parent = await submit(client, PLAN)
    refused = await client.request(TuneCandidate(candidate=parent))
    assert refused.ok or "Wait for its verdict" in refused.message
    await until(client, is_in(parent, "passed"))
    # The scripted judge names 128, 256 and 512 as choices; the plan excludes 512.
    answer = await client.request(TuneCandidate(candidate=parent))
    assert answer.ok, answer.message
    children_ = [v for v in client.state.candidates.values() if v.provenance == "tune"]
    await until(client, lambda s: any(v.provenance == "tune" for v in s.candidates.values()) and all_done(s))
    children_ = [v for v in client.state.candidates.values() if v.provenance == "tune"]
    assert [v.knobs for v in children_] == [{"BLOCK": 128}]
    assert children_[0].parents == (parent,)
    source = (opened.session / "candidates" / f"{children_[0].id}.cu").read_text()
    assert "BLOCK = tune(128, [64, 128, 256, 512])" in source
    again = await client.request(TuneCandidate(candidate=parent))
    assert "1 of them were here already" in again.message
    plain = await submit(client, "no knobs")
    await until(client, is_in(plain, "passed"))
    refused = await client.request(TuneCandidate(candidate=plain))
    assert not refused.ok
    assert "has no knobs" in refused.message


async def test_shipped_kernels_that_fit_are_proposed_once_and_judged(opened: World) -> None:
    opened.task.write_text("SHIPPED")
    client = await opened.open()
    await until(client, lambda s: s.last_proposals is not None and all_done(s))
    shipped = [v for v in client.state.candidates.values() if v.provenance == "archive"]
    assert shipped
    await client.stop_engine()
    opened.kill_engines()
    again = await opened.open()
    await until(again, lambda s: again.progress.judge == "ready")
    assert [v for v in again.state.candidates.values() if v.provenance == "archive"] == shipped


async def test_what_was_being_judged_when_the_engine_died_is_judged_after_reopening(opened: World) -> None:
    client = await opened.open()
    one = await submit(client, "HANGS")
    two = await submit(client, "two")
    await until(client, is_in(one, "judging"))
    opened.kill_engines()
    again = await opened.open()
    await until(again, is_in(one, "judging"))
    assert again.state.candidates[two].state == "queued"
    await again.request(CancelCandidate(candidate=one))
    await until(again, is_in(two, "passed"))


async def test_no_child_of_an_engine_outlives_its_kill(opened: World) -> None:
    client = await opened.open()
    hanging = await submit(client, "HANGS")
    await until(client, is_in(hanging, "judging"))
    (engine,) = opened.engine_pids()
    below = children(engine)
    assert below
    opened.kill_engines()
    for pid in below:
        while alive(pid):  # ends as soon as the kernel or its closed stdin tells it
            os.sched_yield()


def view(candidate: str, state: State, provenance: str, **fields: Any) -> CandidateView:
    return CandidateView(id=candidate, name="", sha256="", provenance=provenance, state=state, **fields)


def summary(rank: float | None, outcome: Outcome = "pass") -> VerdictSummary:
    return VerdictSummary(outcome=outcome, first_line="", basis="", revision=1, seconds=0, rank=rank)


def test_the_order_is_saved_then_people_then_proposers_then_stale_best_first() -> None:
    views = [
        view("stale-slow", "stale", "human", verdict=summary(9.0)),
        view("stale-failed", "stale", "human", verdict=summary(None, "fail")),
        view("stale-fast", "stale", "archive", verdict=summary(1.0)),
        view("stale-accepted", "stale", "tune", verdict=summary(5.0), mark="accepted"),
        view("stale-rejected", "stale", "tune", verdict=summary(0.5), mark="rejected"),
        view("model", "queued", "some-model"),
        view("put-back", "queued", "archive", verdict=summary(2.0)),
        view("mine", "queued", "human"),
        view("mine-too", "queued", "human"),
        view("saved", "queued", "human"),
        view("asked-later", "queued", "archive"),
        view("done", "passed", "human", verdict=summary(1.0)),
    ]
    state = SessionState(candidates={v.id: v for v in views})
    urgent = Urgent()
    for candidate in ("saved", "asked-later", "done"):
        urgent.add(candidate)
    assert order(state, urgent) == [
        "asked-later",
        "saved",
        "mine",
        "mine-too",
        "model",
        "stale-accepted",
        "stale-fast",
        "put-back",
        "stale-slow",
        "stale-failed",
        "stale-rejected",
    ]


def test_what_lost_its_judge_comes_before_all_but_what_a_person_just_asked_for() -> None:
    views = [
        view(c, "queued", p) for c, p in (("mine", "human"), ("saved", "human"), ("model", "some-model"))
    ]
    views += [view("lost", "queued", "some-model"), view("judged", "passed", "human", verdict=summary(1.0))]
    state = SessionState(candidates={v.id: v for v in views})
    urgent = Urgent()
    urgent.add("saved")
    assert order(state, urgent, ["lost", "judged"]) == ["saved", "lost", "mine", "model"]
    urgent.add("lost")  # each stands once
    assert order(state, urgent, ["lost"]) == ["lost", "saved", "mine", "model"]


async def test_a_judge_that_cannot_be_started_is_said_once_with_its_own_words(opened: World) -> None:
    (opened.root / "python").write_text("#!/bin/sh\necho no torch here >&2\nexit 3\n")
    client = await opened.open()
    await until(client, lambda s: client.progress.judge == "restarting")
    await submit(client, "waits")
    await until(client, lambda s: any("no torch here" in n.text for n in s.notices))
    (opened.root / "python").write_text(f"#!/bin/sh\nexec {sys.executable} {SCRIPTED}\n")
    await until(client, is_in("c0001", "passed"))
    assert sum("no torch here" in n.text for n in client.state.notices) == 1


async def test_a_task_whose_scalars_are_infinite_reopens_as_it_was_shown_and_is_not_recorded_again(
    opened: World,
) -> None:
    opened.task.write_text("INFINITE")
    client = await opened.open()
    state = await until(client, lambda s: s.task is not None and s.last_proposals is not None)
    assert state.task is not None
    values = [p.value for p in state.task.sizes[0].parameters[1:]]
    assert str(values) == "[inf, -inf, nan]"
    opened.kill_engines()
    again = await opened.open()
    await until(again, lambda s: again.progress.judge == "ready")
    assert again.state.task == state.task
    events = read_log(opened.session / "events.jsonl").events
    assert sum(isinstance(event, TaskLoaded) for event in events) == 1
