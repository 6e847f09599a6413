"""Several judges of one session: each candidate is judged once, by whichever is free, whatever becomes of the others."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from engine_world import PATIENCE_S, SCRIPTED, World, children, until

from workbench.core.events import (
    Event,
    JudgingStarted,
    SessionStarted,
    TaskBroken,
    TaskLoaded,
    VerdictReached,
)
from workbench.core.messages import CancelCandidate, ReadVerdict, SubmitCandidate, VerifyAgain
from workbench.core.session import SessionState
from workbench.core.verdict import decode_verdict
from workbench.engine import seat as engine_seat
from workbench.engine.bench import Bench
from workbench.engine.client import EngineClient
from workbench.engine.journal import Journal
from workbench.engine.log import read_log
from workbench.engine.population import NewCandidate, Population
from workbench.engine.seat import Post
from workbench.engine.sessions import create_folder
from workbench.engine.store import Store
from workbench.engine.tasks import TaskRevisions

DONE = ("passed", "failed", "could not judge", "cancelled", "duplicate")


@pytest.fixture
def two(opened: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A machine whose user has set two judges; each says in `root/who` which candidate it has."""
    opened.config.write_text(opened.config.read_text() + "judges = 2\n")
    (opened.root / "who").mkdir()
    monkeypatch.setenv("SCRIPTED_FOLDER", str(opened.root / "who"))
    return opened


def go(world: World) -> None:
    """What waits may pass."""
    (world.root / "who" / "go").write_text("")


def who(world: World, candidate: str) -> int:
    """The process that has, or had last, `candidate`."""
    return int((world.root / "who" / candidate).read_text())


def all_done(state: SessionState) -> bool:
    return bool(state.candidates) and all(v.state in DONE for v in state.candidates.values())


def are(state: str, *candidates: str) -> Callable[[SessionState], bool]:
    return lambda s: all(c in s.candidates and s.candidates[c].state == state for c in candidates)


async def submit(client: EngineClient, text: str, **fields: object) -> str:
    answer = await client.request(SubmitCandidate(source=text.encode(), name=text[:20], **fields))  # type: ignore[arg-type]  # each test names fields of their own types
    assert answer.candidate is not None, answer.message
    return answer.candidate


def logged(world: World) -> list[Event]:
    return list(read_log(world.session / "events.jsonl").events)


def times(events: list[Event], kind: type) -> Counter[str]:
    return Counter(e.candidate for e in events if isinstance(e, kind))  # type: ignore[attr-defined]  # every `kind` is of a candidate


async def two_hanging(world: World, client: EngineClient, word: str = "WAITS") -> tuple[str, str]:
    """Two candidates that two judges have at the same time, once both have written so."""
    one, other = await submit(client, f"{word} one"), await submit(client, f"{word} other")
    await until(client, are("judging", one, other))
    async with asyncio.timeout(PATIENCE_S):
        while not all(
            (world.root / "who" / c).exists() and (world.root / "who" / c).read_text() for c in (one, other)
        ):
            await asyncio.sleep(0.01)
    assert who(world, one) != who(world, other)
    return one, other


async def test_two_judges_work_at_the_same_time_and_judge_each_candidate_exactly_once(two: World) -> None:
    client = await two.open()
    first = await two_hanging(two, client)
    await until(client, lambda _: {c.candidate for c in client.progress.judging} == set(first))
    assert (client.progress.judges, client.progress.working) == (2, 2)
    others = [await submit(client, text) for text in ("a", "b FAILS", "c SLOW", "d", "e", "f KNOBS")]
    go(two)
    await until(client, all_done)
    events = logged(two)
    assert times(events, JudgingStarted) == times(events, VerdictReached) == Counter([*first, *others])
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    for candidate in (*first, *others):
        verdict = decode_verdict((await client.request(ReadVerdict(candidate=candidate))).data)
        assert verdict.candidate.id == candidate and verdict.task.revision == 1
    assert sum(isinstance(e, TaskLoaded) for e in events) == 1
    again = await client.request(VerifyAgain(candidate=others[0]))
    assert again.ok
    await until(client, lambda s: times(logged(two), VerdictReached)[others[0]] == 2 and all_done(s))


async def test_a_candidate_whose_judge_is_killed_is_judged_by_the_other(two: World) -> None:
    client = await two.open()
    one, other = await two_hanging(two, client)
    waiting = await submit(client, "waits for its turn")
    dead, left = who(two, one), who(two, other)
    os.kill(dead, signal.SIGKILL)
    await until(client, lambda s: any(f"It was judging {one}" in n.text for n in s.notices))
    go(two)
    await until(client, are("passed", one, other, waiting))
    assert who(two, one) == left  # the judge that died comes back, and is not risked again under it
    assert times(logged(two), JudgingStarted)[one] == 2
    assert times(logged(two), VerdictReached) == Counter([one, other, waiting])


async def test_cancelling_reaches_the_judge_that_has_the_candidate_and_no_other(two: World) -> None:
    client = await two.open()
    one, other = await two_hanging(two, client)
    assert (await client.request(CancelCandidate(candidate=other, reason="no need"))).ok
    await until(client, are("cancelled", other))
    assert client.state.candidates[one].state == "judging"
    go(two)
    await until(client, are("passed", one))
    assert times(logged(two), JudgingStarted) == Counter([one, other])


async def test_a_judge_that_ignores_a_cancel_is_ended_and_the_other_is_not_disturbed(two: World) -> None:
    client = await two.open()
    one, deaf = await submit(client, "WAITS"), await submit(client, "DEAF")
    await until(client, are("judging", one, deaf))
    assert (await client.request(CancelCandidate(candidate=deaf))).ok
    await until(client, are("cancelled", deaf))
    go(two)
    await until(client, are("passed", one))
    assert times(logged(two), JudgingStarted)[one] == 1


async def test_a_task_saved_while_two_judge_is_one_revision_under_which_both_judge_again(two: World) -> None:
    client = await two.open()
    one, other = await two_hanging(two, client)
    two.task.write_text("# another task\n")
    await until(client, lambda s: s.revision == 2)
    go(two)
    await until(client, are("passed", one, other))
    for candidate in (one, other):
        verdict = decode_verdict((await client.request(ReadVerdict(candidate=candidate))).data)
        assert verdict.task.revision == 2
    assert [e.revision for e in logged(two) if isinstance(e, TaskLoaded)] == [1, 2]
    await until(client, lambda _: client.progress.working == 2)


async def test_a_broken_task_is_said_once_and_two_judges_go_on_when_it_is_repaired(two: World) -> None:
    client = await two.open()
    done = await submit(client, "one")
    await until(client, are("passed", done))
    good = two.task.read_text()
    two.task.write_text("BROKEN")
    await until(client, lambda s: s.task_error is not None)
    one, other = await submit(client, "WAITS one"), await submit(client, "WAITS other")
    two.task.write_text(good)
    await until(client, are("judging", one, other))
    go(two)
    await until(client, all_done)
    assert sum(isinstance(e, TaskBroken) for e in logged(two)) == 1
    assert times(logged(two), VerdictReached) == Counter([done, one, other])


async def test_what_two_judges_had_when_the_engine_died_is_judged_after_reopening(two: World) -> None:
    client = await two.open()
    one, other = await two_hanging(two, client)
    (engine,) = two.engine_pids()
    below = children(engine)
    two.kill_engines()
    again = await two.open()
    await until(again, are("judging", one, other))
    go(two)
    await until(again, are("passed", one, other))
    assert who(two, one) not in below and who(two, other) not in below
    assert times(logged(two), VerdictReached) == Counter([one, other])


async def test_a_person_takes_one_proposers_judge_and_not_both(two: World) -> None:
    client = await two.open()
    mine = two.candidate("mine.cu", "WAITS mine")
    await client.submit_file(mine)  # what is saved later is urgent
    await until(client, are("judging", "c0001"))
    proposed = [await submit(client, f"HANGS {n}", provenance="some-model") for n in (1, 2)]
    go(two)
    await until(client, are("judging", *proposed))
    mine.write_text("mine, saved")
    await until(
        client, lambda s: any(v.state == "passed" and "c0001" in v.parents for v in s.candidates.values())
    )
    await until(client, are("judging", *proposed))
    started = times(logged(two), JudgingStarted)
    assert sorted(started[candidate] for candidate in proposed) == [1, 2]


# --- in this process, where the waits between starts can be short --------------------------------------------------


class Pool:
    """A bench with its own session, and candidates put into it."""

    def __init__(self, root: Path, posts: list[Post], command: list[str]) -> None:
        self.task = root / "task.py"
        self.task.write_text("# a task\n")
        store, self.state = Store.open(create_folder(root / "sessions", str(self.task)))
        self.journal = Journal(store, self.state)
        self.journal.record(
            SessionStarted(task_path=str(self.task), task_name="task", version="1", target="host")
        )
        task = TaskRevisions(
            self.journal, task=str(self.task), target="host", arch=None, timeout_s=None, limit_s=60.0
        )
        self.bench = Bench(self.journal, task, command=command, propose=self._nothing)
        self.population = Population(self.journal)
        self.posts = posts
        self._changed = asyncio.Event()
        self.said: set[str] = set()
        """Every activity that was shown."""
        self.journal.listen(self._hear)

    def _hear(self, _: object) -> None:
        self.said.add(self.journal.progress.activity)
        self._changed.set()

    async def _nothing(self) -> None:
        return

    async def add(self, text: str) -> str:
        added = await self.population.add(NewCandidate(source=text.encode(), name=text, provenance="human"))
        self.bench.wake()
        return added.candidate

    async def until(self, holds: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not holds():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            notices = [n.text for n in self.state.notices]
            states = {v.id: v.state for v in self.state.candidates.values()}
            pytest.fail(f"never came: {self.journal.progress}; {states}; {notices}")

    def done(self) -> bool:
        return all_done(self.state)

    def notices(self) -> str:
        return "\n".join(n.text for n in self.state.notices)

    def events(self) -> list[Event]:
        return list(read_log(self.journal.store.folder / "events.jsonl").events)


@pytest.fixture
async def pooled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Pool]]:
    """Makes a running pool; two posts that differ in CUDA_VISIBLE_DEVICES where none are given."""
    monkeypatch.setattr(engine_seat, "BACKOFF_S", (0.01,) * 5)
    running: list[asyncio.Task[None]] = []
    pools: list[Pool] = []

    def make(posts: list[Post] | None = None, command: list[str] | None = None) -> Pool:
        gpus = [Post(name=f"The judge on GPU {n}", env={"CUDA_VISIBLE_DEVICES": str(n)}) for n in (0, 1)]
        pool = Pool(tmp_path, posts or gpus, command or [sys.executable, str(SCRIPTED)])
        pools.append(pool)

        async def run() -> None:
            await pool.population.load()
            await pool.bench.run(pool.posts)

        running.append(asyncio.create_task(run()))
        return pool

    yield make
    for task in running:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    for pool in pools:
        pool.journal.store.close()


async def test_a_judge_that_never_starts_is_taken_out_by_name_and_the_other_judges_everything(
    pooled: Callable[..., Pool], tmp_path: Path
) -> None:
    once = tmp_path / "once"
    once.write_text(
        f"#!/bin/sh\nif mkdir {tmp_path}/taken 2>/dev/null; then exec {sys.executable} {SCRIPTED}; fi\n"
        "echo out of memory >&2\nexit 3\n"
    )
    once.chmod(0o755)
    pool = pooled([Post(name="Judge 1"), Post(name="Judge 2")], [str(once)])
    ids = [await pool.add(text) for text in ("a", "b", "c", "d")]
    await pool.until(lambda: "is taken out" in pool.notices() and pool.done())
    assert {pool.state.candidates[i].state for i in ids} == {"passed"}
    (notice,) = [n for n in pool.state.warnings if "is taken out" in n.text]
    assert notice.text.startswith(("Judge 1 is taken out", "Judge 2 is taken out"))
    assert "one judge goes on" in notice.text and "out of memory" in notice.text
    last = await pool.add("e")
    await pool.until(lambda: pool.state.candidates[last].state == "passed")
    assert (pool.journal.progress.judges, pool.journal.progress.working) == (2, 1)
    assert times(pool.events(), VerdictReached) == Counter([*ids, last])


async def test_a_device_under_which_every_candidate_dies_is_taken_out_and_no_candidate_is_blamed(
    pooled: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRIPTED_FAULTY", "1")
    pool = pooled()
    ids: list[str] = []
    while "is taken out" not in pool.notices():
        ids += [await pool.add(f"number {len(ids) + n}") for n in range(4)]
        await pool.until(pool.done)
        assert len(ids) < 4000, pool.notices()
    await pool.until(pool.done)
    assert {pool.state.candidates[i].state for i in ids} == {"passed"}
    assert "The judge on GPU 1 is taken out" in pool.notices()
    for candidate in ids:
        verdict = decode_verdict(pool.journal.store.read_verdict(pool.state.candidates[candidate]))
        assert verdict.device["visible"] == "0"
    assert times(pool.events(), VerdictReached) == Counter(ids)


async def test_candidates_that_kill_every_judge_are_at_fault_and_no_judge_is_taken_out(
    pooled: Callable[..., Pool],
) -> None:
    pool = pooled()
    bad = [await pool.add(f"DIES {n}") for n in range(5)]
    good = await pool.add("good")
    await pool.until(pool.done)
    assert {pool.state.candidates[i].state for i in bad} == {"could not judge"}
    assert pool.state.candidates[good].state == "passed"
    assert "is taken out" not in pool.notices()
    assert set(times(pool.events(), JudgingStarted)[i] for i in bad) == {2}
    for candidate in bad:  # not twice under the same judge
        verdict = decode_verdict(pool.journal.store.read_verdict(pool.state.candidates[candidate]))
        assert "died 2 times" in verdict.reason


async def test_a_judge_without_a_device_does_not_make_the_task_broken_where_another_has_one(
    pooled: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRIPTED_ABSENT", "0")
    pool = pooled()
    ids = [await pool.add(text) for text in ("a", "b")]
    await pool.until(lambda: pool.done() and "is taken out" in pool.notices())
    assert "The judge on GPU 0 is taken out" in pool.notices() and "There is no such GPU." in pool.notices()
    assert not [e for e in pool.events() if isinstance(e, TaskBroken)]
    assert {
        decode_verdict(pool.journal.store.read_verdict(pool.state.candidates[i])).device["visible"]
        for i in ids
    } == {"1"}


async def test_the_only_judge_is_never_taken_out_and_says_what_a_single_one_says(
    pooled: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRIPTED_ABSENT", "0")
    pool = pooled([Post(env={"CUDA_VISIBLE_DEVICES": "0"})])
    await pool.until(lambda: pool.state.task_error is not None)
    assert pool.state.task_error == "There is no such GPU."


async def test_judges_none_of_which_starts_go_on_trying_and_say_so_once_each(
    pooled: Callable[..., Pool], tmp_path: Path
) -> None:
    script = tmp_path / "judge"
    script.write_text(f"#!/bin/sh\necho try >> {tmp_path}/tries\necho no torch here >&2\nexit 3\n")
    script.chmod(0o755)
    pool = pooled([Post(name="Judge 1"), Post(name="Judge 2")], [str(script)])
    waiting = await pool.add("waits")
    tries = tmp_path / "tries"
    async with asyncio.timeout(PATIENCE_S):
        while not tries.exists() or len(tries.read_text().split()) < 20:
            await asyncio.sleep(0.01)
    await pool.until(lambda: any("no torch here" in said for said in pool.said))
    assert pool.journal.progress.working == 0
    assert "is taken out" not in pool.notices()
    assert sorted(n.text[:8] for n in pool.state.warnings) == ["Judge 1:", "Judge 2:"]
    script.write_text(f"#!/bin/sh\nexec {sys.executable} {SCRIPTED}\n")
    await pool.until(lambda: pool.state.candidates[waiting].state == "passed")


async def test_a_judge_that_was_idle_gives_memory_back_and_judges_on(
    pooled: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(engine_seat, "IDLE_S", 0.01)
    monkeypatch.setenv("SCRIPTED_FREED", str(tmp_path / "freed"))
    pool = pooled([Post()])
    for number in (1, 2):
        one = await pool.add(f"number {number}")
        await pool.until(lambda one=one: pool.state.candidates[one].state == "passed")  # type: ignore[misc]  # mypy takes no default in a lambda
        async with asyncio.timeout(PATIENCE_S):
            while not (tmp_path / "freed").exists() or len((tmp_path / "freed").read_text()) < number:
                await asyncio.sleep(0.01)
    assert len((tmp_path / "freed").read_text()) == 2  # once each time, however long it rests
