"""Saves are seen in any editor and on any file system, once each, and never half written."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from engine_world import PATIENCE_S, World, until

from workbench.core.messages import SubmitCandidate
from workbench.engine import watch
from workbench.engine.watch import Watcher, is_blind


class Seen:
    """What a watcher reported: each path with its content at that time."""

    def __init__(self) -> None:
        self.saves: list[tuple[str, str]] = []
        self.news = asyncio.Event()

    async def __call__(self, path: str) -> None:
        self.saves.append((Path(path).name, Path(path).read_text()))
        self.news.set()

    async def wait(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.saves) < count:
                self.news.clear()
                await self.news.wait()


def test_the_times_between_looks_leave_a_save_less_than_a_second_to_wait() -> None:
    """The promise of a second, with and without notifications; tests/bench/save.py prints what it takes in fact."""
    longest = max(watch.LOOK_S, watch.BLIND_LOOK_S) + watch.PAUSE_S + watch.SETTLED_S
    assert longest < 1.0
    # Where notifications are blind every save waits for a look, so there it leaves time for a busy machine.
    assert watch.BLIND_LOOK_S + watch.PAUSE_S + watch.SETTLED_S <= 0.6


@pytest.fixture(params=["notified", "blind"])
async def seen(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Seen, Path]]:
    """A watcher on tmp_path/a.cu, with notifications and without."""
    if request.param == "blind":
        monkeypatch.setattr(watch, "is_blind", lambda folder: True)
    path = tmp_path / "a.cu"
    path.write_text("one")
    found = Seen()
    watcher = Watcher(found)
    watcher.watch([str(path)])
    task = asyncio.create_task(watcher.run())
    yield found, path
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def in_place(path: Path, text: str) -> None:
    path.write_text(text)


def by_rename(path: Path, text: str) -> None:
    making = path.with_name(".a.cu.swp")
    making.write_text(text)
    making.rename(path)


def by_backup_and_rename(path: Path, text: str) -> None:
    path.rename(path.with_name("a.cu~"))
    path.write_text(text)


def after_removal(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text)


@pytest.mark.parametrize("save", [in_place, by_rename, by_backup_and_rename, after_removal])
async def test_a_save_is_seen_once_however_the_editor_does_it(
    seen: tuple[Seen, Path], save: Callable[[Path, str], None]
) -> None:
    found, path = seen
    for n, text in enumerate(("two", "three", "four"), 1):
        save(path, text)
        await found.wait(n)
    assert found.saves == [("a.cu", "two"), ("a.cu", "three"), ("a.cu", "four")]


async def test_a_file_that_is_still_being_written_is_not_read(seen: tuple[Seen, Path]) -> None:
    found, path = seen
    with open(path, "w") as file:
        for _ in range(20):
            file.write("part ")
            file.flush()
            await asyncio.sleep(watch.SETTLED_S / 4)
    await found.wait(1)
    assert found.saves[-1] == ("a.cu", "part " * 20)


async def test_a_removed_file_is_no_save(seen: tuple[Seen, Path]) -> None:
    found, path = seen
    path.unlink()
    await asyncio.sleep(0.2)
    path.write_text("back")
    await found.wait(1)
    assert found.saves == [("a.cu", "back")]


async def test_other_files_in_the_folder_and_reading_are_no_save(seen: tuple[Seen, Path]) -> None:
    found, path = seen
    (path.parent / "b.cu").write_text("other")
    path.read_text()
    path.write_text("mine")
    await found.wait(1)
    assert found.saves == [("a.cu", "mine")]


async def test_the_file_behind_a_link_is_watched(tmp_path: Path) -> None:
    real = tmp_path / "elsewhere" / "real.cu"
    real.parent.mkdir()
    real.write_text("one")
    (tmp_path / "link.cu").symlink_to(real)
    found = Seen()
    watcher = Watcher(found)
    watcher.watch([str(tmp_path / "link.cu")])
    task = asyncio.create_task(watcher.run())
    real.write_text("two")
    await found.wait(1)
    task.cancel()
    assert found.saves == [("link.cu", "two")]


async def test_a_folder_that_is_not_there_is_looked_at_until_it_is(tmp_path: Path) -> None:
    path = tmp_path / "later" / "a.cu"
    found = Seen()
    watcher = Watcher(found)
    watcher.watch([str(path)])
    task = asyncio.create_task(watcher.run())
    await asyncio.sleep(0.05)
    path.parent.mkdir()
    path.write_text("here")
    await found.wait(1)
    task.cancel()
    assert found.saves == [("a.cu", "here")]


def test_network_file_systems_are_blind_and_local_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = (
        "22 1 0:21 / / rw shared:1 - ext4 /dev/vda rw\n"
        "23 22 0:22 / /home rw - nfs4 server:/home rw\n"
        "24 23 0:23 / /home/a\\040b rw - btrfs /dev/vdb rw\n"
        "25 22 0:24 / /mnt/ssh rw - fuse.sshfs host:/ rw\n"
    )
    monkeypatch.setattr(Path, "read_text", lambda self, **_: mounts)
    monkeypatch.setattr(os.path, "realpath", lambda path: path)
    assert is_blind("/home/me")
    assert is_blind("/mnt/ssh/x")
    assert not is_blind("/home/a b/c")
    assert not is_blind("/homes")


# --- through a whole engine ---------------------------------------------------------------------------------------


async def test_saving_a_candidates_file_adds_a_child_of_its_former_version(opened: World) -> None:
    path = opened.candidate("mine.cu", "version one")
    client = await opened.open()
    answer = await client.submit_file(path)
    assert answer.candidate == "c0001"
    await until(client, lambda s: s.candidates["c0001"].state == "passed" if s.candidates else False)
    path.write_text("version two")
    await until(client, lambda s: "c0002" in s.candidates and s.candidates["c0002"].state == "passed")
    by_rename(path, "version three")
    await until(client, lambda s: "c0003" in s.candidates and s.candidates["c0003"].state == "passed")
    views = client.state.candidates
    assert [(v.parents, v.provenance, v.name, v.origin_path) for v in views.values()] == [
        ((), "human", "mine.cu", str(path)),
        (("c0001",), "human", "mine.cu", str(path)),
        (("c0002",), "human", "mine.cu", str(path)),
    ]


async def test_saving_the_same_tokens_again_verifies_again_without_a_child(opened: World) -> None:
    path = opened.candidate("mine.cu", "int one;")
    client = await opened.open()
    await client.submit_file(path)
    await until(client, lambda s: s.candidates["c0001"].state == "passed" if s.candidates else False)
    path.write_text("int   one;  // with a word\n")
    await until(client, lambda s: s.candidates["c0001"].state in ("queued", "judging"))
    await until(client, lambda s: s.candidates["c0001"].state == "passed")
    assert list(client.state.candidates) == ["c0001"]


async def test_a_file_saved_while_no_engine_ran_is_a_child_after_reopening(opened: World) -> None:
    path = opened.candidate("mine.cu", "one")
    client = await opened.open()
    await client.submit_file(path)
    await until(client, lambda s: s.candidates["c0001"].state == "passed" if s.candidates else False)
    opened.kill_engines()
    path.write_text("two")
    again = await opened.open()
    await until(again, lambda s: "c0002" in s.candidates and s.candidates["c0002"].state == "passed")
    assert again.state.candidates["c0002"].parents == ("c0001",)
    assert "is here already" in (await again.submit_file(path)).message
    path.write_text("three")
    await until(again, lambda s: "c0003" in s.candidates)


async def test_a_file_opened_by_the_screens_edit_is_watched_from_then_on(opened: World) -> None:
    client = await opened.open()
    first = (await client.request(SubmitCandidate(source=b"parent", name="p"))).candidate
    assert first is not None
    path = opened.candidate("edit.cu", "edited")
    answer = await client.request(
        SubmitCandidate(source=b"edited", name="edit.cu", parents=(first,), origin_path=str(path))
    )
    path.write_text("edited again")
    await until(client, lambda s: "c0003" in s.candidates)
    assert client.state.candidates["c0003"].parents == (answer.candidate,)


async def test_a_plan_beside_the_file_is_joined_and_watched(opened: World) -> None:
    path = opened.candidate("pair.cu", "__global__ void k() {}")
    plan = opened.candidate("pair.plan.py", "def forward(x): pass")
    client = await opened.open()
    await client.submit_file(path)
    await until(client, lambda s: "c0001" in s.candidates)
    source = (opened.session / "candidates" / "c0001.cu").read_text()
    assert "@plan" in source and "def forward(x): pass" in source
    plan.write_text("def forward(y): pass")
    await until(client, lambda s: "c0002" in s.candidates)


@pytest.mark.parametrize("what", ["missing", "folder", "device", "pipe", "large"])
async def test_a_file_that_is_no_candidate_is_refused_in_one_sentence(opened: World, what: str) -> None:
    path = opened.root / "bad.cu"
    if what == "folder":
        path.mkdir()
    elif what == "device":
        path = Path("/dev/zero")
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "large":
        with open(path, "wb") as file:
            file.truncate(20 << 20)
    client = await opened.open()
    answer = await client.submit_file(path)
    assert not answer.ok
    assert str(path) in answer.message
    assert client.state.candidates == {}


@pytest.mark.parametrize(
    "content", [b"", b"\0\xff" * 500, b"x" * (10 << 20)], ids=["empty", "binary", "10 MiB"]
)
async def test_whatever_bytes_a_file_has_it_becomes_a_candidate_that_the_judge_may_refuse(
    opened: World, content: bytes
) -> None:
    path = opened.root / "odd.cu"
    path.write_bytes(content)
    client = await opened.open()
    assert (await client.submit_file(path)).ok
    await until(client, lambda s: "c0001" in s.candidates and s.candidates["c0001"].state == "passed")
    assert (opened.session / "candidates" / "c0001.cu").read_bytes() == content
