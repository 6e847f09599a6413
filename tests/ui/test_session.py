"""News from the engine on the screen: verdicts, live gates, stale ones, a broken task, and an engine that dies."""

from __future__ import annotations

import pytest
from scripted import (
    FORM,
    TASK,
    ScriptedEngine,
    app_on,
    gates,
    kernel,
    started,
    task_info,
    three_candidates,
)

from workbench.core import events as ev
from workbench.core.errors import SessionError
from workbench.core.messages import BeingJudged, EngineProgress, MarkCandidate, ReadVerdict
from workbench.ui.app import WorkbenchApp
from workbench.ui.screens.bench import BenchScreen
from workbench.ui.screens.picker import PickerScreen
from workbench.ui.widgets.code_view import CodeView
from workbench.ui.widgets.header import TaskHeader
from workbench.ui.widgets.population import Population


@pytest.fixture
def engine() -> ScriptedEngine:
    found = ScriptedEngine()
    three_candidates(found)
    return found


def _text(bench: BenchScreen, name: str) -> str:
    return str(bench.query_one(name).content)


def _code(bench: BenchScreen, name: str) -> str:
    return "\n".join("".join(t for t, _ in row.line) for row in bench.query_one(name, CodeView).rows)


async def test_the_task_is_there_to_read_before_the_engine_answers(until) -> None:
    app = WorkbenchApp(ScriptedEngine(), task=TASK, opening=None)
    async with app.run_test(size=(160, 45)) as pilot:
        await until(pilot, lambda: "class Model(nn.Module)" in _code(app.screen, "#source-code"))
        assert "the engine starts" in str(app.screen.query_one(TaskHeader).render())


async def test_several_judges_are_counted_and_each_candidate_shows_its_own_gates(until) -> None:
    engine = ScriptedEngine(started())
    async with app_on(engine).run_test(size=(160, 45)) as pilot:
        bench = pilot.app.screen
        for number in (1, 2):
            engine.say(
                engine.add(f"c000{number}", "one", kernel("warp_per_row")),
                ev.JudgingStarted(candidate=f"c000{number}", revision=1),
            )
        now = (BeingJudged("c0001", gates(2), "bounds"), BeingJudged("c0002", gates(3), "numerics"))
        engine.tell(
            EngineProgress(activity="judging c0001, c0002", judging=now, judge="ready", judges=3, working=2)
        )
        await until(pilot, lambda: "judging c0001: bounds" in _text(bench, "#headline"))
        assert _text(bench, "#verdict-body").count("✓") == 2
        assert "judging c0001, c0002 (2 of 3 judges)" in str(bench.query_one(TaskHeader).render())
        bench.choose("c0002")
        await until(pilot, lambda: "judging c0002: numerics" in _text(bench, "#headline"))
        assert _text(bench, "#verdict-body").count("✓") == 3
        engine.tell(EngineProgress(judge="ready", judges=3, working=2))
        await until(pilot, lambda: "2 of 3 judges ready" in str(bench.query_one(TaskHeader).render()))
        engine.tell(EngineProgress(judge="ready", judges=3, working=3))
        await until(pilot, lambda: "  3 judges ready" in str(bench.query_one(TaskHeader).render()))


async def test_gates_tick_while_the_candidate_is_judged_and_the_verdict_replaces_them(until) -> None:
    engine = ScriptedEngine(started())
    async with app_on(engine).run_test(size=(160, 45)) as pilot:
        bench = pilot.app.screen
        engine.say(
            engine.add("c0001", "one", kernel("warp_per_row")),
            ev.JudgingStarted(candidate="c0001", revision=1),
        )
        engine.tell(
            EngineProgress(
                activity="judging c0001",
                judging=(BeingJudged("c0001", gates(3), "numerics"),),
                judge="ready",
            )
        )
        await until(pilot, lambda: "numerics" in _text(bench, "#headline"))
        body = _text(bench, "#verdict-body")
        assert body.count("✓") == 3 and "0.02 s" in body and "· precision" in body
        assert "judging c0001: numerics" in str(bench.query_one(TaskHeader).render())
        engine.say(engine.judged("c0001"))
        engine.tell(EngineProgress(judge="ready"))
        await until(pilot, lambda: "PASS" in _text(bench, "#headline"))
        await until(pilot, lambda: "32 registers" in _text(bench, "#verdict-body"))
        body = _text(bench, "#verdict-body")
        assert (
            "75 % occupancy" in body
            and "limit: registers" in body
            and "SASS: profiles/c0001.sass" in body
            and "Not checked" in body
        )
        assert bench.query_one("#headline").has_class("pass")


async def test_a_failure_shows_its_cause_its_evidence_the_line_and_three_lines_for_a_newcomer(
    engine, until
) -> None:
    async with app_on(engine).run_test(size=(160, 45)) as pilot:
        bench = pilot.app.screen
        await until(pilot, lambda: bench.chosen is not None)
        await pilot.press("end")
        await until(pilot, lambda: "Why it failed numerics" in _text(bench, "#verdict-body"))
        body = _text(bench, "#verdict-body")
        assert "93 of 32768" in _text(bench, "#headline")
        assert "worst.expected" in body and "0.75" in body
        for label in ("Means", "Matters", "Fix"):
            assert label in body
        await until(
            pilot, lambda: any(r.sign == "!" for r in bench.query_one("#candidate-code", CodeView).rows)
        )
        assert [r.number for r in bench.query_one("#candidate-code", CodeView).rows if r.sign == "!"] == [6]


async def test_machine_code_is_named_only_where_the_log_says_that_it_was_kept(until) -> None:
    engine = ScriptedEngine(started())
    async with app_on(engine).run_test(size=(160, 45)) as pilot:
        bench = pilot.app.screen
        engine.say(engine.add("c0001"), engine.judged("c0001", listed=True))
        await until(pilot, lambda: "SASS: profiles/c0001.sass" in _text(bench, "#verdict-body"))
        engine.say(ev.CandidateQueued(candidate="c0001"), engine.judged("c0001", listed=False))
        await until(pilot, lambda: "SASS" not in _text(bench, "#verdict-body"))
        assert "32 registers" in _text(bench, "#verdict-body")


async def test_the_cursor_is_on_the_first_verdict_until_a_person_moves_it_and_then_stays(until) -> None:
    engine = ScriptedEngine(started())
    async with app_on(engine).run_test(size=(160, 45)) as pilot:
        bench = pilot.app.screen
        engine.say(engine.add("c0001"), engine.add("c0002"), ev.JudgingStarted(candidate="c0002", revision=1))
        engine.say(engine.judged("c0002"))
        await until(pilot, lambda: bench.chosen is not None and bench.chosen.id == "c0002")
        engine.say(ev.JudgingStarted(candidate="c0001", revision=1), engine.judged("c0001", rank=0.5))
        await until(pilot, lambda: bench.query_one(Population).shown == ["c0001", "c0002"])
        assert bench.chosen.id == "c0002"


async def test_a_new_task_revision_makes_verdicts_stale_and_the_hint_says_verify(engine, until) -> None:
    async with app_on(engine).run_test(size=(160, 45)) as pilot:
        bench = pilot.app.screen
        await until(pilot, lambda: bench.chosen is not None)
        engine.say(ev.TaskLoaded(revision=2, info=task_info("f2")))
        await until(pilot, lambda: bench.chosen.state == "stale")
        assert "STALE" in _text(bench, "#headline")
        assert bench.query_one("#hint").hint[0] == "v"
        assert "~ stale" in bench.query_one(Population).render_line(2).text
        assert "stale" in bench.query_one("#header").render().plain


async def test_a_broken_task_is_said_in_a_banner_and_the_last_good_source_stays(engine, until) -> None:
    async with app_on(engine).run_test(size=(160, 45)) as pilot:
        bench = pilot.app.screen
        engine.say(ev.TaskBroken(message="rmsnorm.py:3: SyntaxError: '(' was never closed."))
        await until(pilot, lambda: bench.query_one("#banner").display)
        assert "never closed" in _text(bench, "#banner")
        assert "class Model" in _code(bench, "#source-code")
        engine.say(ev.TaskLoaded(revision=2, info=task_info("f2")))
        await until(pilot, lambda: not bench.query_one("#banner").display)


async def test_a_full_disk_that_keeps_a_verdict_waiting_is_said_in_a_banner_until_there_is_room(
    engine, until
) -> None:
    async with app_on(engine).run_test(size=(160, 45)) as pilot:
        bench = pilot.app.screen
        await until(pilot, lambda: bench.chosen is not None)
        engine.tell(EngineProgress(judge="ready", judging=(BeingJudged("c0001"),), activity="judging c0001"))
        await until(pilot, lambda: "judging c0001" in bench.query_one("#header").render().plain)
        assert not bench.query_one("#banner").display
        engine.tell(
            EngineProgress(
                judge="ready", judging=(BeingJudged("c0001"),), activity="The folder is on a full disk."
            )
        )
        await until(pilot, lambda: bench.query_one("#banner").display)
        assert "full disk" in _text(bench, "#banner")
        assert "c0001 waits to be kept" in bench.query_one("#header").render().plain
        engine.tell(EngineProgress(judge="ready"))
        await until(pilot, lambda: not bench.query_one("#banner").display)


async def test_the_functional_form_says_that_it_comes_and_then_is_there(engine, until) -> None:
    async with app_on(engine).run_test(size=(160, 45)) as pilot:
        bench = pilot.app.screen
        await until(pilot, lambda: bench.view.link == "live")
        await pilot.press("m")
        await until(pilot, lambda: "functional form is not" in _code(bench, "#source-code"))
        engine.say(ev.FunctionalFormFound(revision=1, form=FORM))
        await until(pilot, lambda: "def forward(x, weight, eps)" in _code(bench, "#source-code"))


async def test_an_engine_that_dies_is_said_and_r_starts_it_again_with_the_same_population(
    engine, until
) -> None:
    engine.session = "/sessions/one"
    async with app_on(engine).run_test(size=(160, 45)) as pilot:
        bench = pilot.app.screen
        await until(pilot, lambda: bench.chosen is not None)
        engine.die("the engine ended")
        await until(pilot, lambda: bench.view.link == "lost")
        assert "r starts it again" in _text(bench, "#banner")
        assert bench.query_one("#hint").hint[0] == "r"
        assert len(bench.query_one(Population).shown) == 3
        await pilot.press("a")
        await until(pilot, lambda: pilot.app.messages_shown)
        assert not engine.sent(MarkCandidate)
        await pilot.press("r")
        await until(pilot, lambda: bench.view.link == "live")
        assert engine.opened == ["/sessions/one"]
        assert not bench.query_one("#banner").display
        await pilot.press("a")
        await until(pilot, lambda: bench.chosen.mark == "accepted")


async def test_what_was_noticed_before_the_screen_was_there_is_said_once_it_is_and_stays(
    engine, until
) -> None:
    for event in (
        ev.Noticed(text="an old trouble", level="warning"),
        ev.SessionResumed(version="1"),
        ev.Noticed(text="The log was changed by another hand.", level="warning"),
        ev.Noticed(text="The log was changed by another hand.", level="warning"),
        ev.Noticed(text="by the way", level="info"),
    ):
        engine._log(event)
    app = app_on(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.messages_shown)
        await pilot.pause(0.1)
        (notice,) = app._notifications
        assert "changed by another hand" in notice.message and "esc" in notice.message
        assert notice.severity == "warning" and notice.timeout > 3600
        await pilot.press("escape")
        await until(pilot, lambda: not app.messages_shown)


async def test_a_verdict_is_read_when_the_judging_that_hid_it_is_cancelled(until) -> None:
    engine = ScriptedEngine(started())
    engine._log(engine.add("c0001", "one", kernel("warp_per_row")))
    engine._log(engine.judged("c0001"))
    engine._log(ev.JudgingStarted(candidate="c0001", revision=1))
    async with app_on(engine).run_test(size=(160, 45)) as pilot:
        bench = pilot.app.screen
        await until(pilot, lambda: "warp" in _code(bench, "#candidate-code"))
        engine.say(ev.CandidateCancelled(candidate="c0001"))
        await until(pilot, lambda: "32 registers" in _text(bench, "#verdict-body"))


async def test_a_verdict_that_was_being_read_when_the_engine_died_is_read_from_the_next_one(
    engine, until
) -> None:
    def dies(message) -> None:
        if isinstance(message, ReadVerdict):
            engine.refuse = lambda _: None
            engine.die()
            raise SessionError("The engine is gone.")

    engine.session = "/sessions/one"
    engine.refuse = dies
    async with app_on(engine).run_test(size=(160, 45)) as pilot:
        bench = pilot.app.screen
        await until(pilot, lambda: bench.view.link == "lost")
        assert "being read" in _text(bench, "#verdict-body")
        await pilot.press("r")
        await until(pilot, lambda: "32 registers" in _text(bench, "#verdict-body"))


async def test_a_verdict_that_the_engine_refuses_is_said_once_and_not_asked_for_again_and_again(
    engine, until
) -> None:
    engine.refuse = lambda m: "It was edited." if isinstance(m, ReadVerdict) else None
    app = app_on(engine)
    async with app.run_test(size=(160, 45)) as pilot:
        await until(pilot, lambda: app.messages_shown)
        for n in range(5):
            engine.say(engine.add(f"d{n:04}"))
            await until(pilot, lambda n=n: f"d{n:04}" in app.screen.view.candidates)
        assert len(engine.sent(ReadVerdict)) == 1


async def test_an_engine_that_is_still_starting_is_not_said_to_be_gone(until) -> None:
    app = WorkbenchApp(ScriptedEngine(), task=TASK, opening=None)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.screen.view.link == "connecting")
        await app._submit_file("x.cu")
        await pilot.press("r")
        await until(pilot, lambda: len(app._notifications) == 2)
        first, second = (n.message for n in app._notifications)
        assert first == "The engine is still starting; try again in a moment."
        assert second == "The engine is still starting."


async def test_an_engine_that_cannot_start_says_why(until) -> None:
    engine = ScriptedEngine()
    engine.fails_to_start = "A session cannot be kept in /ro: Read-only file system."
    async with app_on(engine).run_test(size=(80, 24)) as pilot:
        bench = pilot.app.screen
        await until(pilot, lambda: bench.view.link == "lost")
        assert "Read-only file system" in _text(bench, "#banner")


async def test_a_burst_of_events_is_drawn_in_few_pictures(engine, until, monkeypatch) -> None:
    drawn = []
    show = BenchScreen.show
    monkeypatch.setattr(BenchScreen, "show", lambda self, view: (drawn.append(view), show(self, view))[1])
    async with app_on(engine).run_test(size=(160, 45)) as pilot:
        bench = pilot.app.screen
        await until(pilot, lambda: bench.chosen is not None)
        drawn.clear()
        for n in range(500):
            engine.say(engine.add(f"d{n:04}", "burst"))
        await until(pilot, lambda: len(bench.view.candidates) == 503)
        assert len(drawn) < 60  # twenty a second; a slow machine may take some seconds
        assert len(bench.query_one(Population).shown) == 503


async def test_ten_thousand_candidates_stay_usable(until) -> None:
    engine = ScriptedEngine(started())
    for n in range(10_000):
        engine._log(engine.add(f"c{n:05}", f"candidate {n}", provenance="tune"))
    async with app_on(engine).run_test(size=(160, 45)) as pilot:
        bench = pilot.app.screen
        population = bench.query_one(Population)
        await until(pilot, lambda: len(population.shown) == 10_000)
        await pilot.press("end")
        await until(pilot, lambda: bench.chosen.id == "c09999")
        looked_at = []
        place = Population._place
        population._place = lambda c: (looked_at.append(c), place(population, c))[1]  # type: ignore[method-assign] # counted
        engine.say(engine.judged("c05000", rank=1.0))
        await until(pilot, lambda: population.shown[0] == "c05000")
        assert looked_at == ["c05000"]
        assert bench.chosen.id == "c09999"


@pytest.mark.parametrize("size", [(160, 45), (80, 24)])
async def test_the_cursor_stays_in_sight_when_its_candidate_sinks_to_the_end(until, size) -> None:
    engine = ScriptedEngine(started())
    for n in range(60):
        engine._log(engine.add(f"c{n:04}", provenance="tune"))
    async with app_on(engine).run_test(size=size) as pilot:
        bench = pilot.app.screen
        population = bench.query_one(Population)
        await until(pilot, lambda: len(population.shown) == 60 and bench.chosen is not None)
        await pilot.press("n", "p")
        chosen = bench.chosen.id
        engine.say(ev.CandidateCancelled(candidate=chosen))
        await until(pilot, lambda: population.shown[-1] == chosen)

        def drawn() -> str:
            return "\n".join(population.render_line(y).text for y in range(population.size.height))

        await until(pilot, lambda: chosen in drawn())
        assert bench.query_one("#hint").hint == ("v", f"has {chosen} judged after all")


async def test_reopening_shows_the_same_population(engine, until) -> None:
    async def lines() -> list[str]:
        async with app_on(engine).run_test(size=(160, 45)) as pilot:
            bench = pilot.app.screen
            await until(pilot, lambda: bench.chosen is not None)
            if not engine.sent(MarkCandidate):
                await pilot.press("a")
                await until(pilot, lambda: bench.chosen.mark == "accepted")
            population = bench.query_one(Population)
            return [population.render_line(y).text[:90] for y in range(4)]

    assert await lines() == await lines()


async def test_files_named_on_the_command_line_are_submitted_once_attached(engine, until, tmp_path) -> None:
    mine = tmp_path / "mine.cu"
    mine.write_text(kernel("warp_per_row"))
    missing = str(tmp_path / "gone.cu")
    app = app_on(engine, candidates=[str(mine), missing])
    async with app.run_test(size=(160, 45)) as pilot:
        await until(pilot, lambda: any(c.name == "mine.cu" for c in app.screen.view.candidates.values()))
        await until(pilot, lambda: any("gone.cu" in n.message for n in app._notifications))


async def test_without_a_task_a_picker_lists_sessions_and_shipped_tasks_and_opens_one(
    until, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WORKBENCH_SESSIONS", raising=False)
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "mine.py").write_text('"""My own task."""\n')
    (tmp_path / "sessions" / "softmax-2026-01-01-1").mkdir(parents=True)
    (tmp_path / "sessions" / "softmax-2026-01-01-1" / "events.jsonl").write_text("")
    engine = ScriptedEngine(started())
    app = WorkbenchApp(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        assert isinstance(app.screen, PickerScreen)
        options = app.screen.query_one("#picker")
        text = "\n".join(str(options.get_option_at_index(i).prompt) for i in range(options.option_count))
        assert "softmax-2026-01-01-1" in text and "My own task" in text and "rmsnorm" in text
        rows = [options.render_line(y).text for y in range(options.size.height)]
        assert all(row.startswith("  ") for row in rows if "session" not in row and "asks" not in row)
        await pilot.press("n", "enter")
        await until(pilot, lambda: isinstance(app.screen, BenchScreen))
        await until(pilot, lambda: app.screen.view.link == "live")
        assert engine.opened == [str(tmp_path / "tasks" / "mine.py")]


async def test_text_of_a_candidate_can_neither_reach_the_terminal_nor_be_markup(until) -> None:
    engine = ScriptedEngine(started())
    hostile = "// \x1b]0;owned\x07 [@click=app.exit]x[/] \u202e\n/*@plan\n@*/\n\x9b31m"
    async with app_on(engine).run_test(size=(160, 45)) as pilot:
        bench = pilot.app.screen
        engine.say(engine.add("c0001", "\x1b[2J[bold]name[/]", hostile, note="\x1b[31m[red]"))
        await until(pilot, lambda: "owned" in _code(bench, "#candidate-code"))
        seen = _code(bench, "#candidate-code") + "".join(
            bench.query_one(Population).render_line(y).text for y in range(3)
        )
        seen += str(bench.query_one("#candidate").border_title)
        assert not any(c in seen for c in "\x1b\x07\x9b\u202e")
        assert "[bold]name[/]" in seen and "[@click=app.exit]" in seen
