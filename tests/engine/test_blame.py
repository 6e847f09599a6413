"""Whose fault a judge's death is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workbench.engine.blame import DEATHS, OWN_DEATHS, Blame


def test_a_candidate_that_another_judge_gets_through_with_was_not_at_fault() -> None:
    blame = Blame()
    for number in range(OWN_DEATHS):
        assert not blame.at_fault(2)
        blame.died(f"c{number}", 2)
        assert blame.died_under(f"c{number}", 2) and not blame.died_under(f"c{number}", 1)
        blame.judged(f"c{number}", 1)
    assert blame.at_fault(2) and not blame.at_fault(1)
    assert not blame.orphaned


def test_a_verdict_clears_a_judge() -> None:
    blame = Blame()
    for number in range(2 * OWN_DEATHS):
        blame.died(f"c{number}", 2)
        blame.judged(f"c{number}", 1)
        blame.judged(f"good{number}", 2)
    assert not blame.at_fault(2)


def test_what_a_judge_that_was_taken_out_died_under_is_held_against_no_candidate() -> None:
    blame = Blame()
    blame.died("c1", 2)
    blame.taken_out(2)
    assert list(blame.orphaned) == ["c1"]  # it had its turn
    blame.died("c1", 1)
    assert not blame.hopeless("c1")


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 4)), max_size=60))
def test_candidates_that_kill_whoever_judges_them_never_make_a_judge_look_at_fault(
    deaths: list[tuple[int, int]],
) -> None:
    blame = Blame()
    for candidate, judge in deaths:
        blame.died(f"c{candidate}", judge)
        if blame.hopeless(f"c{candidate}"):
            blame.forget(f"c{candidate}")
    assert not any(blame.at_fault(judge) for judge in range(1, 5))
    assert all(not blame.hopeless(candidate) for candidate in blame.orphaned) and DEATHS == 2
