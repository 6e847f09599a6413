"""A loaded task: its sizes and cases, new draws of its inputs, and what the reference gives on them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import torch

from workbench.core.errors import TaskError
from workbench.core.task import FunctionalForm, Output, Parameter, Scalar, SizeSpec, TaskInfo
from workbench.judge.worker.task import gradients, inspection
from workbench.judge.worker.task.cases import CASES, STATE_CASES, draw_inputs, redraw_state
from workbench.judge.worker.task.distributions import declare
from workbench.judge.worker.task.drawn_sizes import drawn_values
from workbench.judge.worker.task.estimate import bytes_moved
from workbench.judge.worker.task.expected import Expected
from workbench.judge.worker.task.limits import (
    HOST_WORK_LIMIT,
)
from workbench.judge.worker.task.options import Options
from workbench.judge.worker.task.program import Program, Where
from workbench.judge.worker.task.reference import Reference, Values
from workbench.judge.worker.task.signature import (
    identifier,
    module_scalars,
    module_tensors,
    output_leaves,
    parameters_of,
    spec_of,
)
from workbench.judge.worker.task.sizes import Attempt, attempt
from workbench.judge.worker.task.structure import Structure

_DRAWN_SIZES_KEPT = 8


class Case:
    """One drawn case: what a candidate and the reference are given.

    Attributes:
        name: "random" or one of the hard cases.
        seed: draws the same case again.
        values: by `Parameter.path`; tensors are contiguous, on the CPU, and must not be written.
    """

    def __init__(self, name: str, seed: int, values: dict[str, torch.Tensor | Scalar]) -> None:
        self.name, self.seed, self.values = name, seed, values


class Bench:
    """One size, ready to be drawn and run."""

    def __init__(
        self, spec: SizeSpec, reference: Reference, structures: dict[str, Structure], replayed: bool
    ) -> None:
        self.spec = spec
        self.reference = reference
        self.structures = structures
        self.replayed = replayed
        """The structure was not understood: inputs come from get_inputs() itself, seeded."""


class LoadedTask:
    """A task that can be judged (made by `load_task`)."""

    def __init__(
        self, program: Program, options: Options, info: TaskInfo, benches: list[Bench], found: Any
    ) -> None:
        self.info = info
        self.options = options
        self._program = program
        self._found: inspection.Findings = found
        self._benches = {_key(b.spec.values): b for b in benches}
        self._judged = benches[0]
        self._specs: dict[tuple, SizeSpec | None] = {_key(s.values): s for s in info.sizes}

    @property
    def sizes(self) -> tuple[SizeSpec, ...]:
        """The judged size first, then other declared ones; `judged` False: only their shapes are known here."""
        return self.info.sizes

    def cases(self) -> tuple[str, ...]:
        """Names of the cases that apply, "random" first."""
        return tuple(c for c in CASES if c not in self._found.skipped_cases)

    @property
    def takes_non_finite(self) -> bool:
        """Whether there is a float input into which NaN and infinity can be put."""
        structures = self._judged.structures.values()
        return not self._judged.replayed and any(
            s.transformable and s.dtype.is_floating_point for s in structures
        )

    @property
    def skipped_cases(self) -> dict[str, str]:
        """Hard cases that do not apply to this task, and why."""
        return dict(self._found.skipped_cases)

    @property
    def refused_cases(self) -> dict[str, str]:
        """Those of `skipped_cases` that could be made, but that the reference does not take."""
        return self._found.refused_cases

    @property
    def tolerance(self) -> dict[str, float]:
        """`rtol` and `atol` as the task sets them; empty takes the judge's own."""
        return dict(self.options.tolerance)

    def size_at(self, values: Mapping[str, int]) -> SizeSpec | None:
        """The signature at other values of the free dimensions; None where the reference does not run there."""
        wanted = dict(self._judged.spec.values) | dict(values)
        key = _key(wanted)
        if key not in self._specs:
            name = ", ".join(f"{k}={wanted[k]}" for k in values) or "as judged"
            tried = attempt(self._program, wanted, "meta")
            where: Where = "cpu" if tried.why or tried.work <= HOST_WORK_LIMIT else "meta"
            kept = attempt(self._program, wanted, where, keep=True)
            self._specs[key] = None
            if not kept.why and kept.instance is not None:
                spec = size_spec(name, wanted, kept, judged=where == "cpu", like=self._judged.spec)
                self._specs[key] = spec
                kept.instance.release()
        return self._specs[key]

    def random_sizes(self, rng: random.Random) -> list[SizeSpec]:
        """Sizes with other values of the free dimensions, small enough for the host (`drawn_sizes.py` says which).

        Fewer come back where the reference refuses values (divisibility, say) or nothing small enough is found.
        """
        known = {_key(s.values) for s in self.sizes}

        def work(values: Mapping[str, int]) -> int | None:
            tried = attempt(self._program, {**self._judged.spec.values, **values}, "meta")
            return None if tried.why else tried.work

        def serves(values: Mapping[str, int]) -> bool:
            spec = self.size_at(values)
            return spec is not None and spec.judged and _key(spec.values) not in known

        free: dict[str, tuple[int, int]] = {}
        for name in self.info.free_dims:
            seen = [s.values[name] for s in self.sizes]
            free[name] = (max(min(seen) // 2, 1), max(seen))
        found = [self.size_at(values) for values in drawn_values(rng, free, work, serves)]
        return [spec for spec in found if spec is not None]

    def gradient_cases(self) -> tuple[str, ...]:
        """Names of the hard cases of the incoming gradients; none where the task has no gradient."""
        return gradients.GRADIENT_CASES if self._found.gradients.wanted else ()

    def draw(self, size: SizeSpec, seed: int, case: str = "random", *, backward: bool = False) -> Case:
        """New inputs with the task's structure; parameters as in the module unless the case redraws them.

        The same size, seed and case give the same values. Another case with the same seed starts from the same
        draw, so that only its transform differs. With `backward` the incoming gradients come with it.
        """
        bench = self._bench(size)
        generator = torch.Generator().manual_seed(seed & ((1 << 63) - 1))
        values: dict[str, torch.Tensor | Scalar] = {}
        for parameter in size.parameters:
            if parameter.tensor is None:
                values[parameter.path] = parameter.value
        if bench.replayed:
            values |= inspection.replay(bench.reference.instance, seed)
        else:
            drawn = draw_inputs(list(bench.structures.values()), case, generator)
            values |= dict(zip(bench.structures, drawn, strict=True))
        redrawn: dict[int, torch.Tensor] = {}
        for state in bench.reference.state:
            tensor = bench.reference.pristine[state.path]
            if case in STATE_CASES:
                # Tied parameters share one draw.
                if id(state.tensor) not in redrawn:
                    redrawn[id(state.tensor)] = redraw_state(state.path, tensor, generator, case)
                tensor = redrawn[id(state.tensor)]
            values[state.path] = tensor
        if backward:
            values |= gradients.draw(size, seed, case)
        return Case(case, seed, values)

    def expected(self, size: SizeSpec, case: Case, *, backward: bool = False) -> Expected:
        """The reference's outputs for a case, with `backward` also its gradients (of a case drawn with them).

        Raises:
            TaskError: the reference raises on it.
        """
        bench = self._bench(size)
        mutable = [p.path for p in size.parameters if p.mutable]
        return Expected(
            bench.reference,
            case.values,
            mutable,
            has_exact=self._found.has_exact,
            seed=case.seed,
            gradients=size.gradients if backward else (),
            positions=any(output.index for output in size.outputs),
        )

    def functional_form(self) -> FunctionalForm:
        """Stage 1: the module as a function with explicit parameters (takes seconds: torch.export)."""
        from workbench.judge.worker.task.functional import functional_form

        def draws() -> list[Values]:
            cases = [self.draw(self._judged.spec, seed) for seed in (31, 32)]
            if "parameters" in self.cases():
                cases.append(self.draw(self._judged.spec, 33, "parameters"))
            return [case.values for case in cases]

        size = self._judged.spec.name
        return functional_form(self._judged.reference, self.info.name, draws, size)

    def _bench(self, size: SizeSpec) -> Bench:
        key = _key(size.values)
        if key not in self._benches:
            if not size.judged:
                raise TaskError(
                    f"The size {size.name!r} is too large for the host.", do="Judge a smaller one."
                )
            instance = self._program.instantiate(size.values)
            reference = Reference(instance, fresh_module=self._judged.reference.fresh_module)
            structures, replayed = inspection.structures_of(instance)
            declare(structures, self.options, [])
            self.forget_drawn_sizes(_DRAWN_SIZES_KEPT - 1)
            self._benches[key] = Bench(size, reference, structures, replayed or self._judged.replayed)
        return self._benches[key]

    def forget_drawn_sizes(self, keep: int = 0) -> None:
        """Drop all but `keep` drawn sizes. Each verdict draws new ones: thousands must not stay."""
        declared = {_key(spec.values) for spec in self.sizes}
        drawn = [key for key in self._benches if key not in declared]
        for key in drawn[: max(len(drawn) - keep, 0)]:
            self._benches.pop(key).reference.instance.release()
            self._specs.pop(key, None)


def size_spec(
    name: str,
    values: Mapping[str, int],
    tried: Attempt,
    *,
    judged: bool,
    found: inspection.Findings | None = None,
    like: SizeSpec | None = None,
) -> SizeSpec:
    """The signature of a size that was tried and kept."""
    instance = tried.instance
    assert instance is not None
    mutable = found.mutable if found else {p.path for p in like.parameters if p.mutable} if like else set()
    aliases = found.aliases if found else {n: o.input for n, o in enumerate(like.outputs)} if like else {}
    index = found.index if found else {n for n, o in enumerate(like.outputs) if o.index} if like else set()
    parameters = tuple(
        Parameter(p.name, p.key, p.role, p.tensor, p.value, p.path in mutable)
        for p in parameters_of(
            instance.inputs, module_tensors(instance.model), module_scalars(instance.model)
        )
    )
    leaves = [leaf for leaf in output_leaves(tried.raw) if isinstance(leaf.value, torch.Tensor)]
    outputs = tuple(
        Output(identifier(leaf.key), spec_of(leaf.value), aliases.get(number), number in index)
        for number, leaf in enumerate(leaves)
    )
    moved = bytes_moved(parameters, outputs)
    wanted = found.gradients.wanted if found else like.gradients if like else ()
    incoming = found.gradients.incoming if found else like.incoming if like else ()
    return SizeSpec(
        name,
        dict(values),
        parameters,
        outputs,
        moved,
        tried.flops,
        gradients=wanted,
        incoming=incoming,
        judged=judged,
    )


def _key(values: Mapping[str, int]) -> tuple:
    return tuple(sorted(values.items()))
