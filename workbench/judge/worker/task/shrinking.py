"""Derives a small size for a task that declares none, by shrinking the integers of its text.

Aggressively first, then grown until the module builds, runs and fills the work that the host can simulate in a few
hundred milliseconds. Sizes are tried on the meta device, where nothing is allocated; only what is chosen is run
for real. What is counted is sizes and operations, never time, so that every load finds the same size.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from workbench.core.errors import TaskError
from workbench.judge.worker.task.limits import HOST_ELEMENTS_LAST, HOST_ELEMENTS_LIMIT, HOST_WORK
from workbench.judge.worker.task.literals import literals
from workbench.judge.worker.task.program import Program, Where
from workbench.judge.worker.task.sizes import NANS, Attempt, attempt

_TARGETS = (4, 8, 16, 32, 64, 128, 256, 512, 1024)
_ROOMY = 8
"""Where the uniform search stops when it has found something; below it heads and groups degenerate."""
_SMALLEST = 8
"""No integer but a batch goes below this when integers are shrunk one by one: 2x2 images prove little."""
_MAX_TRIES = 60
_MAX_OPERATIONS = 30_000
"""Operations of all sizes tried, of a network with hundreds of layers: some five seconds."""
_BATCH = re.compile(r"batch|^(b|bs|bsz|n_?b)$", re.IGNORECASE)
_COUNT = re.compile(r"head|group|expert|layer", re.IGNORECASE)
_BATCH_FIRST, _COUNT_FIRST = 8, 4
"""How far batches and counts (heads, layers) grow before the other integers have had their share."""
_MANY = 1 << 62


def derive_small(
    program: Program, base: Mapping[str, int], full: Attempt, budget: int = HOST_WORK
) -> dict[str, int]:
    """Values at which the task runs within `budget` work, or as near as it gets.

    Args:
        base: what the full size overrides.
        full: the full size, tried on the meta device.

    Raises:
        TaskError: no smaller size runs.
    """
    whys: list[str] = []
    for where in ("meta", "cpu") if not full.why else ("cpu",):
        search = _Search(program, base, budget, where)
        found = search.run()
        for limit in (HOST_ELEMENTS_LIMIT, HOST_ELEMENTS_LAST):
            # A network whose widths are written into it keeps its weights at any size.
            for tried in found if limit == HOST_ELEMENTS_LIMIT else found[:1]:
                real = attempt(program, tried.values, "cpu", limit=limit)
                if not real.why:
                    return search.needed(tried)
                whys.append(real.why)
        whys.append(search.last_why)
    why = next((w for w in whys if w), full.why or "no integer can be shrunk")
    name = program.file.file.name
    if why == NANS:
        raise TaskError(f"The reference of {name} gives NaN.", do="Correct the task: NaN cannot be compared.")
    raise TaskError(
        f"No size of {name} that the host can run was found ({why.rstrip('.')}).",
        do='Declare one in the task: sizes = {"small": {"N": 64}}.',
    )


class _Search:
    """Looks for the largest size below a budget."""

    def __init__(self, program: Program, base: Mapping[str, int], budget: int, where: Where) -> None:
        self._program, self._base, self._budget, self._where = program, dict(base), budget, where
        found = {literal.label: literal.value for literal in literals(program.file.tree)}
        found.update(base)
        self._full = {label: value for label, value in found.items() if value > 2}
        self._known: dict[tuple[tuple[str, int], ...], Attempt] = {}
        self._operations = 0
        self.last_why = ""

    def run(self) -> list[Attempt]:
        """Sizes that ran, the best first."""
        if not self._full:
            return []
        found = self._uniform()
        if not found or found[-1].work > self._budget:
            found = self._descend() or found
        if not found:
            return []
        if found[-1].work <= self._budget:
            found += self._grow(found[-1])
            return found[::-1]
        return sorted(found, key=lambda a: a.work)

    def needed(self, chosen: Attempt) -> dict[str, int]:
        """The chosen values without those that change nothing (an argument's default that is never used)."""
        values = dict(chosen.values)
        for label in list(values):
            if label in self._base or not ("(" in label or "." in label):
                continue
            without = {k: v for k, v in values.items() if k != label}
            tried = self._try({**self._full, **without})
            if not tried.why and tried.work == chosen.work:
                values = without
        return values

    @property
    def _exhausted(self) -> bool:
        return len(self._known) >= _MAX_TRIES or self._operations > _MAX_OPERATIONS

    def _try(self, values: Mapping[str, int]) -> Attempt:
        """Only what differs from the text is an override."""
        changed = {k: v for k, v in values.items() if v != self._full.get(k) or k in self._base}
        key = tuple(sorted(changed.items()))
        if key not in self._known:
            tried = self._known[key] = attempt(self._program, {**self._base, **changed}, self._where)
            self._operations += tried.operations
            self.last_why = tried.why or self.last_why
        return self._known[key]

    def _uniform(self) -> list[Attempt]:
        """Everything near one target; within the budget, smallest first, or the smallest that is over it."""
        found: list[Attempt] = []
        for target in _TARGETS:
            counts = max(target // 4, 2)
            tried = self._try(
                {k: shrunk(v, counts if _COUNT.search(k) else target) for k, v in self._full.items()}
            )
            if tried.why:
                continue
            found.append(tried)
            if target >= _ROOMY or tried.work > self._budget:
                break  # growing goes on from here, integer by integer
        within = [a for a in found if a.work <= self._budget]
        return within or found[:1]

    def _descend(self) -> list[Attempt]:
        """One group of integers after the other, as small as the module allows; batches first. Largest first."""
        current = dict(self._full)
        best = self._try(current)
        found: list[Attempt] = [] if best.why else [best]
        for group in self._groups():
            batch = all(_BATCH.search(k) for k in group)
            for target in (2, 4) if batch else (_SMALLEST, 16, 32, 64, 128, 256):
                smaller = current | {k: shrunk(self._full[k], target) for k in group}
                if all(smaller[k] >= current[k] for k in group) or (self._exhausted and found):
                    break
                tried = self._try(smaller)
                if not tried.why and (best.why or tried.work < best.work):
                    current, best = smaller, tried
                    found.append(tried)
                    break
            if not best.why and best.work <= self._budget:
                break
        return sorted(found, key=lambda a: -a.work)

    def _groups(self) -> list[tuple[str, ...]]:
        """Batches, then integers that are equal at full size (an image's sides), then each alone."""
        names = sorted(self._full, key=lambda k: (not _BATCH.search(k), -self._full[k]))
        batches = [(k,) for k in names if _BATCH.search(k)]
        rest = [k for k in names if not _BATCH.search(k)]
        return [*batches, *self._equal(rest), *((k,) for k in rest)]

    def _grow(self, start: Attempt) -> list[Attempt]:
        """Double integers in turn while the budget lasts; batches and counts later, since candidates specialise
        on the rest."""
        current = {k: start.values.get(k, v) for k, v in self._full.items()}
        found: list[Attempt] = []
        for reserved in (True, False):
            names = [k for k in self._full if current[k] < self._full[k]]
            names.sort(key=lambda k: _first_share(k) < _MANY)
            moves = [*((k,) for k in names), *self._equal(names)]
            while moves and not self._exhausted:
                for group in list(moves):
                    larger = current | {k: shrunk(self._full[k], 2 * current[k]) for k in group}
                    held_back = any(
                        larger[k] > _first_share(k) and (reserved or _COUNT.search(k)) for k in group
                    )
                    if larger == current or held_back or self._exhausted:
                        moves.remove(group)
                        continue
                    tried = self._try(larger)
                    if tried.why or tried.work > self._budget:
                        moves.remove(group)
                    else:
                        current = larger
                        found.append(tried)
        return found

    def _equal(self, labels: Iterable[str]) -> Iterator[tuple[str, ...]]:
        """Groups that are equal at full size and so may depend on each other."""
        by_value: dict[int, list[str]] = {}
        for k in labels:
            by_value.setdefault(self._full[k], []).append(k)
        yield from (tuple(group) for group in by_value.values() if len(group) > 1)


def _first_share(label: str) -> int:
    """How far an integer may grow before the others have had their share."""
    return _BATCH_FIRST if _BATCH.search(label) else _COUNT_FIRST if _COUNT.search(label) else _MANY


def shrunk(value: int, target: int) -> int:
    """A smaller integer near `target` that divides `value` where one does; `value` itself if it is not larger.

    Halving comes first, since sizes that belong together (768 and 12 heads) mostly share their powers of two.
    """
    if value < 2 * target:
        return value
    halved = value
    while halved % 2 == 0 and halved // 2 >= target:
        halved //= 2
    if halved < 2 * target:
        return halved
    for divisor in range(target, 2 * target):
        if value % divisor == 0:
            return divisor
    return target | (value & 1)
