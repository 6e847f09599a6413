"""The fold: any events in any order give a state, and a replay of the log gives the same one as living through it."""

from __future__ import annotations

import msgspec
from hypothesis import given, note
from hypothesis import strategies as st

from workbench.core import events as ev
from workbench.core.candidate import VerdictSummary
from workbench.core.messages import Attached, EngineProgress, FromEngine
from workbench.core.plan import Knob
from workbench.core.session import SessionState, fold
from workbench.core.task import FunctionalForm, TaskInfo

ids = st.sampled_from(["c0001", "c0002", "c0003", "other"])
words = st.text(max_size=20)
marks = st.sampled_from(["accepted", "rejected", "shelved", None])


def info(fingerprint: str, environment: str) -> TaskInfo:
    return TaskInfo(
        name="t",
        path="t.py",
        fingerprint=fingerprint,
        environment=environment,
        source="",
        sources=(),
        sizes=(),
        derived_small=False,
    )


infos = st.builds(info, st.sampled_from("ab"), st.sampled_from("xy"))
summaries = st.builds(
    VerdictSummary,
    outcome=st.sampled_from(["pass", "fail", "error"]),
    first_line=words,
    basis=st.sampled_from(["a:x", "a:y", "b:x"]),
    revision=st.integers(1, 3),
    seconds=st.floats(0, 10),
    rank=st.none() | st.floats(0, 10),
)
revisions = st.integers(0, 4)
one_event = st.one_of(
    st.builds(ev.SessionStarted, task_path=words, task_name=words, version=words, target=words),
    st.builds(ev.SessionResumed, version=words),
    st.builds(ev.TaskLoaded, revision=revisions, info=infos),
    st.builds(ev.TaskBroken, message=words),
    st.builds(
        ev.FunctionalFormFound, revision=revisions, form=st.builds(FunctionalForm, words, st.booleans())
    ),
    st.builds(
        ev.CandidateAdded,
        candidate=ids,
        name=words,
        sha256=words,
        provenance=words,
        parents=st.tuples(ids),
        duplicate_of=st.none() | ids,
    ),
    st.builds(ev.CandidateQueued, candidate=ids),
    st.builds(ev.JudgingStarted, candidate=ids, revision=revisions),
    st.builds(ev.VerdictReached, candidate=ids, summary=summaries, knobs=st.just((Knob("B", 1, (1, 2)),))),
    st.builds(ev.CandidateCancelled, candidate=ids, reason=words),
    st.builds(ev.CandidateMarked, candidate=ids, mark=marks, reason=words, author=words),
    st.builds(ev.ProposalsMade, proposer=words, summary=words),
    st.builds(ev.Noticed, text=words),
)
logs = st.lists(one_event, max_size=40).map(
    lambda events: [msgspec.structs.replace(e, seq=i, at=float(i)) for i, e in enumerate(events, 1)]
)


@given(logs)
def test_any_events_in_any_order_give_a_state_and_a_replay_gives_the_same(log: list[ev.Event]) -> None:
    live = SessionState()
    for event in log:
        live.apply(event)
    note(str(log))
    replayed = fold(ev.decode_event(ev.encode_event(event)) for event in log)
    assert replayed == live
    assert live.seq == len(log)


@given(logs, st.data())
def test_a_snapshot_and_the_events_after_it_give_the_same_as_all_events(
    log: list[ev.Event], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(log)))
    sent = Attached(state=fold(log[:cut]), session="s", version="1", progress=EngineProgress())
    received = msgspec.msgpack.decode(msgspec.msgpack.encode(sent), type=FromEngine)
    for event in log[cut:]:
        received.state.apply(event)
    assert received.state == fold(log)


@given(logs)
def test_no_candidate_counts_as_judged_under_another_task_than_the_present_one(log: list[ev.Event]) -> None:
    state = fold(log)
    for view in state.candidates.values():
        if view.state in ("passed", "failed") and state.task is not None:
            assert view.verdict is not None
            assert view.verdict.basis == state.task.basis


@given(logs)
def test_after_a_restart_nothing_is_being_judged(log: list[ev.Event]) -> None:
    state = fold([*log, ev.SessionResumed(version="1")])
    assert all(view.state != "judging" for view in state.candidates.values())
