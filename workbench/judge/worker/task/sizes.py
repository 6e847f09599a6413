"""Which sizes of a task there are, and which of them this target can judge.

A size is tried by building the module, drawing its inputs and running it once: on the meta device, where nothing is
allocated and only shapes are true, or for real with a guard that refuses what the host should not allocate.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from workbench.core.errors import TaskError
from workbench.judge.worker.task.estimate import Work
from workbench.judge.worker.task.imports import describe
from workbench.judge.worker.task.limits import HOST_ELEMENTS_LIMIT, MAX_OPERATIONS, TooLarge
from workbench.judge.worker.task.literals import arguments_of, bound_names
from workbench.judge.worker.task.program import Instance, Program, Where
from workbench.judge.worker.task.signature import module_tensors, output_leaves


class Attempt(NamedTuple):
    """A size that was tried."""

    values: dict[str, int]
    work: int
    """0 where it failed."""
    why: str
    """"" where it ran."""
    flops: int = 0
    operations: int = 0
    """Calls of building, drawing and running."""
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


NANS = "an output is NaN"


def attempt(
    program: Program,
    values: Mapping[str, int],
    where: Where,
    *,
    keep: bool = False,
    limit: int = HOST_ELEMENTS_LIMIT,
) -> Attempt:
    """Build and run the task at a size, refusing to allocate what the host should not."""
    meta = where == "meta"
    guard = Work(limit_elements=None if meta else limit)
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
            return Attempt(dict(values), 0, NANS)
        held = sum(leaf.value.numel() for leaf in instance.tensors())
        held += sum(state.tensor.numel() for state in module_tensors(instance.model))
        kept = (instance, raw) if keep else (None, None)
        total = max(held + work.total, 1)
        return Attempt(dict(values), total, "", work.flops, guard.operations, *kept)
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
