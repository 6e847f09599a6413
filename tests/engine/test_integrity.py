"""Files of a session that were changed by hand are never shown, or judged, as what they were."""

from __future__ import annotations

from engine_world import World, until

from workbench.core.messages import ReadSource, ReadVerdict, SubmitCandidate, VerifyAgain
from workbench.core.session import SessionState


def in_state(state: str):  # type: ignore[no-untyped-def]
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
