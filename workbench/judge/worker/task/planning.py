"""Decides which of a task's sizes are judged on this target, which are only known, and what that leaves unchecked."""

from __future__ import annotations

from workbench.core.errors import TaskError
from workbench.judge.worker.task.limits import HOST_WORK, HOST_WORK_LIMIT
from workbench.judge.worker.task.options import Options
from workbench.judge.worker.task.program import Program
from workbench.judge.worker.task.shrinking import derive_small
from workbench.judge.worker.task.sizes import NANS, Attempt, attempt, declared_sizes


class SizePlan:
    """Sizes by name and values: what is judged here, what is only known by its shapes, what is not known."""

    def __init__(self) -> None:
        self.judged: list[tuple[str, dict[str, int]]] = []
        self.known: list[tuple[str, dict[str, int], Attempt]] = []
        self.unchecked: list[str] = []
        self.notes: list[str] = []
        self.derived = False
        self.declared: dict[str, dict[str, int]] = {}


def plan_sizes(program: Program, options: Options) -> SizePlan:
    """Try every declared size without data, and derive a small one where none fits.

    Raises:
        TaskError: the task does not run, or no size that the host can run was found.
    """
    plan = SizePlan()
    declared = declared_sizes(program, options.sizes) if options.sizes else {}
    if declared:
        keys = dict.fromkeys(k for values in declared.values() for k in values)
        defaults = {k: program.default_of(k) for k in keys}
        known = {k: v for k, v in defaults.items() if v is not None}
        declared = {name: {**known, **values} for name, values in declared.items()}
        if "full" not in declared and len(known) == len(keys) and known not in declared.values():
            declared["full"] = dict(known)
    else:
        declared = {"full": {}}
    plan.declared = declared
    tried = {name: attempt(program, values, "meta", keep=True) for name, values in declared.items()}
    fits = [n for n, a in tried.items() if n == "small" or (not a.why and a.work <= HOST_WORK_LIMIT)]
    fits.sort(key=lambda n: (n != "small", tried[n].work))
    if not options.sizes and tried["full"].work > HOST_WORK:
        fits = []
    plan.judged = [(n, declared[n]) for n in fits]
    if not fits:
        name = "full" if "full" in declared else min(declared, key=lambda n: tried[n].work or 1 << 62)
        small = _derived(program, declared[name], tried[name])
        if small == declared[name]:
            plan.judged = [(name, small)]
        else:
            plan.derived = True
            plan.judged = [("small", small)]
            if name == "full" and not options.sizes:
                filled = {k: v for k, v in program.literal_values().items() if k in small}
                declared["full"] = filled | declared["full"]
    for name, values in declared.items():
        if any(n == name for n, _ in plan.judged):
            continue
        if tried[name].why:
            plan.unchecked.append(
                f"size {name}: its shapes are not known here ({tried[name].why.rstrip('.')})"
            )
        else:
            plan.known.append((name, values, tried[name]))
    return plan


def _derived(program: Program, base: dict[str, int], full: Attempt) -> dict[str, int]:
    if full.why:
        # No meta kernel, or the task is wrong; what is small enough says which.
        real = attempt(program, base, "cpu")
        if 0 < real.work <= HOST_WORK:
            return base
        if real.error is not None:
            raise real.error
        if real.why == NANS:
            raise TaskError(
                f"The reference of {program.file.file.name} gives NaN.",
                do="Correct the task: NaN cannot be compared.",
            )
    return derive_small(program, base, full)
