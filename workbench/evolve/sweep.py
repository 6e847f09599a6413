"""The sweep: every combination of a candidate's `tune` knobs as a candidate of its own.

Combinations that the plan's `require` excludes are not counted. Above LIMIT that are left, as many are drawn at
random, with a seed that the summary names, so that a sweep can be repeated.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence

from workbench.core.candidate import CandidateId
from workbench.core.errors import UsageError
from workbench.core.plan import Knob, LaunchLimits, NotCovered, PlanFailure
from workbench.core.task import TaskInfo
from workbench.dialect.knobs import with_knobs
from workbench.dialect.planner import Planner
from workbench.dialect.source import split
from workbench.evolve.proposer import Proposal, Round

LIMIT = 64
"""Combinations of one sweep."""
TRIES = 16
"""Combinations looked at for each that is wanted, where most are excluded."""

Value = int | float | bool | str


class Sweep:
    """Proposes the other values of one candidate's knobs."""

    def __init__(
        self,
        candidate: CandidateId,
        source: bytes,
        knobs: Sequence[Knob],
        *,
        name: str,
        seed: int,
        limits: LaunchLimits,
        limit: int = LIMIT,
    ) -> None:
        """`knobs` are those of the candidate's verdict, `name` its own; `limit` is the most that are proposed."""
        self._candidate = candidate
        self._source = source
        self._knobs = tuple(knobs)
        self._name = name
        self._seed = seed
        self._limits = limits
        self._limit = limit

    def propose(self, task: TaskInfo) -> Round:
        """The children of the sweep, each with its knobs written into its file as defaults.

        Raises:
            UsageError: the candidate has no knobs, or its file cannot be rewritten.
            JudgeError: the planner cannot be started.
        """
        if not self._knobs:
            raise UsageError(
                f"{self._candidate} has no knobs.",
                do="Write one into its plan: BLOCK = tune(256, [128, 256, 512]).",
            )
        total = math.prod(len(_choices(knob)) for knob in self._knobs)
        wanted = list(itertools.islice(self._valid(task), self._limit + 1))
        sampled = len(wanted) > self._limit or total - 1 > self._limit * TRIES
        wanted = wanted[: self._limit]
        if not sampled:
            summary = f"{len(wanted)} other settings of {self._candidate}'s knobs; {total - 1 - len(wanted)} excluded."
        else:
            summary = f"{len(wanted)} of {total - 1} other settings of {self._candidate}'s knobs, seed {self._seed}."
        return Round(provenance="tune", proposals=tuple(map(self._child, wanted)), summary=summary)

    def _valid(self, task: TaskInfo) -> Iterator[dict[str, Value]]:
        """Settings that the plan takes at the judged size, the file's own left out."""
        source = split(self._source)
        if isinstance(source, PlanFailure):
            raise UsageError(f"{self._candidate} has no readable plan: {source.diagnostics[0].message}")
        judged = [size for size in task.sizes if size.judged][:1]
        own = {knob.name: knob.default for knob in self._knobs}
        with Planner() as planner:
            for values in self._combinations():
                if values == own:
                    continue
                answer = planner.evaluate(
                    source, judged, limits=self._limits, knobs=values, own_kernels_only=task.own_kernels_only
                )
                if not isinstance(answer, PlanFailure) and not any(isinstance(p, NotCovered) for p in answer):
                    yield values

    def _combinations(self) -> Iterator[dict[str, Value]]:
        """All of them in random order, as long as they can be counted out; else draws without repetition."""
        names = [knob.name for knob in self._knobs]
        choices = [_choices(knob) for knob in self._knobs]
        total = math.prod(map(len, choices))
        rng = random.Random(self._seed)
        most = (self._limit + 1) * TRIES
        if total <= most:
            every = list(itertools.product(*choices))
            if total - 1 > self._limit:  # few are taken in the order that the author wrote them
                rng.shuffle(every)
            yield from (dict(zip(names, values, strict=True)) for values in every)
            return
        seen: set[int] = set()
        while len(seen) < most:
            number = rng.randrange(total)
            if number in seen:
                continue
            seen.add(number)
            values = []
            for options in choices:
                number, place = divmod(number, len(options))
                values.append(options[place])
            yield dict(zip(names, values, strict=True))

    def _child(self, values: dict[str, Value]) -> Proposal:
        changed = [f"{k.name}={values[k.name]}" for k in self._knobs if values[k.name] != k.default]
        return Proposal(
            source=with_knobs(self._source, values),
            name=f"{self._name} {' '.join(changed)}",
            parents=(self._candidate,),
            knobs=values,
        )


def _choices(knob: Knob) -> list[Value]:
    """Its choices and its default, each once; 1, 1.0 and True are three things."""
    return list({(type(v), v): v for v in (knob.default, *knob.choices)}.values())
