"""What a person wrote is never lost: not by a full disk, a dead engine, or the palette's Quit."""

from __future__ import annotations

import pytest
from scripted import ScriptedEngine, app_on, kernel, three_candidates
from textual.command import CommandList
from textual.widgets import TextArea

from workbench.core.messages import BeingJudged, EngineProgress, StopEngine, SubmitCandidate
from workbench.ui.screens.bench import BenchScreen
from workbench.ui.screens.dialogs import Question
from workbench.ui.screens.editor import EditorScreen

FULL = "The session folder is on a full disk. Free some space; what was shown is kept."


@pytest.fixture
def engine(tmp_path) -> ScriptedEngine:
    found = ScriptedEngine(session=str(tmp_path))
    three_candidates(found)
    return found


async def _edit(pilot, until, *keys: str) -> BenchScreen:
    bench = pilot.app.screen
    await until(pilot, lambda: bench.view.link == "live" and bench.chosen is not None)
    await pilot.press("E")
    await until(pilot, lambda: isinstance(pilot.app.screen, EditorScreen))
    await pilot.press(*keys)
    return bench


def _full(message) -> str | None:
    return FULL if isinstance(message, SubmitCandidate) else None


async def test_an_edit_that_the_engine_refuses_comes_back_and_can_be_saved_again(engine, until) -> None:
    engine.refuse = _full
    async with app_on(engine).run_test(size=(80, 24)) as pilot:
        bench = await _edit(pilot, until, *"//mine")
        first = pilot.app.screen
        await pilot.press("ctrl+s")
        await until(
            pilot, lambda: isinstance(pilot.app.screen, EditorScreen) and pilot.app.screen is not first
        )
        editor = pilot.app.screen
        await until(pilot, lambda: editor.query(TextArea))
        area = editor.query_one(TextArea)
        assert area.text == "//mine" + kernel("warp_per_row") and area.cursor_location == (0, 6)
        assert editor.changed
        assert any("full disk" in n.message for n in pilot.app._notifications)
        engine.refuse = lambda _: None
        await pilot.press("ctrl+s")
        await until(pilot, lambda: bench.chosen.id == "c0004")
        assert engine.sent(SubmitCandidate)[-1].source == area.text.encode()
        assert pilot.app.screen is bench


async def test_an_edit_saved_after_the_engine_died_comes_back(engine, until) -> None:
    async with app_on(engine).run_test(size=(80, 24)) as pilot:
        bench = await _edit(pilot, until, *"//mine")
        first = pilot.app.screen
        engine.die()
        await until(pilot, lambda: bench.view.link == "lost")
        await pilot.press("ctrl+s")
        await until(
            pilot, lambda: isinstance(pilot.app.screen, EditorScreen) and pilot.app.screen is not first
        )
        await until(pilot, lambda: pilot.app.screen.query(TextArea))
        assert pilot.app.screen.query_one(TextArea).text.startswith("//mine")


async def test_what_an_own_editor_wrote_and_the_engine_refuses_is_named_with_its_file(
    engine, until, monkeypatch, tmp_path
) -> None:
    engine.refuse = _full
    app = app_on(engine)

    async def wrote(_, command, path) -> int:
        path.write_bytes(b"//mine")
        return 0

    monkeypatch.setenv("EDITOR", "true")
    monkeypatch.setattr("workbench.ui.edits.run_editor", wrote)  # a pilot has no terminal to give away
    async with app.run_test(size=(80, 24)) as pilot:
        bench = pilot.app.screen
        await until(pilot, lambda: bench.view.link == "live" and bench.chosen is not None)
        await pilot.press("e")
        kept = tmp_path / "work" / "c0001.cu"
        said = f"{kept} keeps what you wrote; open it with o."
        await until(pilot, lambda: any(said in n.message for n in app._notifications))
        assert kept.read_bytes() == b"//mine"


async def _quit_by_palette(pilot, until) -> None:
    await pilot.press("ctrl+p")
    await until(pilot, lambda: type(pilot.app.screen).__name__ == "CommandPalette")
    await pilot.press(*"quit")
    palette = pilot.app.screen
    await until(pilot, lambda: palette.query_one(CommandList).option_count)
    await pilot.press("down", "enter")
    await until(pilot, lambda: pilot.app.screen is not palette)


async def test_the_palettes_quit_asks_about_an_edit_that_is_not_saved(engine, until) -> None:
    async with app_on(engine).run_test(size=(80, 24)) as pilot:
        await _edit(pilot, until, *"//mine")
        editor = pilot.app.screen
        await _quit_by_palette(pilot, until)
        await until(pilot, lambda: isinstance(pilot.app.screen, Question))
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is editor)
        assert editor.changed and pilot.app.is_running
        await pilot.app.action_quit()
        await until(pilot, lambda: isinstance(pilot.app.screen, Question))
        question = pilot.app.screen
        await pilot.press("d")
        await until(
            pilot, lambda: isinstance(pilot.app.screen, Question) and pilot.app.screen is not question
        )
        await pilot.press("q")  # c0003 waits for the judge, which q asks about too
        await until(pilot, lambda: pilot.app._exit)
    assert not engine.sent(SubmitCandidate)


async def test_the_palettes_quit_asks_while_something_is_judged_as_q_does(engine, until) -> None:
    engine.progress = EngineProgress(judge="ready", judging=(BeingJudged("c0003"),), activity="judging c0003")
    async with app_on(engine).run_test(size=(80, 24)) as pilot:
        bench = pilot.app.screen
        await until(pilot, lambda: bench.view.progress.of("c0003"))
        await _quit_by_palette(pilot, until)
        await until(pilot, lambda: isinstance(pilot.app.screen, Question))
        await pilot.press("s")
        await until(pilot, lambda: pilot.app._exit)
    assert engine.sent(StopEngine)


async def test_the_palettes_quit_asks_about_each_of_two_edits_that_are_not_saved(engine, until) -> None:
    async with app_on(engine).run_test(size=(80, 24)) as pilot:
        await _edit(pilot, until, *"//first")
        app, below = pilot.app, pilot.app.screen
        # The engine refuses a draft while another editor is open: it comes back over that one.
        draft = EditorScreen.Saved("c0002", "b", "was", "//second", (0, 0))
        await app.push_screen(EditorScreen("c0002", "b", "was", draft=draft))
        above = app.screen
        await until(pilot, lambda: above.query(TextArea))
        await app.action_quit()
        await until(pilot, lambda: isinstance(app.screen, Question))
        assert app.screen_stack[-2] is above
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, Question) and app.screen_stack[-2] is below)
        await pilot.press("d")  # of what is not saved: the engine's work is asked about over the bench only
        await until(pilot, lambda: isinstance(app.screen, Question) and below not in app.screen_stack)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, BenchScreen))
        assert app.is_running and not app._exit
