"""Rounds of work on a session in each of which one process is killed at a random moment, and what must hold then.

Every event that any screen was shown is in the log afterwards, word for word, and the session goes on: reopening
judges what was not judged. Used by a test (a few rounds) and by tests/bench/kill9.py (many).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
from engine_world import PATIENCE_S, World, alive, children

from workbench.core.candidate import CandidateView
from workbench.core.errors import SessionError
from workbench.core.events import Event, decode_event, encode_event
from workbench.core.messages import EventHappened, MarkCandidate, SubmitCandidate, VerifyAgain
from workbench.core.session import SessionState, fold
from workbench.engine.client import EngineClient
from workbench.engine.integrity import told_of
from workbench.engine.log import read_log
from workbench.engine.store import Store

BELOW = {
    "compiler": b"workbench.runner.compiler",
    "runner": b"workbench.runner.host",
    "planner": b"planner_process",
}
"""What the judge starts, by a word of its command line; the scripted judge has sleepers of these names."""
VICTIMS = ("engine", "judge", *BELOW, "client", "everything")
WAITING = ("queued", "judging", "stale")

CLIENT = """
import asyncio, os, sys
from workbench.core.events import encode_event
from workbench.core.messages import EventHappened
from workbench.engine.client import EngineStart, dial
from workbench.engine.runtime import places
async def main():
    connection = dial(places(sys.argv[1]).socket)  # a killed engine must not be started again by this screen
    if connection is None:
        return
    client = await EngineStart(connection=connection).connect(author="bob")
    await client.attach()
    os.write(1, b"attached\\n")
    async for message in client.messages():
        if isinstance(message, EventHappened):
            os.write(1, encode_event(message.event) + b"\\n")
asyncio.run(main())
"""


class Shown:
    """What screens were shown: every event, by number."""

    def __init__(self) -> None:
        self.events: dict[int, Event] = {}
        self.states: list[SessionState] = []

    def add(self, event: Event) -> None:
        known = self.events.setdefault(event.seq, event)
        assert known == event, f"two screens saw different events {event.seq}: {known} and {event}"

    def check(self, session: Path) -> None:
        """Every shown event is in the log as it was shown, and every shown state is what the log folds to."""
        contents = read_log(session / "events.jsonl")
        logged = {event.seq: event for event in contents.events}
        for seq, event in self.events.items():
            assert seq in logged, f"event {seq} was shown and is gone: {event}"
            assert encode_event(logged[seq]) == encode_event(event)
        for state in self.states:
            assert fold(e for e in contents.events if e.seq <= state.seq) == state
        assert [e.seq for e in contents.events] == list(range(1, len(contents.events) + 1))
        for view in fold(contents.events).candidates.values():
            assert view.verdict is None or _readable(session, view), f"the verdict of {view.id} is gone"


def _readable(session: Path, view: CandidateView) -> bool:
    """The verdict that the log tells of is in the folder, as an engine that opens it would read it."""
    with contextlib.suppress(SessionError):
        told_of(view, Store(session).read_verdict(view))
        return True
    # An engine that goes on may have reached another verdict since the log was read.
    now = fold(read_log(session / "events.jsonl").events).candidates[view.id]
    return now != view and _readable(session, now)


def victims(rng: random.Random, rounds: int) -> list[str]:
    """Whom to kill in each round: everyone equally often, in a random order."""
    whole = [
        victim for _ in range(-(-rounds // len(VICTIMS))) for victim in rng.sample(VICTIMS, len(VICTIMS))
    ]
    return whole[:rounds]


async def one_round(
    world: World,
    rng: random.Random,
    shown: Shown,
    victim: str,
    *,
    sources: list[bytes],
    limit_s: float,
    waiting: int = 1000,
) -> None:
    """Open, work, kill `victim` within `limit_s` seconds (or as soon as it runs, where that is later), and check.

    Args:
        victim: one of `VICTIMS`.
        sources: candidates to submit, each varied so that it is no duplicate.
        waiting: while so many wait for the judge, none is submitted: what a slow judge leaves is judged at the end.
    """
    client = await world.open(author="ada")
    shown.states.append(msgspec.msgpack.decode(msgspec.msgpack.encode(client.state), type=SessionState))
    reading = asyncio.create_task(_read(client, shown))
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", CLIENT, client.session],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    working = asyncio.create_task(_work(world, client, rng, sources, waiting))
    await asyncio.sleep(rng.random() * limit_s)
    await _kill(world, victim, process, rng)
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError, SessionError):
        await working
    process.kill()
    assert process.stdout is not None
    for line in process.stdout.read().splitlines(keepends=True):
        if line.endswith(b"\n") and line != b"attached\n":
            shown.add(decode_event(line))
    process.wait()
    if victim in ("engine", "everything"):
        done, _ = await asyncio.wait({reading}, timeout=PATIENCE_S)
        assert done, (
            f"{victim} was killed, but the screen's connection stays: {client._reading}, {world.engine_pids()}"
        )
    reading.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reading
    shown.states.append(msgspec.msgpack.decode(msgspec.msgpack.encode(client.state), type=SessionState))
    await client.close()
    shown.check(Path(client.session))


async def settle(world: World, shown: Shown) -> SessionState:
    """Open once more and wait until everything has a verdict."""
    client = await world.open(author="ada")
    async with asyncio.timeout(10 * PATIENCE_S):
        while any(view.state in WAITING for view in client.state.candidates.values()):
            async for message in client.messages():
                if isinstance(message, EventHappened):
                    shown.add(message.event)
                    break
            else:
                raise AssertionError(f"the engine ended: {client.closed}")
    shown.check(Path(client.session))
    state = client.state
    await client.stop_engine(force=True)
    await client.close()
    return state


async def _read(client: EngineClient, shown: Shown) -> None:
    async for message in client.messages():
        if isinstance(message, EventHappened):
            shown.add(message.event)


async def _work(
    world: World, client: EngineClient, rng: random.Random, sources: list[bytes], waiting: int
) -> None:
    mine = world.root / "mine.cu"
    while True:
        source = rng.choice(sources) + b"\nstatic const int number_%d = 0;\n" % rng.getrandbits(40)
        known = list(client.state.candidates)
        full = sum(view.state in WAITING for view in client.state.candidates.values()) >= waiting
        match 3 if full else rng.randrange(6):
            case 0 | 1:
                await client.request(
                    SubmitCandidate(source=source, name="submitted", parents=tuple(known[-1:]))
                )
            case 2:
                mine.write_bytes(source)
                await client.submit_file(mine)
            case 3 if known:
                await client.request(
                    MarkCandidate(candidate=rng.choice(known), mark="accepted", reason="é\n")
                )
            case 4 if known:
                await client.request(VerifyAgain(candidate=rng.choice(known)))
            case 5 if rng.random() < 0.2:
                world.task.write_text(world.task.read_text() + "\n# saved\n")
        await asyncio.sleep(rng.random() * 0.05)


async def _kill(world: World, victim: str, process: subprocess.Popen[bytes], rng: random.Random) -> None:
    """kill -9 whom `victim` names, once it is there; whoever was hit, and what an engine started, is dead afterwards."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            engines = world.engine_pids()
            judges = [child for engine in engines for child in _children_of(engine)]
            below = [pid for judge in judges for pid in children(judge)]
            match victim:
                case "engine":
                    chosen = engines
                case "judge":
                    chosen = judges[:1]
                case "client":
                    chosen = [process.pid]
                case "everything":
                    chosen = [*engines, *judges, *below, process.pid] if engines else []
                case _:
                    named = [pid for pid in below if BELOW[victim] in _command(pid) and alive(pid)]
                    chosen = rng.sample(named, 1) if named else []
            if hit := [pid for pid in chosen if _killed(pid)]:
                break
            await asyncio.sleep(0.01)  # what was killed before is still being started again
    gone = hit
    if victim in ("engine", "everything"):
        world.kill_engines()
        gone = [*hit, *judges, *below]
    for pid in gone:
        # What the engine started ends with it: its successor must not share the device with a forgotten judge.
        for _ in range(2000):
            if not alive(pid):
                break
            os.sched_yield()
            signal.sigtimedwait([], 0.01)
        assert not alive(pid), f"{pid} outlived its engine"


def _killed(pid: int) -> bool:
    """Whether it ran until now."""
    if not alive(pid):
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _children_of(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found.extend(map(int, path.read_text().split()))
    return found
