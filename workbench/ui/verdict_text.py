"""A verdict as text for a pane of some width: gates, cause, kernels, times, and what was not checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from textual.content import Content

from workbench.core.estimates import estimate_line, worst_lines
from workbench.core.explain import explain
from workbench.core.verdict import GATES, Gate, KernelResources, Timing, Verdict
from workbench.ui import words
from workbench.ui.text import clean, fit, fit_right, kib, one_line, seconds

Part = Content | str | tuple[str, str]

EVIDENCE_LINES = 14
EVIDENCE_CHARACTERS = 400


def safe(part: Part) -> Part:
    """`part` with nothing in it that drives the terminal: a verdict may have been read from a file that was edited."""
    if isinstance(part, str):
        return clean(part)
    return part if isinstance(part, Content) else (clean(part[0]), part[1])


def heading(text: str, note: str = "") -> list[Part]:
    """A section's title line."""
    return [("\n" + text, "bold $text-primary"), (f"  {note}" if note else "", "$foreground 60%"), "\n"]


def gate_lines(
    gates: Sequence[Gate], running: str | None, spinner: str, width: int, *, live: bool
) -> list[Part]:
    """Each gate on one line: its symbol, name, seconds, and as much of its sentence as fits."""
    parts: list[Part] = []
    done = {gate.name for gate in gates}
    for gate in gates:
        symbol, style = words.GATES[gate.status]
        muted = gate.status == "skipped"
        took = seconds(gate.seconds) if gate.seconds and not muted else ""
        parts += [(f"{symbol} ", style), (fit(gate.name, 14), "$foreground 60%" if muted else "bold")]
        parts += [(fit_right(took, 7) + "  ", "$foreground 60%")]
        reason = one_line(gate.reason)
        parts += [
            (
                fit(reason, max(0, width - 25)).rstrip(),
                style if gate.status in ("fail", "warn") else "$foreground 60%",
            )
        ]
        parts += ["\n"]
    for name in GATES:
        if name in done:
            continue
        if name == running:
            parts += [(f"{spinner} ", "$text-accent"), (fit(name, 14), "bold $text-accent"), "\n"]
        elif live:
            parts += [(f"· {name}\n", "$foreground 38%")]
    return parts


def cause(gate: Gate) -> list[Part]:
    """What the failure means for someone new to CUDA, and what the gate saw; its sentence stands in the first line."""
    parts = heading(f"Why it failed {gate.name}")
    explanation = explain(gate)
    if explanation is not None:
        lines = (("Means", explanation.means), ("Matters", explanation.matters), ("Fix", explanation.fix))
        for label, sentence in lines:
            parts += [(fit(label, 8), "bold $text-accent"), f"{sentence}\n"]
    evidence = evidence_lines(gate.evidence, said=gate.reason)
    return [*parts, *heading("Evidence"), *evidence] if evidence else parts


def warnings(gates: Sequence[Gate]) -> list[Part]:
    """What gates that pass all the same want to be known."""
    warned = [gate for gate in gates if gate.status == "warn"]
    if not warned:
        return []
    parts = heading("Warnings")
    for gate in warned:
        parts += [("▲ ", "$text-warning"), (f"{gate.name}: ", "bold"), f"{clean(gate.reason).strip()}\n"]
        parts += evidence_lines(gate.evidence)
    return parts


def evidence_lines(evidence: Mapping[str, object], *, said: str = "") -> list[Part]:
    """Names and values, nested ones flattened, without what was `said`; long evidence is cut, and said to be."""
    rows = [
        (name, value) for name, value in _flat(evidence) if not (len(value) > 20 and value in clean(said))
    ]
    parts: list[Part] = []
    for name, value in rows[:EVIDENCE_LINES]:
        parts += [(f"  {name} ", "$foreground 60%"), f"{value}\n"]
    if len(rows) > EVIDENCE_LINES:
        parts += [(f"  and {len(rows) - EVIDENCE_LINES} more in verdicts/\n", "$foreground 60%")]
    return parts


def kernels(found: Sequence[KernelResources], arch: str, sass: str = "") -> list[Part]:
    """Registers, spills, shared memory and occupancy of each kernel, with what limits it.

    Args:
        sass: where their machine code stands; "" where it was not read.
    """
    if not found:
        return []
    parts = heading("Kernels", arch)
    for kernel in found:
        x, y, z = kernel.block
        block = f"{x}" if y == z == 1 else f"{x}×{y}×{z}"
        parts += [(one_line(kernel.name), "bold"), (f"  block {block}\n", "$foreground 60%")]
        spill_style = "$text-warning" if kernel.spill_bytes else "$foreground 60%"
        spill = f"▲ {kib(kernel.spill_bytes)} spilled" if kernel.spill_bytes else "no spills"
        parts += [
            f"  {kernel.registers} registers  ",
            (spill, spill_style),
            f"  {kib(kernel.shared_bytes)} shared\n",
        ]
        parts += ["  ", *occupancy_bar(kernel.occupancy), f" {100 * kernel.occupancy:.0f} % occupancy"]
        parts += [(f"  limit: {kernel.limiter}" if kernel.limiter else "", "$foreground 60%"), "\n"]
    if sass:
        parts += [(f"  SASS: {one_line(sass)}\n", "$foreground 60%")]
    return parts


def occupancy_bar(ratio: float, cells: int = 10) -> list[Part]:
    """A bar of ten cells."""
    full = round(min(max(ratio if math.isfinite(ratio) else 0.0, 0.0), 1.0) * cells)
    return [("█" * full, "$text-secondary"), ("░" * (cells - full), "$foreground 38%")]


def timings(found: Sequence[Timing]) -> list[Part]:
    """Times against each baseline, with their intervals; empty on the host."""
    parts: list[Part] = []
    for timing in found:
        us = timing.candidate_us
        parts += heading(f"Time at {timing.size}", timing.kind)
        parts += [(f"  {us.median:.2f} us", "bold"), (f"  [{us.low:.2f}-{us.high:.2f}]\n", "$foreground 60%")]
        for baseline in timing.baselines:
            parts += [f"  {fit(baseline.name, 10)}"]
            if baseline.speedup is None:
                parts += [(f"{baseline.status} {baseline.note}\n", "$foreground 60%")]
                continue
            s = baseline.speedup
            parts += [
                (f"{s.ratio:.2f}x", "bold"),
                f" {s.word}",
                (f"  [{s.low:.2f}-{s.high:.2f}]\n", "$foreground 60%"),
            ]
    return parts


def estimate(found: Mapping[str, object] | None) -> list[Part]:
    """What can be said of the cost without a GPU: an estimate, never a speed; what it rests on stands in `basis`."""
    if not found:
        return []
    hidden = ("kind", "worst_lines")  # the heading says the one, lines of their own the other
    shown = {name: value for name, value in found.items() if name not in hidden}
    parts = [*heading("Estimate", "not a speed")]
    for text in (estimate_line(found), *worst_lines(found)):
        parts += [f"  {one_line(text)}\n"] if text else []
    return [*parts, *evidence_lines(shown)]


def unchecked(found: Sequence[str]) -> list[Part]:
    """What this verdict does not establish."""
    if not found:
        return []
    parts = heading("Not checked", f"{len(found)}")
    for sentence in found:
        parts += [("– ", "$text-warning"), (f"{one_line(sentence)}\n", "$foreground 60%")]
    return parts


def footnote(verdict: Verdict) -> list[Part]:
    """What it took, and with what."""
    names = ("workbench", "torch", "nvrtc")
    versions = ", ".join(f"{n} {verdict.versions[n]}" for n in names if n in verdict.versions)
    return [
        (
            f"\njudged in {seconds(verdict.seconds.total)}" + (f" with {versions}" if versions else ""),
            "$foreground 60%",
        )
    ]


def _flat(evidence: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in evidence.items():
        name = f"{prefix}{one_line(str(key))}"
        if isinstance(value, Mapping) and value and len(prefix) < 60:
            rows += _flat(value, f"{name}.")
        elif isinstance(value, list | tuple) and value and all(_is_diagnostic(v) for v in value):
            rows += [(f"line {v['line']}" if v["line"] else "file", _value(v["message"])) for v in value]
        elif isinstance(value, list | tuple) and any(isinstance(v, Mapping) for v in value):
            for i, inner in enumerate(value):
                rows += _flat(inner if isinstance(inner, Mapping) else {"": inner}, f"{name}[{i}].")
        else:
            rows.append((name, _value(value)))
    return rows


def _is_diagnostic(value: object) -> bool:
    return isinstance(value, Mapping) and "message" in value and "line" in value


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        text = ", ".join(_value(v) for v in value[:12]) + (", …" if len(value) > 12 else "")
        return text if value else "none"
    text = clean(str(value)).strip()
    return text if len(text) <= EVIDENCE_CHARACTERS else text[: EVIDENCE_CHARACTERS - 1] + "…"
