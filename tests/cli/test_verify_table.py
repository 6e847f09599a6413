"""The rows of `workbench verify`: what stands in them, and how they make do with a narrow terminal."""

from __future__ import annotations

import pytest

from workbench.cli.verify_table import Table
from workbench.core.verdict import KernelResources, Resources, Seconds, Verdict, VerdictCandidate, VerdictTask


def verdict(spill_bytes: int = 0) -> Verdict:
    kernels = (
        KernelResources(name="plain", registers=32, spill_bytes=0, shared_bytes=48, occupancy=1.0),
        KernelResources(
            name="greedy", registers=255, spill_bytes=spill_bytes, shared_bytes=65536, occupancy=0.125
        ),
    )
    return Verdict(
        task=VerdictTask("softmax", "f1", 1),
        candidate=VerdictCandidate("c1", "0" * 64, "/somewhere/a_candidate_of_quite_some_length.cu"),
        target="host",
        device={},
        versions={},
        outcome="pass",
        reason="",
        resources=Resources(kernels=kernels),
        seconds=Seconds(total=1.5),
    )


def row(of: Verdict, columns: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    return Table(colour=False).row(of).splitlines()


def test_a_kernel_that_spills_is_named_with_its_bytes_and_one_that_does_not_is_not_mentioned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = row(verdict(spill_bytes=184), 80, monkeypatch)
    assert [line.strip() for line in said if "spill" in line] == ["spills a thread: greedy 184 B"]
    assert not [line for line in row(verdict(), 80, monkeypatch) if "spill" in line]


def test_the_figures_stand_beside_the_name_or_under_it_and_never_beyond_the_terminals_edge(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figures = ["255", "64.0", "KiB", "12", "%", "1.50", "s"]
    for columns in (40, 48, 49, 60, 80, 100):
        lines = row(verdict(), columns, monkeypatch)
        assert all(len(line) <= columns for line in lines), lines
        assert lines[0].startswith("PASS   a_candid") and "..." in lines[0]
        beside = columns >= 49
        assert lines[0 if beside else 1].split()[-len(figures) :] == figures
        assert len(lines) == len(row(verdict(), 100, monkeypatch)) + (not beside)


def test_colour_takes_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = row(verdict(), 80, monkeypatch)
    assert "\n".join(plain) == _uncoloured(Table(colour=True).row(verdict()))


def _uncoloured(text: str) -> str:
    import click

    return click.unstyle(text)
