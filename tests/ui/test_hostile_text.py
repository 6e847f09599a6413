"""Whatever candidates, tasks and judges say is drawn as it is written: no escape, no markup, nothing to click."""

from __future__ import annotations

import msgspec
import pytest
from scripted import ScriptedEngine, app_on, task_info

from workbench.core import events as ev
from workbench.core.messages import BeingJudged, EngineProgress
from workbench.core.verdict import KernelResources, Resources
from workbench.ui.screens.dialogs import LineDialog
from workbench.ui.text import clean

EVIL = "[red]R[/] [@click=app.quit]Q[/] [/] [link=file:///x]L \x1b[31m\x9b2J\x1b]0;t\x07 \u202e\u2066 \r\x08\n\\[b]"
SIZES = [(160, 45), (80, 24)]


@pytest.fixture
def engine() -> ScriptedEngine:
    found = ScriptedEngine(
        [
            ev.SessionStarted(task_path="/t.py", task_name=EVIL, version="1", target=EVIL, arch=EVIL),
            ev.TaskLoaded(revision=1, info=msgspec.structs.replace(task_info(), name=EVIL, source=EVIL)),
        ]
    )
    evidence = {EVIL: EVIL, "diagnostics": [{"line": 1, "message": EVIL, "severity": "error"}]}
    for number, failed in (("c0001", None), ("c0002", "numerics")):
        added = found.add(number, EVIL, EVIL, note=EVIL, provenance=EVIL, origin_path=EVIL)
        judged = found.judged(number, failed=failed, evidence=evidence)
        whole = found.verdicts[number]
        kernel = KernelResources(EVIL, 32, 0, 2048, 0.75, block=(256, 1, 1), limiter=EVIL)
        found.verdicts[number] = msgspec.structs.replace(
            whole,
            reason=EVIL,
            gates=tuple(msgspec.structs.replace(gate, reason=EVIL, status="warn" if failed is None else gate.status)
                        for gate in whole.gates),
            unchecked=(EVIL,),
            resources=Resources((kernel,), EVIL),
            estimate={EVIL: EVIL},
            versions={"workbench": EVIL},
        )  # fmt: skip
        summary = msgspec.structs.replace(judged.summary, first_line=f"FAIL {EVIL}")
        found._log(added)
        found._log(msgspec.structs.replace(judged, summary=summary))
        found._log(ev.CandidateMarked(candidate=number, mark="shelved", reason=EVIL, author=EVIL))
    return found


def drawn(app) -> str:
    """The whole screen's text; fails where a cell of it drives the terminal, or leads anywhere."""
    lines = []
    for strip in app.screen._compositor.render_strips():
        for segment in strip:
            assert segment.control is None
            assert clean(segment.text) == segment.text, repr((segment.text, lines[-3:]))
            if segment.style is not None:
                assert segment.style.link is None, segment
                assert "@click" not in segment.style.meta, segment
        lines.append("".join(segment.text for segment in strip))
    return "\n".join(lines)


@pytest.mark.parametrize("size", SIZES)
async def test_hostile_text_is_drawn_as_written_on_every_part_of_the_screen(engine, until, size) -> None:
    async with app_on(engine).run_test(size=size) as pilot:
        bench = pilot.app.screen
        await until(pilot, lambda: bench.view.link == "live" and bench.chosen is not None)
        for keys in ((), ("end",), ("d",), ("D",), ("question_mark",), ("escape",)):
            await pilot.press(*keys)
            await pilot.pause()
            text = drawn(pilot.app)
        assert "[red]R[/]" in text
        engine.say(
            ev.TaskBroken(message=EVIL), ev.Noticed(text=EVIL, level="error"), ev.ProposalsMade(proposer=EVIL, summary=EVIL)
        )  # fmt: skip
        await until(pilot, lambda: bench.view.task_error)
        await pilot.pause(0.1)
        assert "[@click=app.quit]Q[/]" in drawn(pilot.app)
        engine.say(ev.JudgingStarted(candidate="c0001", revision=1))
        engine.tell(EngineProgress(judge="ready", activity=EVIL, judging=(BeingJudged(EVIL, (), EVIL),)))
        await until(pilot, lambda: bench.view.held_up)
        drawn(pilot.app)
        engine.tell(
            EngineProgress(judge="ready", activity="judging c0001", judging=(BeingJudged("c0001", (), EVIL),))
        )
        await until(pilot, lambda: bench.view.progress.of("c0001"))
        assert "judging c0001: [red]R" in drawn(pilot.app)
        engine.tell(EngineProgress(judge="stopped", activity=EVIL))
        await until(pilot, lambda: bench.view.judge_trouble)
        drawn(pilot.app)
        engine.refuse = lambda _: EVIL
        await pilot.press("escape", "x")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        drawn(pilot.app)
        await pilot.press(*"no", "enter")
        await until(pilot, lambda: pilot.app.screen is bench)
        await pilot.pause(0.1)
        drawn(pilot.app)
        assert pilot.app.is_running
