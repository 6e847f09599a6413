"""How an estimate reads."""

from __future__ import annotations

from workbench.core.estimates import estimate_line, worst_lines

COUNTED = {
    "relative_cost": 1.25,
    "limit": "memory",
    "load_sectors": 4096,
    "load_efficiency": 0.125,
    "store_sectors": 0,
    "store_efficiency": 1.0,
    "bank_conflicts": 992,
    "active_lanes": 0.5,
    "worst_lines": [{"line": 7, "what": "loads use 4 of the 32 bytes of each sector"}],
}


def test_an_estimate_reads_as_a_rank_and_what_it_rests_on() -> None:
    assert estimate_line(COUNTED) == (
        "1.25 times the least traffic, limited by memory; loads use 12 % of their sectors; 992 bank conflicts; 50 % of lanes active"
    )
    assert worst_lines(COUNTED) == ["line 7: loads use 4 of the 32 bytes of each sector"]


def test_what_was_not_counted_is_said() -> None:
    assert estimate_line({"relative_cost": 1.0}) == "1 times the least traffic; nothing counted"


def test_anything_else_says_nothing() -> None:
    assert estimate_line(None) == estimate_line({}) == estimate_line({"relative_cost": "fast"}) == ""
    assert worst_lines({"worst_lines": ["?", {"line": 1}]}) == []
