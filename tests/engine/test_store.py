"""The log on disk: what was appended is read again, a torn tail is dropped, damage is said, and nothing is half written."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import msgspec
import pytest

from workbench.core.candidate import CandidateView, VerdictSummary
from workbench.core.errors import SessionError
from workbench.core.events import (
    CandidateAdded,
    CandidateMarked,
    CandidateQueued,
    Event,
    Noticed,
    SessionResumed,
    SessionStarted,
    VerdictReached,
    encode_event,
)
from workbench.core.session import fold
from workbench.engine.log import read_log
from workbench.engine.sessions import create_folder
from workbench.engine.store import Store, StoreError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return create_folder(tmp_path / "sessions", "softmax.py")


def some_events(count: int) -> list[Event]:
    first = SessionStarted(task_path="/t.py", task_name="t", version="1", target="host")
    return [first, *(Noticed(text=f"notice {i} é \n ☃") for i in range(count - 1))]


def written(folder: Path, count: int = 5) -> list[Event]:
    store, _ = Store.open(folder)
    events = store.append(some_events(count))
    store.close()
    return events


def test_what_was_appended_is_read_again_in_order_numbered_and_dated(folder: Path) -> None:
    events = written(folder)
    store, state = Store.open(folder)
    assert read_log(folder / "events.jsonl").events == tuple(events)
    assert [e.seq for e in events] == [1, 2, 3, 4, 5]
    assert all(e.at > 0 for e in events)
    assert state.seq == store.seq == 5
    assert [n.text for n in state.notices] == [e.text for e in events[1:] if isinstance(e, Noticed)]
    (more,) = store.append([Noticed(text="later")], author="ada")
    assert (more.seq, more.author) == (6, "ada")


def test_a_torn_last_line_is_dropped_with_a_notice_wherever_it_is_cut(folder: Path) -> None:
    events = written(folder)
    log = folder / "events.jsonl"
    whole = log.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for cut in range(last + 1, len(whole)):
        log.write_bytes(whole[:cut])
        store, state = Store.open(folder)
        store.close()
        assert state.seq == 5  # four events and the notice
        assert "torn" in state.notices[-1].text
        assert read_log(log).events[:4] == tuple(events[:4])
        assert read_log(log).torn == b""


@pytest.mark.parametrize(
    "tail", [b"\0" * 700, b"\n\n", b'{"type":"noticed"\n\0\0', b"\xff\xfe\xfd\n", b"null\n", b'{"type":']
)
def test_whatever_a_crash_leaves_behind_the_last_line_is_dropped_with_a_notice(
    folder: Path, tail: bytes
) -> None:
    written(folder)
    log = folder / "events.jsonl"
    log.write_bytes(log.read_bytes() + tail)
    store, state = Store.open(folder)
    assert state.seq == 6
    assert "torn" in state.notices[-1].text
    store.append([Noticed(text="goes on")])
    store.close()
    assert [e.seq for e in read_log(log).events] == [1, 2, 3, 4, 5, 6, 7]
    aside = folder / "events.jsonl.torn"
    if tail.strip(b"\0\n"):
        assert aside.read_bytes() == tail
        assert "events.jsonl.torn" in state.notices[-1].text
    else:
        assert not aside.exists()


def test_what_is_cut_off_at_different_times_is_all_kept_aside(folder: Path) -> None:
    written(folder)
    log = folder / "events.jsonl"
    for tail in (b'{"type":"not', b'{"type":"candidate_m'):
        log.write_bytes(log.read_bytes() + tail)
        Store.open(folder)[0].close()
    assert (folder / "events.jsonl.torn").read_bytes() == b'{"type":"not\n{"type":"candidate_m'


@pytest.mark.parametrize(
    "last",
    [
        b'{"type":"candidate_marked","seq":6,"at":1.0,"candidate":"c1","mark":"starred"}\n',
        b'{"type":"candidate_marked","seq":6,"at":1.0,"candidate":"c1","mark":"accepted,"reason":""}\n',
        b'{"type":"noticed","seq":6,"text":7}\n',
        b"{}\n",
    ],
    ids=["a newer version's value", "a slip by hand", "another type", "nothing"],
)
@pytest.mark.parametrize("after", [b"", b"{", b"\0\0"], ids=["", "before a torn one", "before zeros"])
def test_a_whole_last_line_that_is_not_understood_is_said_and_stays(
    folder: Path, last: bytes, after: bytes
) -> None:
    written(folder)
    log = folder / "events.jsonl"
    log.write_bytes(log.read_bytes() + last + after)
    before = log.read_bytes()
    with pytest.raises(SessionError, match=r"events.jsonl:6 is damaged") as refused:
        Store.open(folder)
    assert "the version that wrote it" in refused.value.do
    assert log.read_bytes() == before


def test_what_is_noticed_on_opening_comes_after_the_event_that_takes_the_session_up_again(
    folder: Path,
) -> None:
    written(folder)
    log = folder / "events.jsonl"
    for torn in (True, False):
        if torn:
            log.write_bytes(log.read_bytes() + b"{")
        store, state = Store.open(folder, first=SessionResumed(version="1"))
        store.close()
        assert [n.text for n in state.warnings] == [
            n.text for n in state.notices if torn and "torn" in n.text
        ]
        assert len(state.warnings) == torn
        assert fold(read_log(log).events) == state


def test_a_damaged_line_in_the_middle_is_one_clear_sentence_that_names_the_line(folder: Path) -> None:
    written(folder)
    log = folder / "events.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    for damage in (
        b"garbage\n",
        lines[2][:30] + b"\n",
        b'{"type":"noticed","text":7}\n',
        b"\0\0\0\n",
        b"\xff\n",
    ):
        log.write_bytes(b"".join([*lines[:2], damage, *lines[3:]]))
        with pytest.raises(SessionError) as refused:
            Store.open(folder)
        assert "events.jsonl:3 is damaged" in str(refused.value)
        assert "delete that line" in refused.value.do


def test_random_damage_either_opens_or_says_what_is_wrong(folder: Path, seed: int) -> None:
    written(folder, 12)
    log = folder / "events.jsonl"
    whole = log.read_bytes()
    rng = random.Random(seed)
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(damaged))
            damaged[at : at + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
        log.write_bytes(damaged)
        try:
            store, _ = Store.open(folder)
        except SessionError as error:
            assert "is damaged" in str(error)
        else:
            store.close()


def test_events_of_a_newer_version_are_passed_over_and_keep_their_numbers(folder: Path) -> None:
    written(folder)
    log = folder / "events.jsonl"
    newer = b'{"type":"kernel_confirmed","seq":6,"at":1.0,"candidate":"c1"}\n'
    old_with_more = b'{"type":"noticed","seq":7,"at":1.0,"text":"hello","colour":"red"}\n'
    log.write_bytes(log.read_bytes() + newer + old_with_more)
    store, state = Store.open(folder)
    assert any("kernel_confirmed" in n.text for n in state.notices)
    assert any(n.text == "hello" for n in state.notices)
    assert store.seq == state.seq == 8
    assert newer in log.read_bytes()


def test_only_one_process_writes_a_session(folder: Path) -> None:
    written(folder)
    store, _ = Store.open(folder)
    with pytest.raises(SessionError, match="Another engine writes"):
        Store.open(folder)
    store.close()
    Store.open(folder)[0].close()


def test_a_value_that_cannot_be_read_back_is_never_written(folder: Path) -> None:
    store, _ = Store.open(folder)
    store.append(some_events(1))
    before = (folder / "events.jsonl").read_bytes()
    summary = VerdictSummary(outcome="pass", first_line="", basis="", revision=1, seconds=float("nan"))
    with pytest.raises(msgspec.ValidationError):
        store.append([VerdictReached(candidate="c1", summary=summary)])
    assert (folder / "events.jsonl").read_bytes() == before


def test_the_files_that_events_name_are_whole_or_not_there(folder: Path) -> None:
    store, _ = Store.open(folder)
    store.write_candidate("c0001", b"one")
    store.write_candidate("c0001", b"two")
    assert store.read_candidate("c0001") == b"two"
    assert sorted(p.name for p in (folder / "candidates").iterdir()) == ["c0001.cu"]
    with pytest.raises(SessionError, match="cannot be read"):
        store.read_candidate("c0002")


def reached(text: bytes, **fields: Any) -> VerdictReached:
    """The event of a verdict whose file is `text`."""
    summary = VerdictSummary(outcome="pass", first_line="", basis="", revision=1, seconds=1.0)
    sha256 = hashlib.sha256(text).hexdigest()
    return VerdictReached(candidate="c0001", summary=summary, verdict_sha256=sha256, **fields)


@pytest.mark.parametrize("before", [None, b"old"], ids=["its first", "judged again"])
@pytest.mark.parametrize("dies", ["staged", "logged", "settled"])
def test_the_verdict_in_the_folder_is_the_one_that_was_logged_whenever_the_engine_dies(
    folder: Path, dies: str, before: bytes | None
) -> None:
    store, state = Store.open(folder)

    def record(*events: Event) -> None:
        for event in store.append(events):
            state.apply(event)

    def view() -> CandidateView:
        return state.candidates["c0001"]

    record(*some_events(1), CandidateAdded(candidate="c0001", name="n", sha256="", provenance="human"))
    for text in filter(None, (before, b"new")):
        store.stage_verdict(view(), text)
        if text != b"new" or dies != "staged":
            record(reached(text))
        if text != b"new" or dies == "settled":
            store.settle(view())
    told = before if dies == "staged" else b"new"
    if told is not None:
        assert store.read_verdict(view()) == told
    store.close()  # as the kernel does for one that was killed
    store, state = Store.open(folder)
    kept = [path.read_bytes() for path in (folder / "verdicts").iterdir()]
    assert kept == ([told] if told is not None else [])
    if told is not None:
        assert store.verdict_path("c0001").read_bytes() == store.read_verdict(view()) == told


def test_a_verdict_that_could_not_be_put_in_its_place_is_read_and_not_written_over(folder: Path) -> None:
    store, state = Store.open(folder)
    for event in store.append(
        [*some_events(1), CandidateAdded(candidate="c0001", name="n", sha256="", provenance="human")]
    ):
        state.apply(event)
    place = store.verdict_path("c0001")
    place.mkdir()  # a rename onto a folder is refused
    store.stage_verdict(state.candidates["c0001"], b"shown")
    for event in store.append([reached(b"shown")]):
        state.apply(event)
    view = state.candidates["c0001"]
    store.settle(view)
    assert store.read_verdict(view) == b"shown"
    with pytest.raises(StoreError):
        store.stage_verdict(view, b"next")
    store.close()
    store, _ = Store.open(folder)
    assert store.read_verdict(view) == b"shown"
    place.rmdir()
    store.stage_verdict(view, b"next")
    assert place.read_bytes() == store.read_verdict(view) == b"shown"


def test_the_sources_of_a_task_are_frozen_by_revision(folder: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "a" / "task.py", tmp_path / "b" / "task.py"
    for path, text in ((one, "one"), (two, "two")):
        path.parent.mkdir()
        path.write_text(text)
    store, _ = Store.open(folder)
    store.freeze_task(1, [str(one), str(two), str(tmp_path / "gone.bin")])
    one.write_text("changed")
    frozen = store.frozen(1)
    assert frozen[str(one)].read_text() == "one"
    assert frozen[str(two)].read_text() == "two"
    assert str(tmp_path / "gone.bin") not in frozen
    store.freeze_task(1, [str(one)])  # an engine died between the copies and their event
    assert store.frozen(1)[str(one)].read_text() == "changed"
    assert store.frozen(2) == {}


FULL = textwrap.dedent(
    """
    import resource, signal, sys
    from pathlib import Path
    from workbench.core.events import Noticed
    from workbench.engine.store import Store, StoreError
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store, state = Store.open(Path(sys.argv[1]))
    size = (Path(sys.argv[1]) / "events.jsonl").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))
    try:
        store.append([Noticed(text="x" * 400)])
    except StoreError as error:
        print(error)
    print((Path(sys.argv[1]) / "events.jsonl").stat().st_size == size, store.refusal is not None)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    (event,) = store.append([Noticed(text="room again")])
    print(event.seq, store.refusal)
    """
)


def test_a_log_that_may_not_grow_is_refused_in_one_sentence_and_taken_up_again_when_it_may(
    folder: Path,
) -> None:
    written(folder)
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(folder)], capture_output=True, text=True, check=True
    )
    sentence, kept, again = done.stdout.splitlines()
    assert "may not grow" in sentence
    assert kept == "True True"
    assert again == "6 None"
    assert len(read_log(folder / "events.jsonl").events) == 6


def test_a_full_disk_loses_nothing_that_was_appended_and_works_again_once_there_is_room(
    small_disk: Path,
) -> None:
    folder = create_folder(small_disk / "sessions", "softmax.py")
    store, _ = Store.open(folder)
    kept = store.append(some_events(2))
    with pytest.raises(StoreError, match="full disk") as refused:
        for i in range(10_000):
            store.write_candidate(f"c{i:04d}", b"x" * 3000)
            kept += store.append(
                [CandidateAdded(candidate=f"c{i:04d}", name="n", sha256="", provenance="human")]
            )
    assert "Free some space" in refused.value.do
    with pytest.raises(StoreError):
        while True:
            kept += store.append([Noticed(text="y" * 500)])
    assert read_log(folder / "events.jsonl").events == tuple(kept)
    for event in kept:
        if isinstance(event, CandidateAdded):
            assert store.read_candidate(event.candidate) == b"x" * 3000
    (folder / "candidates" / "c0000.cu").unlink()
    kept += store.append([CandidateQueued(candidate="c0001")])
    store.close()
    assert read_log(folder / "events.jsonl").events == tuple(kept)


def test_a_read_only_session_is_served_and_every_append_is_refused_in_one_sentence(small_disk: Path) -> None:
    folder = create_folder(small_disk / "sessions", "softmax.py")
    events = written(folder)
    with open(folder / "events.jsonl", "ab") as log:
        log.write(b"{")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    store, state = Store.open(folder)
    assert state.seq == len(events)
    assert store.refusal is not None
    assert "torn" in state.warnings[-1].text
    for action in (
        lambda: store.append([Noticed(text="no")]),
        lambda: store.write_candidate("c0001", b""),
        lambda: store.freeze_task(1, []),
    ):
        with pytest.raises(StoreError, match="is read-only"):
            action()
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert store.append([Noticed(text="yes")])[0].seq == len(events) + 1
    store.close()


def test_no_session_can_be_made_in_a_folder_that_cannot_be_written(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(SessionError) as refused:
        create_folder(small_disk / "sessions", "softmax.py")
    assert "WORKBENCH_SESSIONS" in refused.value.do


def test_a_session_whose_folder_was_removed_says_so(folder: Path) -> None:
    store, _ = Store.open(folder)
    store.append(some_events(1))
    shutil.rmtree(folder)
    with pytest.raises(StoreError, match="was removed"):
        store.write_candidate("c0001", b"")


def replaced(path: Path, data: bytes) -> None:
    """As an editor, a sync tool or `git checkout` saves: another file of the same name."""
    making = path.with_name("saving")
    making.write_bytes(data)
    os.replace(making, path)


def test_what_is_appended_after_the_log_was_replaced_by_its_own_text_is_in_the_log(folder: Path) -> None:
    written(folder)
    store, _ = Store.open(folder)
    log = folder / "events.jsonl"
    replaced(log, log.read_bytes())
    (event,) = store.append([CandidateMarked(candidate="c1", mark="accepted")])
    shutil.copytree(folder, folder.with_name("kept"))
    shutil.rmtree(folder)
    with pytest.raises(StoreError, match="was removed"):
        store.append([Noticed(text="lost")])
    shutil.copytree(folder.with_name("kept"), folder)
    (later,) = store.append([Noticed(text="found again")])
    assert read_log(log).events[5:] == (event, later)
    with pytest.raises(SessionError, match="Another engine writes"):  # the lock is on the file that is there
        Store.open(folder)
    store.close()
    assert read_log(log).disordered == ()


@pytest.mark.parametrize("in_place", [True, False], ids=["in place", "by another file"])
@pytest.mark.parametrize("change", ["older", "edited", "added", "torn", "emptied"])
def test_nothing_is_shown_while_the_log_is_not_the_one_that_was_written(
    folder: Path, change: str, in_place: bool
) -> None:
    written(folder)
    store, _ = Store.open(folder)
    log = folder / "events.jsonl"
    whole = log.read_bytes()
    found = {
        "older": b"".join(whole.splitlines(keepends=True)[:-1]),
        "edited": whole.replace(b"notice 2", b"notice 7"),
        "added": whole + whole.splitlines(keepends=True)[-1],
        "torn": whole + b'{"type":',
        "emptied": b"",
    }[change]
    (log.write_bytes if in_place else lambda data: replaced(log, data))(found)
    for _ in range(2):
        with pytest.raises(StoreError, match="changed by another program") as refused:
            store.append([CandidateMarked(candidate="c1", mark="accepted")])
        assert "Restore it" in refused.value.do
        assert log.read_bytes() == found
    assert store.refusal is not None
    replaced(log, whole)
    (event,) = store.append([Noticed(text="goes on")])
    store.close()
    assert (event.seq, store.refusal) == (6, None)
    assert read_log(log).events[-1] == event


def test_a_log_that_another_engine_took_over_is_left_to_it(folder: Path) -> None:
    written(folder)
    store, _ = Store.open(folder)
    log = folder / "events.jsonl"
    replaced(log, log.read_bytes())
    other, _ = Store.open(folder)
    before = log.read_bytes()
    with pytest.raises(StoreError, match="written by another engine"):
        store.append([Noticed(text="mine")])
    assert log.read_bytes() == before
    other.append([Noticed(text="its own")])
    other.close()
    store.close()


def test_appending_and_writing_leave_no_file_open(folder: Path) -> None:
    store, _ = Store.open(folder)
    before = os.listdir("/proc/self/fd")
    for i in range(20):
        store.append([Noticed(text=str(i))])
        store.write_candidate("c0001", b"x")
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize(
    "change", ["copied", "moved", "forged", "removed", "first removed", "added", "added last", "renumbered"]
)
def test_a_log_whose_lines_do_not_follow_one_another_opens_with_a_warning(folder: Path, change: str) -> None:
    written(folder)
    log = folder / "events.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    if change == "copied":
        lines.insert(3, lines[1])
    elif change == "moved":
        lines[1], lines[2] = lines[2], lines[1]
    elif change == "removed":
        del lines[2]
    elif change == "first removed":
        del lines[0]
    elif change == "added":
        lines.insert(3, encode_event(CandidateMarked(candidate="c1", mark="accepted", seq=100)) + b"\n")
    elif change == "added last":
        lines.append(encode_event(CandidateMarked(candidate="c1", mark="accepted", seq=100)) + b"\n")
    elif change == "renumbered":
        lines[3] = lines[3].replace(b'"seq":4', b'"seq":40')
    else:
        lines.append(b'{"type":"noticed","text":"all is well"}\n')
    log.write_bytes(b"".join(lines))
    store, state = Store.open(folder)
    store.close()
    assert "changed by another hand" in state.notices[-1].text
    assert state.seq == store.seq
    assert state.seq > max(e.seq for e in read_log(log).events[:-1])  # no number is given twice


@pytest.mark.parametrize("name", ["../../etc/x", "/etc/x", "..", "", "c1\x1b[31m", "c1\u202e", "c" * 101])
def test_an_id_that_names_no_file_of_the_session_is_damage(folder: Path, name: str) -> None:
    written(folder)
    log = folder / "events.jsonl"
    forged = encode_event(CandidateMarked(candidate=name, mark="accepted", seq=3)) + b"\n"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*lines[:2], forged, *lines[2:]]))
    with pytest.raises(SessionError, match=r"events.jsonl:3 is damaged \(a candidate's id"):
        read_log(log)
