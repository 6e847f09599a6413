"""A whole engine on a full or read-only disk: one clear sentence, what was shown stays, and it goes on once it can."""

from __future__ import annotations

import resource
import subprocess
from pathlib import Path

import pytest
from engine_world import World, until
from kill9_rounds import Shown

from workbench.core.errors import SessionError
from workbench.core.events import CandidateAdded
from workbench.core.messages import (
    CancelCandidate,
    EventHappened,
    MarkCandidate,
    ReadSource,
    ReadVerdict,
    SubmitCandidate,
    VerifyAgain,
)
from workbench.engine.client import EngineClient


@pytest.fixture
def cramped(opened: World, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world whose sessions are on a disk of 256 KiB."""
    opened.sessions = small_disk / "sessions"
    monkeypatch.setenv("WORKBENCH_SESSIONS", str(opened.sessions))
    return opened


def remount(world: World, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(world.sessions.parent)], check=True)


def fill(ballast: Path) -> None:
    with open(ballast, "wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(b"x" * 4096)


async def passed(client: EngineClient, text: str) -> str:
    candidate = (await client.request(SubmitCandidate(source=text.encode(), name=text[:9]))).candidate
    assert candidate is not None
    await until(client, lambda s: candidate in s.candidates and s.candidates[candidate].state == "passed")
    return candidate


async def test_a_full_disk_refuses_in_one_sentence_keeps_what_was_shown_and_goes_on_with_room(
    cramped: World,
) -> None:
    client = await cramped.open()
    watching = await cramped.open(author="eve")  # reads what it was shown at the end
    done = await passed(client, "one")
    ballast = cramped.sessions / "ballast"
    fill(ballast)
    refused = await client.request(SubmitCandidate(source=b"two" * 3000, name="two"))
    assert not refused.ok
    assert "full disk" in refused.message and "Free some space" in refused.message
    marked = True
    while marked:  # the log's last block may have room for a few more
        marked = (await client.request(MarkCandidate(candidate=done, mark="accepted", reason="r" * 900))).ok
    assert (await client.request(ReadSource(candidate=done))).data == b"one"
    second = await cramped.open(author="bob")
    assert second.state.candidates[done].state == "passed"
    ballast.unlink()
    third = await passed(client, "three")
    shown = Shown()
    shown.states += [client.state, second.state]
    async for message in watching.messages():
        if isinstance(message, EventHappened):
            shown.add(message.event)
        if third in watching.state.candidates and watching.state.candidates[third].state == "passed":
            break
    assert third in [event.candidate for event in shown.events.values() if isinstance(event, CandidateAdded)]
    shown.check(cramped.session)


async def test_a_verdict_that_was_reached_while_nothing_could_be_written_is_kept_for_later(
    opened: World,
) -> None:
    client = await opened.open()
    await until(client, lambda s: s.functional is not None)
    slow = (await client.request(SubmitCandidate(source=b"SLOW", name="slow"))).candidate
    assert slow is not None
    await until(client, lambda s: slow in s.candidates and s.candidates[slow].state == "judging")
    (engine,) = opened.engine_pids()
    before = resource.prlimit(engine, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    await until(client, lambda s: "may not grow" in client.progress.activity)
    refused = await client.request(MarkCandidate(candidate=slow, mark="accepted"))
    assert "may not grow" in refused.message
    refused = await client.request(CancelCandidate(candidate=slow))
    assert refused.message == f"The verdict of {slow} is reached and waits for the disk. Free some space."
    assert client.state.candidates[slow].state == "judging"
    resource.prlimit(engine, resource.RLIMIT_FSIZE, before)
    await until(client, lambda s: s.candidates[slow].state == "passed")


async def test_a_verdict_that_was_shown_stays_readable_where_its_successor_never_came_into_the_log(
    opened: World,
) -> None:
    client = await opened.open()
    done = await passed(client, "SLOW")
    await until(client, lambda s: s.functional is not None)
    before = (await client.request(ReadVerdict(candidate=done))).data
    await client.request(VerifyAgain(candidate=done))
    await until(client, lambda s: s.candidates[done].state == "judging")
    (engine,) = opened.engine_pids()
    log = opened.session / "events.jsonl"
    assert log.stat().st_size > 2 * len(before)  # so that the new verdict's file may be as long as it likes
    resource.prlimit(engine, resource.RLIMIT_FSIZE, (log.stat().st_size, resource.RLIM_INFINITY))
    await until(client, lambda s: "may not grow" in client.progress.activity)
    assert (await client.request(ReadVerdict(candidate=done))).data == before
    opened.kill_engines()
    opened.task.write_text("BROKEN")  # so that it is not judged again
    again = await opened.open()
    assert (await again.request(ReadVerdict(candidate=done))).data == before
    assert [path.name for path in (opened.session / "verdicts").iterdir()] == [f"{done}.json"]


async def test_a_session_on_a_read_only_disk_opens_and_shows_what_it_has(cramped: World) -> None:
    client = await cramped.open()
    done = await passed(client, "one")
    before = client.state.candidates
    cramped.kill_engines()
    remount(cramped, "ro")
    again = await cramped.open()
    assert again.state.candidates == before
    await until(again, lambda s: "is read-only" in again.progress.activity)
    assert again.progress.judge == "stopped"
    assert (await again.request(ReadSource(candidate=done))).ok
    assert not (await again.request(SubmitCandidate(source=b"two", name="two"))).ok
    remount(cramped, "rw")
    await passed(again, "two")


async def test_a_new_session_on_a_read_only_or_full_disk_is_refused_and_leaves_nothing(
    cramped: World,
) -> None:
    remount(cramped, "ro")
    with pytest.raises(SessionError, match="WORKBENCH_SESSIONS"):
        await cramped.open()
    remount(cramped, "rw")
    fill(cramped.sessions.parent / "ballast")
    with pytest.raises(SessionError, match=r"full disk|No space"):
        await cramped.open()
    assert not cramped.sessions.exists() or not any(p.is_dir() for p in cramped.sessions.iterdir())
