"""Cases and their reference values, computed ahead on one thread while the compiler works.

Seeds (`seeds.py`) are drawn when the candidate's bytes are fixed, and are recorded in its verdict.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch

from workbench.core.errors import TaskError
from workbench.core.task import Output, SizeSpec
from workbench.judge.worker.compare import Bar, Tolerance, bars
from workbench.judge.worker.seeds import Seeds
from workbench.judge.worker.task.loader import Case, LoadedTask
from workbench.judge.worker.task.reference import Expected

RANDOM_DRAWS = 3
RANDOM_SIZES = 3
MIN_RANDOM_USABLE = 3
MIN_HARD_USABLE = 1


@dataclass(frozen=True)
class Prepared:
    """One case at one size with what it must give."""

    case: Case
    size: SizeSpec
    expected: Expected | None
    bars: list[Bar]
    mutated: dict[str, Bar]
    """By path: inputs that the reference writes."""
    check: Callable[[Any, Any], Any] | None = None
    """The task's own comparison of all outputs, in place of the judge's."""
    failure: str = ""
    """The reference does not survive this hard case."""

    @property
    def hard(self) -> bool:
        return self.case.name != "random"

    @property
    def unusable(self) -> str | None:
        """Why this case cannot be counted; None where it can."""
        if self.failure:
            return self.failure
        for bar in [*self.bars, *self.mutated.values()]:
            if not bar.usable:
                percent = 100 * bar.excluded / max(bar.target.numel(), 1)
                return f"{percent:.1f} % of {bar.output.name} has no trustworthy reference"
        return None

    def perturbed(self, output: int) -> torch.Tensor | None:
        """The fp64 reference of `output` on inputs moved by one random ulp, where there is one."""
        moved = self.expected.perturbed if self.expected is not None else None
        return moved[output] if moved is not None else None

    def refused(self, actual: list[torch.Tensor]) -> str | None:
        """What the task's own check says against `actual`; None where it agrees."""
        assert self.check is not None and self.expected is not None
        expected = self.expected.eager
        single = len(expected) == 1
        try:
            agrees = self.check(expected[0] if single else expected, actual[0] if single else actual)
        except AssertionError as error:
            return str(error)[:300]
        except Exception as error:
            raise TaskError(
                f"The task's check(expected, actual) raised {type(error).__name__}: {str(error)[:200]}.",
                do="Correct it in the task.",
            ) from error
        return None if agrees is None or bool(agrees) else ""

    def selected_from(self) -> list[torch.Tensor]:
        """Floating inputs and outputs that an index output may point into."""
        tensors = [v for v in self.case.values.values() if isinstance(v, torch.Tensor)]
        outputs = self.expected.eager if self.expected is not None else []
        return [t for t in [*tensors, *outputs] if t.is_floating_point() and t.dim()]


class References:
    """The cases of one candidate at one size, in order; `get` waits for one."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        task: LoadedTask,
        size: SizeSpec,
        names: Sequence[str],
        seeds: Seeds | None = None,
    ) -> None:
        self.size = size
        self.names = list(names)
        drawn = seeds or Seeds()
        self.seeds = [drawn.at("case", number, name) for number, name in enumerate(names)]
        self._futures: list[Future[Prepared]] = [
            pool.submit(prepare, task, size, seed, name)
            for seed, name in zip(self.seeds, self.names, strict=True)
        ]

    def __len__(self) -> int:
        return len(self._futures)

    def get(self, number: int) -> Prepared:
        """Case `number`, waiting until it is ready."""
        return self._futures[number].result()

    def drop(self) -> None:
        """Nobody will ask for the rest."""
        for future in self._futures:
            future.cancel()


class OtherSizes:
    """One random draw at each further size: the declared ones that run here, then random ones."""

    def __init__(
        self, pool: ThreadPoolExecutor, task: LoadedTask, count: int, seeds: Seeds | None = None
    ) -> None:
        self._drawn = seeds or Seeds()
        self.seed = self._drawn.at("sizes")
        """Drew the random sizes."""
        self._pool = pool
        self._task = task
        self._sizes = pool.submit(self._choose, count)
        self._prepared: Future[list[Prepared]] = pool.submit(self._prepare)

    def sizes(self) -> list[SizeSpec]:
        """Waits until they are drawn."""
        return self._sizes.result()

    def prepared(self) -> list[Prepared]:
        """One for each of `sizes`, in order."""
        return self._prepared.result()

    def drop(self) -> None:
        """Nobody will ask."""
        self._sizes.cancel()
        self._prepared.cancel()

    def _choose(self, count: int) -> list[SizeSpec]:
        judged, *others = self._task.sizes
        declared = [size for size in others if size.judged]
        known = {_values(size) for size in [judged, *declared]}
        drawn = self._task.random_sizes(random.Random(self.seed), count)
        return declared + [size for size in drawn if _values(size) not in known]

    def _prepare(self) -> list[Prepared]:
        return [
            prepare(self._task, size, self._drawn.at("size", number), "random")
            for number, size in enumerate(self._sizes.result())
        ]


def _values(size: SizeSpec) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(size.values.items()))


def prepare(task: LoadedTask, size: SizeSpec, seed: int, name: str) -> Prepared:
    """Draw a case and compute its reference values. Called on the reference thread only."""
    case = task.draw(size, seed, name)
    try:
        expected = task.expected(size, case)
    except TaskError as error:
        if name == "random":
            raise
        return Prepared(case, size, None, [], {}, failure=str(error))
    tolerance = task.tolerance
    made = bars(size.outputs, expected.eager, expected.exact, tolerance)
    mutated = _mutated_bars(size, expected, tolerance)
    return Prepared(case, size, expected, made, mutated, task.options.check)


def _mutated_bars(size: SizeSpec, expected: Expected, tolerance: Tolerance) -> dict[str, Bar]:
    parameters = size.by_path()
    found: dict[str, Bar] = {}
    for path, tensor in expected.mutated.items():
        parameter = parameters[path]
        if parameter.mutable and parameter.tensor is not None:
            output = Output(f"{parameter.name} (written in place)", parameter.tensor)
            found[path] = bars([output], [tensor], None, tolerance)[0]
    return found
