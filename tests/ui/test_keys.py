"""Each key's effect, as the message that reaches the engine."""

from __future__ import annotations

import asyncio

import pytest
from scripted import ScriptedEngine, app_on, kernel, three_candidates

from workbench.core import events as ev
from workbench.core.messages import (
    BeingJudged,
    CancelCandidate,
    EngineProgress,
    MarkCandidate,
    ReadSource,
    ReadVerdict,
    StopEngine,
    SubmitCandidate,
    TuneCandidate,
    VerifyAgain,
)
from workbench.ui.screens.bench import BenchScreen
from workbench.ui.screens.dialogs import LineDialog, Question
from workbench.ui.screens.editor import EditorScreen
from workbench.ui.screens.help import HelpScreen
from workbench.ui.widgets.candidate import CandidatePane
from workbench.ui.widgets.population import Population
from workbench.ui.widgets.source import SourcePane

SIZES = [(160, 45), (80, 24)]


@pytest.fixture
def engine() -> ScriptedEngine:
    found = ScriptedEngine(session="/nowhere")
    three_candidates(found)
    return found


async def _ready(pilot, until) -> BenchScreen:
    bench = pilot.app.screen
    await until(pilot, lambda: bench.view.link == "live" and bench.chosen is not None)
    return bench


@pytest.mark.parametrize("size", SIZES)
async def test_a_accepts_the_chosen_candidate_and_u_takes_it_back(engine, until, size) -> None:
    async with app_on(engine).run_test(size=size) as pilot:
        bench = await _ready(pilot, until)
        assert bench.chosen.id == "c0001"
        await pilot.press("a")
        await until(pilot, lambda: bench.chosen.mark == "accepted")
        await pilot.press("u")
        await until(pilot, lambda: bench.chosen.mark is None)
        assert engine.sent(MarkCandidate) == [
            MarkCandidate(candidate="c0001", mark="accepted"),
            MarkCandidate(candidate="c0001", mark=None),
        ]


async def test_accepting_what_has_not_passed_is_asked_about_first(engine, until) -> None:
    async with app_on(engine).run_test(size=(160, 45)) as pilot:
        bench = await _ready(pilot, until)
        await pilot.press("end")
        await until(pilot, lambda: bench.chosen.id == "c0002")
        await pilot.press("a")
        await until(pilot, lambda: isinstance(pilot.app.screen, Question))
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is bench)
        assert not engine.sent(MarkCandidate)
        await pilot.press("a", "y")
        await until(pilot, lambda: bench.chosen.mark == "accepted")


@pytest.mark.parametrize("size", SIZES)
async def test_x_rejects_with_the_reason_that_is_written(engine, until, size) -> None:
    async with app_on(engine).run_test(size=size) as pilot:
        bench = await _ready(pilot, until)
        await pilot.press("x")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        await pilot.press(*"spills q", "enter")
        await until(pilot, lambda: bench.chosen.mark == "rejected")
        assert engine.sent(MarkCandidate) == [
            MarkCandidate(candidate="c0001", mark="rejected", reason="spills q")
        ]


async def test_escape_leaves_the_reason_dialog_without_a_mark(engine, until) -> None:
    async with app_on(engine).run_test(size=(160, 45)) as pilot:
        bench = await _ready(pilot, until)
        await pilot.press("x", *"no", "escape")
        await until(pilot, lambda: pilot.app.screen is bench)
        assert not engine.sent(MarkCandidate)


async def test_a_reason_can_be_given_on_accept(engine, until) -> None:
    async with app_on(engine).run_test(size=(160, 45)) as pilot:
        bench = await _ready(pilot, until)
        await pilot.press("A", *"fast", "enter")
        await until(pilot, lambda: bench.chosen.mark == "accepted")
        assert bench.chosen.mark_reason == "fast"


async def test_a_mark_stays_with_the_candidate_for_which_the_dialog_was_opened(engine, until) -> None:
    async with app_on(engine).run_test(size=(160, 45)) as pilot:
        bench = await _ready(pilot, until)
        await pilot.press("x")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        bench.query_one(Population).choose("c0003", by_person=True)
        await pilot.press("enter")
        await until(pilot, lambda: engine.sent(MarkCandidate))
        assert engine.sent(MarkCandidate)[0].candidate == "c0001"


@pytest.mark.parametrize(
    ("key", "request_"),
    [
        ("v", VerifyAgain(candidate="c0001")),
        ("t", TuneCandidate(candidate="c0001")),
        ("c", CancelCandidate(candidate="c0001")),
        ("s", MarkCandidate(candidate="c0001", mark="shelved")),
    ],
)
@pytest.mark.parametrize("size", SIZES)
async def test_a_key_asks_the_engine(engine, until, key, request_, size) -> None:
    async with app_on(engine).run_test(size=size) as pilot:
        await _ready(pilot, until)
        await pilot.press(key)
        await until(pilot, lambda: request_ in engine.requests)
        others = [r for r in engine.requests if not isinstance(r, ReadSource | ReadVerdict)]
        assert others == [request_]


async def test_a_refusal_stays_on_the_screen_until_it_is_dismissed(engine, until) -> None:
    engine.refuse = lambda r: "It has no knobs." if isinstance(r, TuneCandidate) else None
    app = app_on(engine)
    async with app.run_test(size=(160, 45)) as pilot:
        await _ready(pilot, until)
        await pilot.press("t")
        await until(pilot, lambda: app.messages_shown)
        (shown,) = app._notifications
        assert shown.message.startswith("It has no knobs.") and shown.severity == "error"
        assert shown.timeout > 3600
        await pilot.press("escape")
        await until(pilot, lambda: not app.messages_shown)


async def test_n_and_p_and_the_arrows_go_through_the_population_and_stop_at_its_ends(engine, until) -> None:
    async with app_on(engine).run_test(size=(160, 45)) as pilot:
        bench = await _ready(pilot, until)
        seen = []
        for key in ("n", "down", "n", "p", "up", "up"):
            await pilot.press(key)
            await pilot.pause()
            seen.append(bench.chosen.id)
        assert seen == ["c0003", "c0002", "c0002", "c0003", "c0001", "c0001"]


async def test_g_goes_to_the_parent(engine, until) -> None:
    async with app_on(engine).run_test(size=(160, 45)) as pilot:
        bench = await _ready(pilot, until)
        await pilot.press("n", "g")
        await until(pilot, lambda: bench.chosen.id == "c0001")


@pytest.mark.parametrize("size", SIZES)
async def test_d_shows_the_difference_from_the_parent_and_D_draws_it_inline(engine, until, size) -> None:
    async with app_on(engine).run_test(size=size) as pilot:
        bench = await _ready(pilot, until)
        pane = bench.query_one(CandidatePane)
        await pilot.press("n", "d")
        await until(pilot, lambda: any(r.sign == "-" for r in pane.query_one("#candidate-code").rows))
        unified = pane.query_one("#candidate-code").rows
        assert unified[0].sign == "@"
        assert pane.display and pane.size.width > 20
        await pilot.press("D")
        await until(pilot, lambda: len(pane.query_one("#candidate-code").rows) > len(unified))
        await pilot.press("d")
        await until(pilot, lambda: pane.mode == "code")
        assert not any(r.sign for r in pane.query_one("#candidate-code").rows)


async def test_a_founder_has_no_difference_and_says_so(engine, until) -> None:
    app = app_on(engine)
    async with app.run_test(size=(160, 45)) as pilot:
        bench = await _ready(pilot, until)
        await pilot.press("d")
        await until(pilot, lambda: app.messages_shown)
        assert bench.query_one(CandidatePane).mode == "code"


async def test_m_switches_the_task_to_its_functional_form_and_back(engine, until) -> None:
    async with app_on(engine).run_test(size=(80, 24)) as pilot:
        bench = await _ready(pilot, until)
        await pilot.press("m")
        await pilot.pause()
        source = bench.query_one(SourcePane)
        assert source.tab == "functional" and source.display
        await pilot.press("m")
        assert source.tab == "module"


async def test_slash_filters_and_escape_shows_all_again(engine, until) -> None:
    async with app_on(engine).run_test(size=(160, 45)) as pilot:
        bench = await _ready(pilot, until)
        population = bench.query_one(Population)
        await pilot.press("slash", *"tune", "enter")
        await until(pilot, lambda: population.shown == ["c0003"])
        assert bench.chosen.id == "c0003"
        await pilot.press("escape")
        await until(pilot, lambda: len(population.shown) == 3)


async def test_o_adds_a_file_as_a_candidate_and_goes_to_it(engine, until, tmp_path) -> None:
    path = tmp_path / "mine.cu"
    path.write_text(kernel("row_in_registers"))
    async with app_on(engine).run_test(size=(80, 24)) as pilot:
        bench = await _ready(pilot, until)
        await pilot.press("o")
        await until(pilot, lambda: isinstance(pilot.app.screen, LineDialog))
        pilot.app.screen.query_one("#line").value = str(path)
        await pilot.press("enter")
        await until(pilot, lambda: bench.chosen is not None and bench.chosen.name == "mine.cu")
        assert bench.chosen.origin_path == str(path)


async def test_a_missing_file_is_an_error_that_stays(engine, until, tmp_path) -> None:
    app = app_on(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await _ready(pilot, until)
        await pilot.press("o", *"no.cu", "enter")
        await until(pilot, lambda: app.messages_shown)
        assert [n.severity for n in app._notifications] == ["error"]


async def test_E_edits_on_the_screen_and_what_changed_is_a_child(engine, until) -> None:
    async with app_on(engine).run_test(size=(80, 24)) as pilot:
        bench = await _ready(pilot, until)
        await pilot.press("E")
        await until(pilot, lambda: isinstance(pilot.app.screen, EditorScreen))
        await pilot.press(*"//x", "ctrl+s")
        await until(pilot, lambda: bench.chosen.id == "c0004")
        (sent,) = engine.sent(SubmitCandidate)
        assert sent.parents == ("c0001",) and sent.provenance == "human"
        assert sent.source == b"//x" + kernel("warp_per_row").encode()


async def test_the_inline_editor_submits_nothing_unchanged_and_asks_before_it_discards(engine, until) -> None:
    async with app_on(engine).run_test(size=(80, 24)) as pilot:
        bench = await _ready(pilot, until)
        await pilot.press("E")
        await until(pilot, lambda: isinstance(pilot.app.screen, EditorScreen))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: pilot.app.screen is bench)
        await pilot.press("E")
        await until(pilot, lambda: isinstance(pilot.app.screen, EditorScreen))
        await pilot.press("x", "escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, Question))
        await pilot.press("d")
        await until(pilot, lambda: pilot.app.screen is bench)
        assert not engine.sent(SubmitCandidate)


async def test_e_edits_on_the_screen_where_there_is_no_editor(engine, until) -> None:
    async with app_on(engine).run_test(size=(80, 24)) as pilot:
        await _ready(pilot, until)
        await pilot.press("e")
        await until(pilot, lambda: isinstance(pilot.app.screen, EditorScreen))


async def test_question_mark_lists_every_key_of_the_bench(engine, until) -> None:
    async with app_on(engine).run_test(size=(160, 45)) as pilot:
        bench = await _ready(pilot, until)
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(pilot.app.screen, HelpScreen))
        text = str(pilot.app.screen.query("Static").first().content)
        for binding in BenchScreen.BINDINGS:
            assert binding.tooltip and binding.tooltip in text
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is bench)


async def test_the_numbers_go_to_the_panes(engine, until) -> None:
    async with app_on(engine).run_test(size=(80, 24)) as pilot:
        bench = await _ready(pilot, until)
        for key, pane in (("1", "source"), ("2", "candidate"), ("3", "verdict")):
            await pilot.press(key)
            await until(pilot, lambda pane=pane: bench.query_one(f"#{pane}").has_focus_within)
            assert [p.id for p in bench.query("#panes > .pane") if p.display] == [pane]
        await pilot.press("4")
        await until(pilot, lambda: bench.query_one(Population).has_focus)


async def test_z_gives_a_pane_the_screen_and_takes_it_back(engine, until) -> None:
    async with app_on(engine).run_test(size=(160, 45)) as pilot:
        bench = await _ready(pilot, until)
        await pilot.press("3")
        await until(pilot, lambda: bench.query_one("#verdict").has_focus)
        await pilot.press("z")
        await until(pilot, lambda: bench.maximized is not None)
        await pilot.press("z")
        await until(pilot, lambda: bench.maximized is None)


async def test_q_leaves_at_once_when_nothing_is_judged(engine, until) -> None:
    engine.say(ev.CandidateCancelled(candidate="c0003"))
    app = app_on(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await _ready(pilot, until)
        await pilot.press("q")
        await until(pilot, lambda: app._exit)
    assert not engine.sent(StopEngine)


@pytest.mark.parametrize(("answer", "stopped"), [("q", 0), ("s", 1)])
async def test_q_asks_once_while_something_is_judged(engine, until, answer, stopped) -> None:
    app = app_on(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        bench = await _ready(pilot, until)
        engine.tell(EngineProgress(activity="judging c0003", judging=(BeingJudged("c0003"),), judge="ready"))
        await until(pilot, lambda: bench.view.progress.judging)
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, Question))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is bench)
        await pilot.press("q", answer)
        await until(pilot, lambda: app._exit)
    assert len(engine.sent(StopEngine)) == stopped


async def test_an_engine_that_does_not_answer_keeps_nobody_from_leaving(engine, until, monkeypatch) -> None:
    monkeypatch.setattr("workbench.ui.app.STOP_LIMIT_S", 0.1)
    request = engine.request

    async def deaf(message):
        if isinstance(message, StopEngine):
            await asyncio.get_running_loop().create_future()
        return await request(message)

    engine.request = deaf
    async with app_on(engine).run_test(size=(80, 24)) as pilot:
        await _ready(pilot, until)
        engine.say(ev.JudgingStarted(candidate="c0003", revision=1))
        engine.tell(EngineProgress(judging=(BeingJudged("c0003"),), activity="judging c0003", judge="ready"))
        await until(pilot, lambda: pilot.app.screen.view.progress.of("c0003"))
        await pilot.press("q", "s")
        await until(pilot, lambda: pilot.app._exit)


async def test_a_click_chooses_a_candidate_and_a_click_on_a_key_is_the_key(engine, until) -> None:
    async with app_on(engine).run_test(size=(160, 45)) as pilot:
        bench = await _ready(pilot, until)
        await pilot.click(Population, offset=(30, 3))
        await until(pilot, lambda: bench.chosen.id == "c0003")
        await pilot.click("#keys", offset=(1, 0))
        await until(pilot, lambda: isinstance(pilot.app.screen, Question))  # it has not passed: asked first


async def test_no_key_of_the_bench_is_left_out_of_the_help_or_means_two_things() -> None:
    keys = [key for binding in BenchScreen.BINDINGS for key in binding.key.split(",")]
    assert len(keys) == len(set(keys))
    assert "k" not in keys  # kept for the request to a model


async def test_the_zoomed_population_fills_the_screen(engine, until) -> None:
    async with app_on(engine).run_test(size=(160, 45)) as pilot:
        bench = await _ready(pilot, until)
        await pilot.press("z")
        await until(pilot, lambda: bench.query_one(Population).region.height > 38)
        await pilot.press("3")
        await until(pilot, lambda: bench.query_one("#verdict").region.width == 160)
        await pilot.press("z")
        await until(pilot, lambda: bench.query_one("#verdict").region.width < 80)
