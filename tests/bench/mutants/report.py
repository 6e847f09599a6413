"""What was looked at one by one, and the bench's figures in words."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import msgspec

from mutants.judging import Result
from mutants.operators import OPERATORS

EXAMINED = Path(__file__).parent / "examined.json"
STILLBORN = ("compile", "parse")
"""Gates that say that a mutant is no candidate at all; those do not count."""


class Examined(msgspec.Struct, frozen=True):
    """A survivor that somebody looked at."""

    verdict: Literal["equivalent", "hole"]
    why: str
    mistake: str = ""
    """Kernel, line and text, for whoever reads the file."""


def read_examined(path: Path) -> dict[str, Examined]:
    """By mutant id."""
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Examined]) if path.exists() else {}


def with_twins(results: Sequence[Result], examined: Mapping[str, Examined]) -> dict[str, Examined]:
    """`examined`, and the survivors whose compiled code is the original's."""
    twins = {r.id: Examined("equivalent", "NVRTC makes the same PTX of it") for r in results if r.twin}
    return twins | dict(examined)


class Totals(msgspec.Struct, frozen=True):
    """Mutants by what became of them."""

    judged: int
    stillborn: int
    equivalent: tuple[Result, ...]
    failed: tuple[Result, ...]
    holes: tuple[Result, ...]
    new: tuple[Result, ...]
    """Survivors that nobody looked at yet."""

    @property
    def differing(self) -> int:
        """Mutants that behave differently from their original; a survivor counts as one until it is examined."""
        return len(self.failed) + len(self.holes) + len(self.new)

    @property
    def percent(self) -> float:
        """Of the differing mutants that failed."""
        return 100 * len(self.failed) / max(self.differing, 1)


def totals(results: Sequence[Result], examined: Mapping[str, Examined]) -> Totals:
    """Count; a mutant that failed is differing, whatever stands in `examined`."""
    known = with_twins(results, examined)
    born = [r for r in results if r.gate not in STILLBORN]
    failed = tuple(r for r in born if r.outcome == "fail")
    left = [r for r in born if r.outcome != "fail"]

    def of(verdict: str | None) -> tuple[Result, ...]:
        return tuple(r for r in left if (known[r.id].verdict if r.id in known else None) == verdict)

    return Totals(len(results), len(results) - len(born), of("equivalent"), failed, of("hole"), of(None))


def summary(results: Sequence[Result], examined: Mapping[str, Examined]) -> str:
    """The figures, gates and operators, as text for a terminal."""
    found = totals(results, examined)
    gates = ", ".join(f"{gate} {n}" for gate, n in Counter(r.gate for r in found.failed).most_common())
    return "\n".join(
        [
            f"judged {found.judged}, did not compile {found.stillborn}, equivalent {len(found.equivalent)}, "
            f"differing {found.differing}, failed {len(found.failed)} ({found.percent:.2f} %), "
            f"holes {len(found.holes)}, not examined {len(found.new)}",
            f"failed at: {gates}",
            *(f"not examined: {r.id} {r.kernel}:{r.line} {r.operator}: {r.before}  ->  {r.after}" for r in found.new),
        ]
    )  # fmt: skip


def write_report(
    path: Path,
    results: Sequence[Result],
    examined: Mapping[str, Examined],
    *,
    seed: int,
    made: int,
    kernels: int,
    seconds: float,
    judges: int,
) -> None:
    """Write totals, the survivors with their reasons, and the whole list, as Markdown."""
    found = totals(results, examined)
    known = with_twins(results, examined)
    lines = [
        "# Seeded mutation",
        "",
        f"`python tests/bench/mutation.py --seed {seed} --count {len(results)}`: {len(results)} of {made} mutants of "
        f"{kernels} honest kernels, in turn by operator and kernel, each judged by the whole judge on the host target.",
        f"Two cores without a GPU, {judges} judges side by side, {seconds:.0f} s. Python "
        f"{platform.python_version()}, torch {version('torch')}, workbench {version('workbench')}.",
        "",
        "| mutants judged | did not compile | equivalent | differ in behaviour | failed | percent | passed |",
        "|---|---|---|---|---|---|---|",
        f"| {found.judged} | {found.stillborn} | {len(found.equivalent)} | {found.differing} | {len(found.failed)} | "
        f"{found.percent:.2f} | {len(found.holes) + len(found.new)} |",
        "",
        "| operator | differ | failed | equivalent | failed at |",
        "|---|---|---|---|---|",
    ]
    for operator in OPERATORS:
        failed = [r for r in found.failed if r.operator == operator]
        passed = [r for r in (*found.holes, *found.new) if r.operator == operator]
        equal = [r for r in found.equivalent if r.operator == operator]
        gates = ", ".join(f"{gate} {n}" for gate, n in Counter(r.gate for r in failed).most_common())
        lines.append(f"| {operator} | {len(failed) + len(passed)} | {len(failed)} | {len(equal)} | {gates} |")
    lines += ["", "## Differing mutants that passed", ""]
    lines += [_explained(r, known) for r in (*found.holes, *found.new)] or ["None."]
    lines += ["", "## Equivalent mutants", ""]
    lines += [_explained(r, known) for r in found.equivalent] or ["None."]
    lines += [
        "",
        "## Failed",
        "",
        "| id | kernel:line | operator | before | after | gate |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r.id} | {r.kernel}:{r.line} | {r.operator} | {_code(r.before)} | {_code(r.after)} | {r.gate} |"
        for r in sorted(found.failed, key=lambda r: (r.kernel, r.line, r.operator, r.id))
    ]
    path.write_text("\n".join(lines) + "\n")


def _explained(result: Result, known: Mapping[str, Examined]) -> str:
    why = known[result.id].why if result.id in known else "Not examined."
    return (
        f"- {result.id} {result.kernel}:{result.line} {result.operator}: {_code(result.before)} to "
        f"{_code(result.after)}. {why}"
    )


def _code(text: str) -> str:
    """As code in a table's cell."""
    return "`" + text.replace("|", "\\|").replace("`", "'") + "`"
