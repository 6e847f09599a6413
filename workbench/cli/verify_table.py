"""How `workbench verify` shows verdicts to a person: a row each, and under it what failed and how to go on."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from workbench.cli.plain import plain
from workbench.cli.requirements import Answered
from workbench.core.estimates import estimate_line, worst_lines
from workbench.core.explain import explain_verdict
from workbench.core.task import TaskInfo
from workbench.core.verdict import Gate, Verdict

_INDENT = " " * 7
_NAME = 30
_LEAST_NAME = 12
"""Where a terminal leaves a name less than this, the figures stand on a line of their own."""
_FIGURES = 29
"""Columns of registers, shared memory, occupancy and time."""
_COLOURS = {"pass": "green", "fail": "red", "error": "yellow"}
_DIAGNOSTICS = 5


def width() -> int:
    """Columns to write in: the terminal's, but no line longer than a person reads with ease."""
    return min(max(shutil.get_terminal_size((80, 24)).columns, 40), 100)


class Table:
    """Renders text; prints nothing itself. `colour` only where it goes to a terminal."""

    def __init__(self, *, colour: bool) -> None:
        self._colour = colour

    def head(self, info: TaskInfo, target: str, arch: str | None) -> str:
        """The task, its judged size, and the columns' names."""
        size = info.sizes[0]
        values = ", ".join(f"{k}={v}" for k, v in size.values.items())
        name = plain(info.name)
        judged = (
            f"{name}  {size.name}{f' ({values})' if values else ''}  on {target}{f', {arch}' if arch else ''}"
        )
        lines = _wrapped(judged, "", hanging=2)
        if lines[0].startswith(name):
            lines[0] = self._bold(name) + lines[0][len(name) :]
        for note in info.notes:
            lines += _wrapped(f"note: {note}", "  ")
        lines += [
            "",
            *_columns(f"{'':5}  ", "candidate", f"{'regs':>5} {'shared':>8} {'warps':>6} {'time':>7}"),
        ]
        return "\n".join(lines)

    def row(self, verdict: Verdict, missed: Sequence[Answered] = ()) -> str:
        """One candidate: the verdict's word, its resources, and under them the reason and what it misses."""
        word = f"{verdict.outcome.upper():5}"
        name = plain(Path(verdict.candidate.path).name or verdict.candidate.id)
        word = click.style(word, fg=_COLOURS[verdict.outcome], bold=True) if self._colour else word
        lines = _columns(f"{word}  ", name, f"{_resources(verdict)} {verdict.seconds.total:>5.2f} s")
        lines += _spills(verdict)
        lines += self._reason(verdict)
        for a in missed:
            lines += _wrapped(f"misses {a.require}: {a.reason}", _INDENT, hanging=2)
        return "\n".join(lines)

    def foot(self, verdicts: Sequence[Verdict], missing: int = 0) -> str:
        """What no verdict of this run covers, and the count."""
        unchecked = dict.fromkeys(u for v in verdicts if v.outcome == "pass" for u in v.unchecked)
        lines: list[str] = []
        if unchecked:
            lines += ["", "Not checked by a pass:"]
            for text in unchecked:
                lines += _wrapped(f"- {text}", "  ", hanging=2)
        counts = {
            "passed": sum(v.outcome == "pass" for v in verdicts),
            "failed": sum(v.outcome == "fail" for v in verdicts),
            "could not be judged": sum(v.outcome == "error" for v in verdicts),
            "of those that passed missed a requirement": missing,
        }
        lines += ["", *_wrapped(", ".join(f"{n} {word}" for word, n in counts.items() if n), "")]
        return "\n".join(lines)

    def _reason(self, verdict: Verdict) -> list[str]:
        if verdict.outcome == "pass":
            _, _, claims = verdict.first_line.partition(" ")
            lines = _wrapped(claims, _INDENT)
            for gate in verdict.gates:
                if gate.status == "warn":
                    lines += _wrapped(f"warns {gate.name}: {gate.reason}", _INDENT)
            if said := estimate_line(verdict.estimate):
                lines += _wrapped(f"estimate, not a speed: {said}", _INDENT, hanging=2)
            for text in worst_lines(verdict.estimate)[:1]:
                lines += _wrapped(text, _INDENT, hanging=2)
            return lines
        if verdict.outcome == "error":
            return _wrapped(verdict.reason, _INDENT)
        lines = _wrapped(f"{verdict.failed_gate}: {verdict.reason}", _INDENT)
        failed = next((g for g in verdict.gates if g.name == verdict.failed_gate), None)
        if failed is not None:
            lines += _evidence(failed, Path(verdict.candidate.path).name)
        explanation = explain_verdict(verdict)
        if explanation is not None:
            for title, text in (
                ("means", explanation.means),
                ("matters", explanation.matters),
                ("fix", explanation.fix),
            ):
                lines += _wrapped(f"{title + ':':<9}{text}", _INDENT, hanging=9)
        return lines

    def _bold(self, text: str) -> str:
        return click.style(text, bold=True) if self._colour else text


def _columns(word: str, name: str, figures: str) -> list[str]:
    """A row of the table, which takes two lines where one has no room for a name. `word` takes 7 columns."""
    own_line = width() - len(_INDENT) - 1 - _FIGURES < _LEAST_NAME
    room = min(width() - len(_INDENT) - (0 if own_line else 1 + _FIGURES), _NAME)
    if len(name) > room:
        name = name[: room - 3] + "..."
    return [f"{word}{name}", f"{_INDENT}{figures}"] if own_line else [f"{word}{name:<{room}} {figures}"]


def _spills(verdict: Verdict) -> list[str]:
    """Kernels whose registers did not suffice; nothing where there is none, as is usual."""
    spilled = [f"{k.name} {_bytes(k.spill_bytes)}" for k in verdict.resources.kernels if k.spill_bytes]
    return _wrapped(f"spills a thread: {', '.join(spilled)}", _INDENT, hanging=2) if spilled else []


def _resources(verdict: Verdict) -> str:
    kernels = verdict.resources.kernels
    if not kernels:
        return f"{'':>5} {'':>8} {'':>6}"
    registers = max(k.registers for k in kernels)
    shared = max(k.shared_bytes for k in kernels)
    occupancy = min(k.occupancy for k in kernels)
    return f"{registers:>5} {_bytes(shared):>8} {f'{100 * occupancy:.0f} %':>6}"


def _bytes(count: int) -> str:
    return f"{count} B" if count < 10_000 else f"{count / 1024:.1f} KiB"


def _evidence(gate: Gate, file: str) -> list[str]:
    """The facts that lead to the place: further diagnostics, where a fault was, the failing element's inputs."""
    lines: list[str] = []
    diagnostics: list[dict[str, Any]] = gate.evidence.get("diagnostics") or []
    for d in diagnostics[1 : _DIAGNOSTICS + 1]:
        place = ":".join([file, *(str(d[k]) for k in ("line", "column") if d.get(k))])
        message = str(d["message"]).strip().splitlines() or [""]
        lines += _wrapped(f"{place}: {d['severity']}: {message[0]}", _INDENT, hanging=2)
    if len(diagnostics) > _DIAGNOSTICS + 1:
        lines.append(f"{_INDENT}and {len(diagnostics) - _DIAGNOSTICS - 1} more")
    facts = [
        f"{name} {gate.evidence[name]}"
        for name in ("kernel", "line", "block", "thread", "case", "size", "seed")
        if gate.evidence.get(name) not in (None, "", 0)
    ]
    if facts:
        lines += _wrapped(f"at {', '.join(facts)}", _INDENT, hanging=3)
    inputs = gate.evidence.get("inputs")
    if inputs:
        words = ", ".join(f"{name} = {value}" for name, value in inputs.items())
        lines += _wrapped(f"with {words}", _INDENT, hanging=5)
    return lines


def _wrapped(text: str, indent: str, *, hanging: int = 0) -> list[str]:
    return textwrap.wrap(
        plain(text),
        width(),
        initial_indent=indent,
        subsequent_indent=indent + " " * hanging,
        break_on_hyphens=False,
    )
