"""Every gate that can fail is explained."""

from __future__ import annotations

from workbench.core.explain import FAULTS, explain
from workbench.core.explain import GATES as EXPLAINED
from workbench.core.verdict import GATES, Gate


def test_every_gate_has_three_lines_that_fit_a_screen() -> None:
    for name in GATES:
        found = explain(Gate(name, "fail", ""))
        assert found is not None
        for line in (found.means, found.matters, found.fix):
            assert 20 < len(line) <= 130 and line.endswith(".") and "\n" not in line


def test_a_fault_is_explained_by_its_kind() -> None:
    gate = Gate("numerics", "fail", "", {"fault": "hang"})
    assert explain(gate) == FAULTS["hang"]
    assert explain(Gate("numerics", "fail", "", {"buffer": "stack"})) == FAULTS["crash"]
    assert explain(Gate("bounds", "fail", "", {"fault": ["not", "a", "word"]})) is not None
    assert explain(Gate("made up", "fail", "")) is None


def test_what_is_wrong_at_another_size_is_explained_by_its_cause() -> None:
    assert explain(Gate("shapes", "fail", "", {"cause": "determinism"})) == EXPLAINED["determinism"]
    for cause in ("", "made up", ["not", "a", "word"]):
        assert explain(Gate("shapes", "fail", "", {"cause": cause})) == EXPLAINED["shapes"]
