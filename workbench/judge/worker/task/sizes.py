"""Which sizes of a task there are, and which of them this target can judge.

A task that declares no `small` size gets one: its integers are shrunk, aggressively first, then grown until the
module builds, runs and fills the work that the host can simulate in a few hundred milliseconds. Sizes are tried
on the meta device, where nothing is allocated; only the one that is chosen is then run for real.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch

from workbench.core.errors import TaskError
from workbench.judge.worker.task.estimate import Work
from workbench.judge.worker.task.imports import describe
from workbench.judge.worker.task.limits import HOST_ELEMENTS_LIMIT, HOST_WORK, MAX_OPERATIONS, TooLarge
from workbench.judge.worker.task.literals import arguments_of, bound_names, literals
from workbench.judge.worker.task.program import Instance, Program, Where
from workbench.judge.worker.task.signature import module_tensors, output_leaves

_TARGETS = (4, 8, 16, 32, 64, 128, 256, 512, 1024)
_ROOMY = 8
"""Where the uniform search stops when it has found something; below it heads and groups degenerate."""
_MAX_GROWTH = 48
"""Sizes tried while growing: a count and not a time, so that every load finds the same size."""
_MAX_DESCENT = 80
_BATCH = re.compile(r"batch|^(b|bs|bsz|n_?b)$", re.IGNORECASE)
_COUNT = re.compile(r"head|group|expert|layer", re.IGNORECASE)
_BATCH_FIRST, _COUNT_FIRST = 8, 4
"""How far batches and counts (heads, layers) grow before the other integers have had their share."""


class Attempt(NamedTuple):
    """A size that was tried."""

    values: dict[str, int]
    work: int
    """0 where it failed."""
    why: str
    """"" where it ran."""
    flops: int = 0
    instance: Instance | None = None
    """Where it was to be kept."""
    raw: Any = None
    """What forward returned, where the instance was to be kept."""
    error: TaskError | None = None
    """What the task itself did wrong, where that is why."""


def declared_sizes(program: Program, declared: object) -> dict[str, dict[str, int]]:
    """`sizes` of a task, checked.

    Raises:
        TaskError: it is not a dict of dicts of integers, or names something that the task does not have.
    """
    where = f"`sizes` of {program.file.file.name}"
    if not isinstance(declared, dict) or not declared:
        raise TaskError(f"{where} is not a dict of sizes.", do='Write sizes = {"small": {"N": 64}}.')
    globals_, arguments = bound_names(program.file.tree), arguments_of(program.file.tree, "get_inputs")
    for name, values in declared.items():
        if not isinstance(name, str) or not isinstance(values, dict):
            raise TaskError(f"{where}: {name!r} is not a dict of integers.", do='Write {"small": {"N": 64}}.')
        for key, value in values.items():
            if type(value) is not int or value < 0:
                raise TaskError(f"{where}: {name}[{key!r}] is {value!r}.", do="A size's values are integers.")
            if key not in globals_ and key not in arguments:
                known = ", ".join(sorted(globals_ | arguments)) or "none"
                raise TaskError(
                    f"{where}: {name} sets {key!r}, which is neither a global of the task nor an argument of "
                    "get_inputs().",
                    do=f"Known names: {known}.",
                )
    return {str(name): dict(values) for name, values in declared.items()}


def attempt(program: Program, values: Mapping[str, int], where: Where, *, keep: bool = False) -> Attempt:
    """Build and run the task at a size, refusing to allocate what the host should not."""
    meta = where == "meta"
    guard = Work(limit_elements=None if meta else HOST_ELEMENTS_LIMIT)
    work = Work(limit_operations=MAX_OPERATIONS if meta else None)
    instance: Instance | None = None
    try:
        with guard, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the module warns once more when the chosen size is made
            instance = program.instantiate(values, where)
            if any(leaf.value.numel() == 0 for leaf in instance.tensors()):
                return Attempt(dict(values), 0, "an input is empty")
            with work:
                raw = instance.run()
        outputs = [leaf.value for leaf in output_leaves(raw) if isinstance(leaf.value, torch.Tensor)]
        if any(t.numel() == 0 for t in outputs):
            return Attempt(dict(values), 0, "an output is empty")
        if where == "cpu" and any(has_nans(t) for t in outputs):
            return Attempt(dict(values), 0, "an output is NaN")
        held = sum(leaf.value.numel() for leaf in instance.tensors())
        held += sum(state.tensor.numel() for state in module_tensors(instance.model))
        kept = (instance, raw) if keep else (None, None)
        return Attempt(dict(values), max(held + work.total, 1), "", work.flops, *kept)
    except TooLarge as error:
        return Attempt(dict(values), 0, str(error))
    except TaskError as error:
        return Attempt(dict(values), 0, error.what, error=error)
    except Exception as error:  # a meta kernel that is missing can raise anything
        return Attempt(dict(values), 0, describe(error))
    finally:
        if instance is not None and not keep:
            instance.release()


def has_nans(tensor: torch.Tensor) -> bool:
    """More NaN than the 1 % of elements that a case may exclude."""
    if not tensor.is_floating_point() and not tensor.is_complex():
        return False
    return int(tensor.isnan().sum()) > tensor.numel() // 100


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
        for found in search.run():
            real = attempt(program, found.values, "cpu")
            if not real.why:
                return found.values
            whys.append(real.why)
        whys.append(search.last_why)
    why = next((w for w in whys if w), full.why or "no integer can be shrunk")
    name = program.file.file.name
    if why == "an output is NaN":
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
        found.update({k: v for k, v in base.items()})
        self._full = {label: value for label, value in found.items() if value > 2}
        self._known: dict[tuple[tuple[str, int], ...], Attempt] = {}
        self.last_why = ""

    def run(self) -> list[Attempt]:
        """Sizes that ran, the best first."""
        if not self._full:
            return []
        found = self._uniform()
        if not found or found[-1].work > self._budget:
            found = self._descend(found[0] if found else None) or found
        if not found:
            return []
        if found[-1].work <= self._budget:
            found += self._grow(found[-1])
            return found[::-1]
        return sorted(found, key=lambda a: a.work)

    def _try(self, values: Mapping[str, int]) -> Attempt:
        """Only what differs from the text is an override."""
        changed = {k: v for k, v in values.items() if v != self._full.get(k) or k in self._base}
        key = tuple(sorted(changed.items()))
        if key not in self._known:
            self._known[key] = attempt(self._program, {**self._base, **changed}, self._where)
            self.last_why = self._known[key].why or self.last_why
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

    def _descend(self, start: Attempt | None) -> list[Attempt]:
        """One integer after the other, as small as the module allows; batches first."""
        current = dict(self._full)
        if start is not None:
            current |= {k: v for k, v in start.values.items() if k in current}
        best: Attempt | None = start or self._try(current)
        if best is not None and best.why:
            best = None
        found: list[Attempt] = [best] if best else []
        tries = 0
        largest_first = sorted(self._full, key=lambda k: (not _BATCH.search(k), -self._full[k]))
        for group in self._moves(largest_first):
            for target in (2, 4, 8, 16, 32, 64, 128, 256):
                smaller = current | {k: shrunk(self._full[k], target) for k in group}
                if all(smaller[k] >= current[k] for k in group) or tries >= _MAX_DESCENT:
                    break
                tries += 1
                tried = self._try(smaller)
                if not tried.why and (best is None or tried.work < best.work):
                    current, best = smaller, tried
                    found.append(tried)
                    break
            if best is not None and best.work <= self._budget:
                break
        return sorted(found, key=lambda a: -a.work)

    def _grow(self, start: Attempt) -> list[Attempt]:
        """Double integers in turn while the budget lasts; batches and counts later, since candidates specialise
        on the rest."""
        current = {k: start.values.get(k, v) for k, v in self._full.items()}
        found: list[Attempt] = []
        tries = 0
        for reserved in (True, False):
            moves = list(self._moves(k for k in self._full if current[k] < self._full[k]))
            while moves and tries < _MAX_GROWTH:
                for group in list(moves):
                    larger = current | {k: shrunk(self._full[k], 2 * current[k]) for k in group}
                    held_back = any(
                        larger[k] > _first_share(k) and (reserved or _COUNT.search(k)) for k in group
                    )
                    if larger == current or held_back or tries >= _MAX_GROWTH:
                        moves.remove(group)
                        continue
                    tries += 1
                    tried = self._try(larger)
                    if tried.why or tried.work > self._budget:
                        moves.remove(group)
                    else:
                        current = larger
                        found.append(tried)
        return found

    def _moves(self, labels: Iterable[str]) -> Iterator[tuple[str, ...]]:
        """Single integers, then groups that are equal at full size and so may depend on each other."""
        names = sorted(labels, key=lambda k: _first_share(k) < _MANY)
        yield from ((k,) for k in names)
        by_value: dict[int, list[str]] = {}
        for k in names:
            by_value.setdefault(self._full[k], []).append(k)
        yield from (tuple(group) for group in by_value.values() if len(group) > 1)


_MANY = 1 << 62


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
