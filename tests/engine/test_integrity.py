"""Files of a session that were changed by hand are never shown, or judged, as what they were."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

import msgspec
from engine_world import World, until

from workbench.core.messages import MarkCandidate, ReadSource, ReadVerdict, SubmitCandidate, VerifyAgain
from workbench.core.session import SessionState
from workbench.core.verdict import decode_verdict, encode_verdict


def in_state(state: str) -> Callable[[SessionState], bool]:
    def ready(session: SessionState) -> bool:
        return any(view.state == state for view in session.candidates.values())

    return ready


async def test_whoever_opens_a_session_whose_log_was_torn_or_changed_is_told(opened: World) -> None:
    client = await opened.open()
    await client.request(SubmitCandidate(source=b"one", name="one"))
    await until(client, in_state("passed"))
    opened.kill_engines()
    log = opened.session / "events.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*lines, lines[-1], b'{"type":"not']))
    again = await opened.open()
    told = " ".join(notice.text for notice in again.state.warnings)
    assert "torn line" in told and "changed by another hand" in told


async def test_a_mark_is_shown_only_where_it_is_in_the_log_that_stands_in_the_folder(opened: World) -> None:
    client = await opened.open()
    await client.request(SubmitCandidate(source=b"one", name="one"))
    await until(client, lambda s: s.functional is not None and in_state("passed")(s))
    log = opened.session / "events.jsonl"
    whole = log.read_bytes()
    saving = log.with_name("saving")
    for text, marked in ((whole.splitlines(keepends=True)[0], False), (whole, True)):
        saving.write_bytes(text)
        saving.replace(log)
        answer = await client.request(MarkCandidate(candidate="c0001", mark="accepted"))
        assert answer.ok == marked
        assert marked or "changed by another program" in answer.message
        client.drain()
        assert (client.state.candidates["c0001"].mark == "accepted") == marked
    opened.kill_engines()
    again = await opened.open()
    assert again.state.candidates["c0001"].mark == "accepted"
    assert not again.state.warnings


async def test_a_candidate_or_verdict_that_was_edited_in_the_session_is_refused_by_name(
    opened: World,
) -> None:
    client = await opened.open()
    await client.request(SubmitCandidate(source=b"FAILS", name="one"))
    await until(client, in_state("failed"))
    verdict = opened.session / "verdicts" / "c0001.json"
    honest = verdict.read_bytes()
    assert (await client.request(ReadVerdict(candidate="c0001"))).data == honest

    edited = honest.replace(b'"outcome":"fail"', b'"outcome":"pass"')
    assert edited != honest
    verdict.write_bytes(edited)
    answer = await client.request(ReadVerdict(candidate="c0001"))
    assert not answer.ok and "c0001.json is not the verdict" in answer.message

    (opened.session / "candidates" / "c0001.cu").write_bytes(b"another text")
    answer = await client.request(ReadSource(candidate="c0001"))
    assert not answer.ok and "c0001.cu was changed after" in answer.message
    await client.request(VerifyAgain(candidate="c0001"))
    await until(client, in_state("cancelled"))
    assert "was changed after" in client.state.candidates["c0001"].state_reason


async def test_whatever_of_a_verdict_is_edited_it_is_refused(opened: World) -> None:
    client = await opened.open()
    await client.request(SubmitCandidate(source=b"WARNS", name="one"))
    await until(client, in_state("passed"))
    path = opened.session / "verdicts" / "c0001.json"
    honest = path.read_bytes()
    verdict = decode_verdict(honest)
    assert verdict.unchecked and verdict.gates[1].status == "warn" and verdict.estimate
    clean = tuple(msgspec.structs.replace(gate, status="pass") for gate in verdict.gates)
    for changes in (
        {"unchecked": ()},
        {"gates": clean},
        {"estimate": {"relative_cost": 0.1}},
        {"reason": "It is the best."},
    ):
        path.write_bytes(encode_verdict(msgspec.structs.replace(verdict, **changes)))
        answer = await client.request(ReadVerdict(candidate="c0001"))
        assert not answer.ok and "c0001.json is not the verdict" in answer.message, changes
    path.write_bytes(b"no JSON")
    assert not (await client.request(ReadVerdict(candidate="c0001"))).ok
    path.write_bytes(honest)
    assert (await client.request(ReadVerdict(candidate="c0001"))).data == honest


async def test_a_verdict_in_the_log_of_a_version_that_recorded_no_hash_is_still_shown(opened: World) -> None:
    client = await opened.open()
    await client.request(SubmitCandidate(source=b"one", name="one"))
    await until(client, in_state("passed"))
    opened.kill_engines()
    log = opened.session / "events.jsonl"
    older = re.sub(rb'"verdict_sha256":"[0-9a-f]{64}",', b"", log.read_bytes())
    assert older != log.read_bytes()
    log.write_bytes(older)
    again = await opened.open()
    assert again.state.candidates["c0001"].verdict_sha256 == ""
    assert (await again.request(ReadVerdict(candidate="c0001"))).ok


async def test_the_machine_code_in_the_session_is_that_of_the_verdict_that_is_shown_or_none(
    opened: World,
) -> None:
    client = await opened.open()
    await client.request(SubmitCandidate(source=b"LISTED", name="one"))
    state = await until(client, in_state("passed"))
    listing = opened.session / "profiles" / "c0001.sass"
    first = listing.read_bytes()
    assert state.candidates["c0001"].sass_sha256 == hashlib.sha256(first).hexdigest()
    listing.with_name(".c0001.sass.next").mkdir()  # refuses to be written
    await client.request(VerifyAgain(candidate="c0001"))
    await until(client, in_state("judging"))
    state = await until(client, in_state("passed"))
    assert state.candidates["c0001"].sass_sha256 == "" and not listing.exists()
    listing.with_name(".c0001.sass.next").rmdir()
    await client.request(VerifyAgain(candidate="c0001"))
    state = await until(client, lambda s: s.candidates["c0001"].sass_sha256 != "")
    assert state.candidates["c0001"].sass_sha256 == hashlib.sha256(listing.read_bytes()).hexdigest()
    assert listing.read_bytes() != first
    opened.task.write_text("UNLISTED")
    await until(client, in_state("stale"))
    await client.request(VerifyAgain(candidate="c0001"))
    state = await until(client, in_state("passed"))
    assert state.candidates["c0001"].sass_sha256 == "" and not listing.exists()
