"""What screens see of an engine: a snapshot, then every event, the same for all; and what no screen can do to it."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from engine_world import PATIENCE_S, World, alive, children, until

from workbench.core.errors import SessionError
from workbench.core.events import Noticed
from workbench.core.messages import (
    Answer,
    Attach,
    Attached,
    CancelCandidate,
    EventHappened,
    MarkCandidate,
    ReadSource,
    ReadVerdict,
    SubmitCandidate,
)
from workbench.core.session import fold
from workbench.engine.journal import Journal
from workbench.engine.log import read_log
from workbench.engine.runtime import places, runtime_folder
from workbench.engine.server import QUEUE_BYTES, Server
from workbench.engine.sessions import create_folder
from workbench.engine.store import Store


async def test_a_client_gets_a_snapshot_and_then_every_event_of_the_log(opened: World) -> None:
    client = await opened.open()
    answer = await client.request(SubmitCandidate(source=b"one", name="one"))
    await until(
        client, lambda s: s.candidates["c0001"].state == "passed" if "c0001" in s.candidates else False
    )
    assert answer.ok and answer.candidate == "c0001"
    await client.request(MarkCandidate(candidate="c0001", mark="accepted", reason="fast"))
    await until(client, lambda s: s.candidates["c0001"].mark == "accepted")
    view = client.state.candidates["c0001"]
    assert (view.mark_author, view.mark_reason, view.author) == ("ada", "fast", "ada")
    assert (await client.request(ReadSource(candidate="c0001"))).data == b"one"
    assert b'"outcome":"pass"' in (await client.request(ReadVerdict(candidate="c0001"))).data
    log = read_log(opened.session / "events.jsonl")
    assert fold(event for event in log.events if event.seq <= client.state.seq) == client.state


async def test_all_screens_see_the_same(opened: World) -> None:
    ada = await opened.open(author="ada")
    bob = await opened.open(author="bob")
    assert len(opened.engine_pids()) == 1
    for i in range(5):
        await ada.request(SubmitCandidate(source=f"a{i}".encode(), name=f"a{i}"))
        await bob.request(SubmitCandidate(source=f"b{i}".encode(), name=f"b{i}"))
    for client in (ada, bob):
        await until(client, lambda s: sum(v.state == "passed" for v in s.candidates.values()) == 10)
    await bob.request(MarkCandidate(candidate="c0003", mark="shelved"))
    for client in (ada, bob):
        await until(client, lambda s: s.candidates["c0003"].mark_author == "bob" and s.functional is not None)
    carol = await opened.open(author="carol")
    assert carol.state == ada.state == bob.state


async def test_quitting_and_reopening_shows_the_same_population(opened: World) -> None:
    client = await opened.open()
    await client.request(SubmitCandidate(source=b"one", name="one"))
    await client.request(SubmitCandidate(source=b"FAILS", name="two"))
    await until(client, lambda s: [v.state for v in s.candidates.values()] == ["passed", "failed"])
    before = client.state.candidates
    assert (await client.stop_engine()).ok
    async for _ in client.messages():
        pass
    assert client.closed == "the engine ended"
    again = await opened.open()
    assert again.state.candidates == before
    assert again.session == str(opened.session)


async def test_new_starts_another_session_and_the_last_used_is_resumed(opened: World) -> None:
    first = await opened.open()
    await first.stop_engine()
    second = await opened.open(new=True)
    assert second.session != first.session
    assert (await opened.open()).session == second.session


async def test_two_engines_started_at_once_are_one(opened: World) -> None:
    clients = await asyncio.gather(*(opened.open() for _ in range(4)))
    assert len({client.session for client in clients}) == 1
    assert len([p for p in opened.sessions.iterdir() if p.is_dir()]) == 1


async def test_the_engine_goes_on_while_another_screen_is_attached(opened: World) -> None:
    ada, bob = await opened.open(), await opened.open(author="bob")
    refused = await ada.stop_engine()
    assert not refused.ok
    assert "another screen" in refused.message
    await bob.close()
    while not (await ada.stop_engine()).ok:
        await asyncio.sleep(0.05)


async def test_an_unknown_candidate_is_refused_in_one_sentence(opened: World) -> None:
    client = await opened.open()
    for message in (MarkCandidate(candidate="c9", mark=None), ReadSource(candidate="c9")):
        answer = await client.request(message)
        assert not answer.ok
        assert "no candidate c9" in answer.message


async def test_a_client_that_sends_garbage_is_disconnected_and_nobody_else_notices(opened: World) -> None:
    client = await opened.open()
    where = places(Path(client.session))
    for junk in (
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack("<I", 0xFFFFFFFF),
        struct.pack("<I", 5) + b"\xc1abcd",
        b"\x01",
    ):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(where.socket))
        connection.sendall(junk)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(PATIENCE_S)
        while await asyncio.to_thread(connection.recv, 1 << 16):
            pass
        connection.close()
    assert (await client.request(SubmitCandidate(source=b"x", name="x"))).ok


async def test_sockets_and_locks_are_the_users_alone(opened: World) -> None:
    client = await opened.open()
    where = places(Path(client.session))
    assert stat.S_IMODE(os.stat(runtime_folder()).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(where.socket).st_mode) == 0o600
    assert len(os.fsencode(where.socket)) <= 107


def test_a_runtime_folder_of_another_user_is_not_used(world: World) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can make a folder of another user")
    folder = world.runtime / "workbench"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    with pytest.raises(SessionError, match="belongs to another user"):
        runtime_folder()


def test_a_long_runtime_folder_still_gives_a_socket_path_that_is_short_enough(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = world.root / ("d" * 100)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    assert len(os.fsencode(places(world.root).socket)) <= 107


async def test_a_client_that_does_not_read_is_dropped_with_a_notice_and_never_slows_the_engine(
    tmp_path: Path,
) -> None:
    store, state = Store.open(create_folder(tmp_path / "s", "t.py"))
    journal = Journal(store, state)

    async def no_command(*_: object) -> Answer:
        raise AssertionError

    server = Server(journal, no_command, lambda: None)
    path = Path(os.environ["XDG_RUNTIME_DIR"]) / "slow.sock"
    await server.start(path)
    reader, writer = await asyncio.open_unix_connection(path)
    from workbench.core.wire import pack, read_frame_async

    writer.write(pack(Attach(author="sloth", version="1")))
    assert isinstance(await read_frame_async(reader, Attached | EventHappened), Attached)
    transport = writer.transport
    assert isinstance(transport, asyncio.Transport)
    transport.pause_reading()
    text = "x" * (1 << 20)
    for _ in range(QUEUE_BYTES // len(text) + 8):
        journal.record(Noticed(text=text))  # returns at once, whatever the client does
        await asyncio.sleep(0)
    assert server.clients == 0
    assert any("sloth stopped reading" in notice.text for notice in state.notices)
    writer.close()
    await server.close()
    path.unlink(missing_ok=True)


async def test_an_engine_without_a_screen_and_work_ends_by_itself(world: World) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-m",
            "workbench.engine",
            "--task",
            str(world.task),
            "--root",
            str(world.sessions),
            "--idle-s",
            "0.2",
        ]
    )
    assert await asyncio.to_thread(process.wait, PATIENCE_S) == 0


async def test_a_session_opened_while_its_engine_ends_gets_the_next_engine(opened: World) -> None:
    client = await opened.open()
    answer = await client.request(SubmitCandidate(source=b"HANGS", name="one"))
    await until(client, lambda s: any(v.state == "judging" for v in s.candidates.values()))
    assert (await client.stop_engine()).ok  # its judge does not let go of the candidate at once
    (ending,) = opened.engine_pids()
    again = await opened.open()
    assert again.session == client.session
    # Also where the first one took its time: this one has the log's last word and takes requests.
    assert (await again.request(CancelCandidate(candidate="c0001"))).ok
    await until(again, lambda s: s.candidates["c0001"].state == "cancelled")
    assert not alive(ending)
    assert answer.candidate in again.state.candidates
    assert [s._process is not None for s in opened.starts] == [True, True]


@pytest.mark.parametrize("number", [2, 15])
async def test_a_signal_ends_the_engine_and_all_its_children_and_removes_the_socket(
    opened: World, number: int
) -> None:
    client = await opened.open()
    await until(client, lambda s: s.task is not None)
    (pid,) = opened.engine_pids()
    below = children(pid)
    assert below
    opened.kill_engines(number)
    assert not places(Path(client.session)).socket.exists()
    assert not any(map(alive, below))


async def test_why_an_engine_cannot_start_reaches_the_client(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SessionError, match="no task"):
        await world.open(world.root / "missing.py")
    monkeypatch.setenv("WORKBENCH_SESSIONS", "/proc/none")
    with pytest.raises(SessionError, match="WORKBENCH_SESSIONS"):
        await world.open()
    monkeypatch.setenv("WORKBENCH_SESSIONS", str(world.sessions))
    good = world.config.read_text()
    world.config.write_text("[judge]\ntraget = 'host'\n")
    with pytest.raises(Exception, match="Did you mean target"):
        await world.open()
    world.config.write_text(good)
    assert not world.sessions.exists() or not any(p.is_dir() for p in world.sessions.iterdir())


async def test_a_damaged_session_is_refused_with_its_line(opened: World) -> None:
    client = await opened.open()
    await client.request(SubmitCandidate(source=b"x", name="x"))
    await client.stop_engine()
    opened.kill_engines()
    log = opened.session / "events.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([lines[0], b"damage\n", *lines[1:]]))
    with pytest.raises(SessionError, match=r"events.jsonl:2 is damaged"):
        await opened.open()
