"""Cases and their reference values, computed ahead on one thread while the compiler works.

Seeds (`seeds.py`) are drawn when the candidate's bytes are fixed, and are recorded in its verdict.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch

from workbench.core.errors import TaskError
from workbench.core.task import Output, SizeSpec
from workbench.dialect.backward import backward_size
from workbench.judge.worker.compare import CONDITION_SLACK, Bar, Tolerance, bars, index_bar, without_fills
from workbench.judge.worker.seeds import Seeds
from workbench.judge.worker.task.expected import Expected
from workbench.judge.worker.task.loaded import Case, LoadedTask
from workbench.judge.worker.ties import Choice, Source, computed_source

Wait = Callable[[Future[Any]], Any]
"""How a result is waited for: `Future.result`, or what looks up in between (`Judging.wait`)."""

RANDOM_DRAWS = 3
ALWAYS_HARD = ("needle", "huge")
HARD_AT_RANDOM = 2
"""Hard cases at a random size, besides those of `ALWAYS_HARD`."""
HARD_ELEMENTS = 1 << 16
"""Random sizes with more elements than this, and twice those of the judged size, get no hard case."""
MIN_RANDOM_USABLE = 3
MIN_HARD_USABLE = 1


@dataclass(frozen=True)
class Prepared:
    """One case at one size with what it must give."""

    case: Case
    size: SizeSpec
    expected: Expected | None
    bars: list[Bar]
    """Of the outputs, then of the gradients where they are judged."""
    mutated: dict[str, Bar]
    """By path: inputs that the reference writes."""
    check: Callable[[Any, Any], Any] | None = None
    """The task's own comparison of all outputs, in place of the judge's."""
    failure: str = ""
    """The reference does not survive this hard case."""
    left_out: dict[int, str] = field(default_factory=dict)
    """Gradients (by their place in `bars`) that this case cannot check, and why; the outputs are checked all the same."""

    @property
    def hard(self) -> bool:
        return self.case.name != "random"

    @property
    def unusable(self) -> str | None:
        """Why this case cannot be counted; None where it can."""
        if self.failure:
            return self.failure
        for number, bar in enumerate([*self.bars, *self.mutated.values()]):
            if not bar.usable and number not in self.left_out:
                return _untrusted(bar)
        return None

    @property
    def caveats(self) -> list[str]:
        """What is not checked in this case though it counts, in words."""
        found = list(self.left_out.values())
        if self.expected is not None and self.expected.refused:
            found.append(
                f"the reference does not run in fp64 on it ({self.expected.refused}), so results were compared with "
                "eager's and their precision was not measured"
            )
        return found

    def counted(self) -> list[int]:
        """The places in `bars` that this case can check."""
        return [number for number in range(len(self.bars)) if number not in self.left_out]

    def perturbed(self, output: int) -> torch.Tensor | None:
        """The fp64 reference of `output` on inputs moved by one random ulp, where there is one."""
        moved = self.expected.perturbed if self.expected is not None else None
        return moved[output] if moved is not None else None

    def perturbed_mutated(self, path: str) -> torch.Tensor | None:
        """What the fp64 reference writes to `path` on inputs moved by one random ulp, where there is one."""
        moved = self.expected.perturbed_mutated if self.expected is not None else None
        return moved[path] if moved is not None else None

    def sides(self, output: int) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Between which values a gradient lies at a kink of the reference; None for an output, and without fp64."""
        if self.expected is None or output < len(self.size.outputs):
            return None
        kinks = self.expected.kinks
        return (kinks[0][output], kinks[1][output]) if kinks is not None else None

    def refused(self, actual: list[torch.Tensor]) -> str | None:
        """What the task's own check says against `actual`; None where it agrees."""
        assert self.check is not None and self.expected is not None
        expected = self.expected.eager[: len(self.size.outputs)]
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
        outputs = self.expected.eager[: len(self.size.outputs)] if self.expected is not None else []
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
        *,
        backward: bool = False,
        wait: Wait = Future.result,
    ) -> None:
        self._wait = wait
        self.size = size
        self.names = list(names)
        drawn = seeds or Seeds()
        self.seeds = [drawn.at("case", number, name) for number, name in enumerate(names)]
        self._futures: list[Future[Prepared]] = [
            pool.submit(prepare, task, size, seed, name, backward)
            for seed, name in zip(self.seeds, self.names, strict=True)
        ]

    def __len__(self) -> int:
        return len(self._futures)

    def get(self, number: int) -> Prepared:
        """Case `number`, waiting until it is ready."""
        prepared: Prepared = self._wait(self._futures[number])
        return prepared

    def drop(self) -> None:
        """Nobody will ask for the rest."""
        for future in self._futures:
            future.cancel()


class OtherSizes:
    """Cases at each further size: the declared ones that run here, then random ones.

    A path of the code that only another size takes (rows that cannot be read as vectors, say) is as easily wrong on the
    hard cases only as any other: declared sizes get all of them, random sizes a needle, huge numbers and two others unless they are
    large.
    """

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        task: LoadedTask,
        seeds: Seeds | None = None,
        *,
        backward: bool = False,
        wait: Wait = Future.result,
    ) -> None:
        self._wait = wait
        self._backward = backward
        self._drawn = seeds or Seeds()
        self.seed = self._drawn.at("sizes")
        """Drew the random sizes."""
        self._pool = pool
        self._task = task
        self._dropped = threading.Event()
        self._sizes = pool.submit(self._choose)
        self._prepared: Future[list[list[Prepared]]] = pool.submit(self._prepare)

    def sizes(self) -> list[SizeSpec]:
        """Waits until they are drawn."""
        sizes: list[SizeSpec] = self._wait(self._sizes)
        return sizes

    def prepared(self) -> list[list[Prepared]]:
        """The cases at each of `sizes`, in order; the first of each is a random draw."""
        prepared: list[list[Prepared]] = self._wait(self._prepared)
        return prepared

    def shorter(self, size: SizeSpec, factor: float) -> tuple[SizeSpec, list[Prepared]] | None:
        """The size with its longest free dimension made `factor` times as long, with its case; None where the
        reference does not run there."""

        def make() -> tuple[SizeSpec, list[Prepared]] | None:
            longest = max(self._task.info.free_dims, key=lambda n: size.values[n])
            found = self._task.size_at(
                dict(size.values) | {longest: max(int(size.values[longest] * factor), 1)}
            )
            if found is None or not found.judged:
                return None
            seed = self._drawn.at("size", found.name)
            try:
                return found, [prepare(self._task, found, seed, "random", self._backward)]
            except TaskError:
                return None

        found: tuple[SizeSpec, list[Prepared]] | None = self._wait(self._pool.submit(make))
        return found

    def drop(self) -> None:
        """Nobody will ask; what is being prepared ends with its case."""
        self._dropped.set()
        self._sizes.cancel()
        self._prepared.cancel()

    def _choose(self) -> list[SizeSpec]:
        judged, *others = self._task.sizes
        declared = [size for size in others if size.judged]
        known = {_values(size) for size in [judged, *declared]}
        drawn = self._task.random_sizes(random.Random(self.seed))
        return declared + [size for size in drawn if _values(size) not in known]

    def _prepare(self) -> list[list[Prepared]]:
        found = []
        for number, size in enumerate(self._sizes.result()):
            names = ("random", *self._hard(size, number))
            try:
                cases = [
                    prepare(self._task, size, self._drawn.at("size", number, name), name, self._backward)
                    for name in names
                    if not self._dropped.is_set()
                ]
            except TaskError as error:
                if size in self._task.sizes:
                    raise
                # Nobody asked for this size: where the reference does not run on the draw, it says nothing.
                cases = [Prepared(Case("random", 0, {}), size, None, [], {}, failure=str(error))]
            found.append(cases)
        return found

    def _hard(self, size: SizeSpec, number: int) -> list[str]:
        hard = [name for name in self._task.cases() if name != "random"]
        if size in self._task.sizes:
            return hard
        if _elements(size) > max(2 * _elements(self._task.sizes[0]), HARD_ELEMENTS):
            return []
        always = [name for name in ALWAYS_HARD if name in hard]
        others = [name for name in hard if name not in ALWAYS_HARD]
        drawn = random.Random(self._drawn.at("size", number)).sample(others, min(HARD_AT_RANDOM, len(others)))
        return [*always, *drawn]


def _elements(size: SizeSpec) -> int:
    return sum(p.tensor.numel for p in size.parameters if p.tensor is not None)


def _values(size: SizeSpec) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(size.values.items()))


def prepare(task: LoadedTask, size: SizeSpec, seed: int, name: str, backward: bool = False) -> Prepared:
    """Draw a case and compute its reference values, `backward`: gradients too. Called on the reference thread only."""
    case = task.draw(size, seed, name, backward=backward)
    try:
        expected = task.expected(size, case, backward=backward)
    except TaskError as error:
        if name == "random":
            raise
        return Prepared(case, size, None, [], {}, failure=str(error))
    tolerance = task.tolerance
    count = len(size.outputs)
    exact = expected.exact
    made = bars(size.outputs, expected.eager[:count], exact[:count] if exact is not None else None, tolerance)
    made = [_index_bar(bar, expected, number) for number, bar in enumerate(made)]
    made = [_float_bar(bar, expected, number, tolerance) for number, bar in enumerate(made)]
    left_out: dict[int, str] = {}
    if backward:
        made += _gradient_bars(
            size, expected.eager[count:], exact[count:] if exact is not None else None, tolerance
        )
        left_out = {n: _untrusted(bar) for n, bar in enumerate(made) if n >= count and not bar.usable}
    mutated = _mutated_bars(size, expected, tolerance)
    return Prepared(case, size, expected, made, mutated, task.options.check, left_out=left_out)


def _index_bar(bar: Bar, expected: Expected, number: int) -> Bar:
    """The bar of output `number`, with what it was chosen from where it holds positions."""
    if not bar.output.index:
        return bar

    def perturbed() -> torch.Tensor | None:
        return expected.perturbed[number] if expected.perturbed is not None else None

    exact = expected.exact[number] if expected.exact is not None else None
    return index_bar(bar, exact, perturbed, _choice(expected, number))


def _float_bar(bar: Bar, expected: Expected, number: int, tolerance: Tolerance) -> Bar:
    """The bar of output `number`, tighter beside a constant that the module fills in."""
    return without_fills(
        bar, lambda: expected.perturbed[number] if expected.perturbed is not None else None, tolerance
    )


def _choice(expected: Expected, number: int) -> Choice | None:
    """What output `number` was chosen from; None where that is not known."""
    eager = expected.chosen_from.get(number)
    if eager is None:
        return None
    if expected.exact is None:
        return Choice(tuple(Source(t.values, None, t.distinct) for t in eager.tables), eager.rows)
    exact = expected.exact_chosen_from.get(number)
    if exact is None or exact.rows.shape != eager.rows.shape or len(exact.tables) != len(eager.tables):
        return None
    pairs = [(a.values, b.values) for a, b in zip(eager.tables, exact.tables, strict=True)]
    rounded = not all(a.shape == b.shape and torch.equal(a.to(b.dtype), b) for a, b in pairs)
    # An input, mostly, is not rounded: then no third run is needed.
    moved = expected.perturbed_chosen_from.get(number) if rounded else None
    sources = []
    for n, (one, two) in enumerate(pairs):
        away = moved.tables[n].values if moved is not None and n < len(moved.tables) else None
        source = computed_source(one, two, away, CONDITION_SLACK, distinct=eager.tables[n].distinct)
        if source is None:
            return None
        sources.append(source)
    return Choice(tuple(sources), torch.where(eager.rows == exact.rows, eager.rows, -1))


def _gradient_bars(
    size: SizeSpec, eager: list[torch.Tensor], exact: list[torch.Tensor] | None, tolerance: Tolerance
) -> list[Bar]:
    """A task's own rtol is a gradient's too; its atol is of the outputs' scale, so the rms of the rows stands for it."""
    outputs = [output for output in backward_size(size, (), ()).outputs]
    return bars(outputs, eager, exact, {}, at_least=tolerance.get("rtol", 0.0) if tolerance else 0.0)


def _untrusted(bar: Bar) -> str:
    percent = 100 * bar.excluded / max(bar.target.numel(), 1)
    return f"{percent:.1f} % of {bar.output.name} has no trustworthy reference"


def _mutated_bars(size: SizeSpec, expected: Expected, tolerance: Tolerance) -> dict[str, Bar]:
    parameters = size.by_path()
    exact = expected.exact_mutated
    found: dict[str, Bar] = {}
    for path, tensor in expected.mutated.items():
        parameter = parameters[path]
        if parameter.mutable and parameter.tensor is not None:
            output = Output(f"{parameter.name} (written in place)", parameter.tensor)
            found[path] = bars([output], [tensor], [exact[path]] if exact is not None else None, tolerance)[0]
    return found
