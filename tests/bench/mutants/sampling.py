"""All mutants of the honest kernels, and a sample of them in which every operator and every kernel has its share."""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mutants.operators import OPERATORS
from mutants.source import Edit, KernelSource
from workbench.dialect.tokens import token_hash

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "workbench" / "archive" / "kernels"
CANDIDATES = ROOT / "tests" / "judge" / "candidates"
OWN = Path(__file__).parent / "kernels"
HONEST = (
    "norm/two_pass",
    "norm/dynamic_shared",
    "norm/templated",
    "norm/float_atomics",
    "norm/three_launches",
    "softmax_half/online",
    "argmax/first_of_equals",
    "several_outputs/one_kernel",
    "add_in_place/in_place",
    "batch_norm/warp_per_feature",
)
"""Of the judge's own test candidates."""
_SHOWN = 70


@dataclass(frozen=True)
class Honest:
    """A kernel that passes, and its task."""

    name: str
    path: Path
    task: Path


@dataclass(frozen=True)
class Mutant:
    """One mistake in one kernel."""

    id: str
    """Of kernel and tokens: the same mistake keeps its name when comments or other lines change their place."""
    kernel: Honest
    operator: str
    line: int
    before: str
    after: str
    """What stands there now; both cut to one short line."""
    source: bytes


def honest_kernels() -> list[Honest]:
    """Every shipped kernel, the honest ones among the judge's test candidates, and two that need double."""
    found = [_honest(path) for path in sorted(SHIPPED.glob("*/*.cu"))]
    found += [_honest(CANDIDATES / f"{name}.cu") for name in HONEST]
    return found + [_honest(path) for path in sorted(OWN.glob("*/*.cu"))]


def _honest(path: Path) -> Honest:
    task = path.parent / "task.py"
    if not task.exists():
        task = ROOT / "tasks" / f"{path.parent.name}.py"
    return Honest(f"{path.parent.name}/{path.stem}", path, task)


def mutants_of(kernel: Honest, operators: Iterable[str] = tuple(OPERATORS)) -> list[Mutant]:
    """Every mutant of a kernel, each once, in the order of operators and lines."""
    source = KernelSource(kernel.name, kernel.path.read_bytes())
    found: dict[str, Mutant] = {}
    for name in operators:
        for edit in OPERATORS[name](source):
            mutant = _mutant(kernel, source, name, edit)
            found.setdefault(mutant.id, mutant)
    return sorted(found.values(), key=lambda m: (list(OPERATORS).index(m.operator), m.line, m.id))


def _mutant(kernel: Honest, source: KernelSource, operator: str, edit: Edit) -> Mutant:
    data = source.edited(edit)
    number = hashlib.sha256(f"{kernel.name} {token_hash(data)}".encode()).hexdigest()[:10]
    # A little of what stands around it, so that a reader sees which of several `i` it was.
    line_start = source.data.rfind(b"\n", 0, edit.start) + 1
    line_end = source.data.find(b"\n", edit.end)
    head = source.data[line_start : edit.start].decode()[-24:].lstrip()
    tail = source.data[edit.end : line_end].decode()[:16].rstrip()
    before = source.data[edit.start : edit.end].decode()
    return Mutant(
        number,
        kernel,
        operator,
        source.line(edit.start),
        _short(head + before + tail),
        _short(head + edit.text + tail),
        data,
    )


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def sample(all_mutants: Sequence[Mutant], count: int, seed: int) -> list[Mutant]:
    """`count` mutants by seed: operators take turns, and within an operator the kernels do."""
    rng = random.Random(seed)
    queues: dict[str, list[Mutant]] = {}
    for operator in OPERATORS:
        by_kernel: dict[str, list[Mutant]] = defaultdict(list)
        for mutant in all_mutants:
            if mutant.operator == operator:
                by_kernel[mutant.kernel.name].append(mutant)
        for mutants in by_kernel.values():
            rng.shuffle(mutants)
        names = sorted(by_kernel)
        rng.shuffle(names)
        queues[operator] = _in_turn([by_kernel[name] for name in names])
    return _in_turn(list(queues.values()))[:count]


def _in_turn(lists: list[list[Mutant]]) -> list[Mutant]:
    longest = max((len(one) for one in lists), default=0)
    return [one[at] for at in range(longest) for one in lists if at < len(one)]
