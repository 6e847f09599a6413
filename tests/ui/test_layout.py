"""The screen at 160x45, at 80x24 and where it is too small: nothing overlaps, nothing is cut off at the side."""

from __future__ import annotations

import itertools

import pytest
from scripted import ScriptedEngine, app_on, three_candidates

from workbench.core import events as ev
from workbench.core.messages import EngineProgress
from workbench.ui.widgets.keybar import HintLine, KeyBar
from workbench.ui.widgets.population import Population

SIZES = [(160, 45), (120, 34), (119, 40), (80, 24), (60, 16), (200, 20), (300, 100)]


@pytest.fixture
def engine() -> ScriptedEngine:
    found = ScriptedEngine()
    three_candidates(found)
    return found


def _visible(bench):
    found = dict.fromkeys((*bench.children, *bench.query(".pane")))
    return [w for w in found if w.display and w.region.area and w.id != "panes"]


async def _live(pilot, until):
    bench = pilot.app.screen
    await until(pilot, lambda: bench.view.link == "live" and bench.chosen is not None)
    await pilot.pause()
    return bench


@pytest.mark.parametrize("size", SIZES)
async def test_nothing_overlaps_and_nothing_leaves_the_screen(engine, until, size) -> None:
    async with app_on(engine).run_test(size=size) as pilot:
        bench = await _live(pilot, until)
        shown = [w for w in _visible(bench) if not w.has_class("-textual-system")]
        for a, b in itertools.combinations(shown, 2):
            assert not a.region.overlaps(b.region), f"{a!r} and {b!r}"
        for widget in shown:
            assert bench.region.contains_region(widget.region), repr(widget)
        assert bench.max_scroll_x == 0 and bench.max_scroll_y == 0
        for name in ("#header", "#population", "#hint", "#keys", "#verdict"):
            assert bench.query_one(name).region.area, name
        assert bench.query_one(Population).size.height >= 4


@pytest.mark.parametrize("size", SIZES)
async def test_no_line_of_the_head_or_foot_is_wider_than_the_screen(engine, until, size) -> None:
    async with app_on(engine).run_test(size=size) as pilot:
        bench = await _live(pilot, until)
        for name in ("#header", "#hint", "#keys"):
            widget = bench.query_one(name)
            assert widget.region.height == 1
        assert bench.query_one("#header").render().cell_length <= size[0] - 2
        assert bench.query_one(KeyBar).render().cell_length <= size[0]


async def test_three_panes_stand_beside_each_other_on_a_wide_screen(engine, until) -> None:
    async with app_on(engine).run_test(size=(160, 45)) as pilot:
        bench = await _live(pilot, until)
        panes = [bench.query_one(f"#{n}").region for n in ("source", "candidate", "verdict")]
        assert len({p.y for p in panes}) == 1
        assert [p.x for p in panes] == sorted({p.x for p in panes})
        assert min(p.width for p in panes) >= 38
        assert not bench.query_one("#pane-tabs").display


async def test_panes_are_tabs_on_a_narrow_screen(engine, until) -> None:
    async with app_on(engine).run_test(size=(80, 24)) as pilot:
        bench = await _live(pilot, until)
        assert bench.query_one("#pane-tabs").display
        assert [p.id for p in bench.query("#panes > .pane") if p.display] == ["verdict"]
        await pilot.click("#pane-tabs", offset=(3, 0))
        await until(pilot, lambda: bench.query_one("#source").display)
        assert [p.id for p in bench.query("#panes > .pane") if p.display] == ["source"]


@pytest.mark.parametrize("size", [(40, 24), (59, 45), (160, 12), (10, 4)])
async def test_a_terminal_that_is_too_small_gets_a_clear_message(engine, until, size) -> None:
    app = app_on(engine)
    async with app.run_test(size=size) as pilot:
        bench = app.screen
        await until(pilot, lambda: bench.view.link == "live")
        assert [w.id for w in bench.children if w.display and w.region.area] == ["too-small"]
        assert "60 columns" in str(bench.query_one("#too-small").content)
        await pilot.resize_terminal(100, 30)
        await until(pilot, lambda: bench.query_one("#population").region.area)
        await pilot.resize_terminal(40, 24)
        engine.say(ev.CandidateCancelled(candidate="c0003"))
        await until(pilot, lambda: bench.view.candidates["c0003"].state == "cancelled")
        await pilot.press("q")
        await until(pilot, lambda: app._exit)


async def test_the_speed_up_column_on_the_host_says_that_it_needs_a_gpu(engine, until) -> None:
    for size in ((160, 45), (80, 24)):
        async with app_on(engine).run_test(size=size) as pilot:
            bench = await _live(pilot, until)
            population = bench.query_one(Population)
            lines = [population.render_line(y).text for y in range(4)]
            assert "Speed-up" in lines[0]
            assert all("needs GPU" in line for line in lines[1:])
            for column in ("Name", "Origin", "Parent", "Regs", "Occ", "Age"):
                assert column in lines[0]
            assert "c0001" in lines[1] and "archive" in lines[1] and "75 %" in lines[1]


async def test_every_state_and_mark_has_a_symbol_besides_its_colour(monkeypatch, engine, until) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = app_on(engine)
    async with app.run_test(size=(160, 45)) as pilot:
        bench = await _live(pilot, until)
        await pilot.press("a")
        await until(pilot, lambda: bench.chosen.mark == "accepted")
        lines = [bench.query_one(Population).render_line(y).text for y in range(1, 4)]
        assert "✓ passed" in lines[0] and "★ accepted" in lines[0]
        assert "· queued" in lines[1] and "✗ numerics" in lines[2]
        assert app.no_color


@pytest.mark.parametrize("theme", ["dark", "light", "nord", "textual-light", "no-such-theme"])
async def test_both_themes_and_those_of_textual_work(engine, until, theme) -> None:
    async with app_on(engine, theme=theme).run_test(size=(160, 45)) as pilot:
        await _live(pilot, until)
        assert pilot.app.export_screenshot()
        told = [message.message for message in pilot.app._notifications]
        assert any("no theme no-such-theme" in words for words in told) == (theme == "no-such-theme")


async def test_pass_and_accept_share_no_colour_and_no_symbol(engine, until) -> None:
    from workbench.ui import words

    symbols = [s for s, _ in (*words.STATES.values(), *words.MARKS.values())]
    assert len(symbols) == len(set(symbols))
    for theme in ("dark", "light"):
        async with app_on(engine, theme=theme).run_test(size=(160, 45)) as pilot:
            bench = await _live(pilot, until)
            population = bench.query_one(Population)

            def colour(name: str, population=population) -> object:
                return population.get_component_rich_style(f"population--{name}").color

            judge = [colour(n) for n in ("passed", "failed", "could-not-judge", "judging")]
            person = [colour(n) for n in ("accepted", "rejected", "shelved")]
            assert not set(judge) & set(person)
            assert len(set(judge + person)) == 7


async def test_there_is_one_hint_for_every_situation(engine, until) -> None:
    async with app_on(engine).run_test(size=(160, 45)) as pilot:
        bench = await _live(pilot, until)
        line = bench.query_one(HintLine)
        assert line.hint[0] == "a"
        await pilot.press("a")
        await until(pilot, lambda: line.hint[0] == "e")
        engine.tell(EngineProgress(judge="restarting", activity="The judge ended."))
        await until(pilot, lambda: "not running" in line.hint[1])
        assert bench.query_one("#banner").display
