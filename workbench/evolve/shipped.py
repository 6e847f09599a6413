"""The first proposer: kernels that come with workbench and fit the task's signature. Needs no key and no network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from workbench.core.task import TaskInfo
from workbench.evolve.proposer import Proposal, Round


class Kernel(Protocol):
    """A kernel of the archive, as far as a proposal needs it."""

    @property
    def name(self) -> str:
        """Short words: "warp-per-row"."""

    @property
    def source(self) -> bytes:
        """The candidate's file."""

    @property
    def note(self) -> str:
        """Where it comes from."""

    @property
    def named_alike(self) -> bool:
        """It was written for a task of this name; False: another task, of which only the signature is the same."""


class ShippedKernels:
    """Proposes whatever `lookup` (`workbench.archive.shipped.fitting`) finds for the task."""

    def __init__(self, lookup: Callable[[TaskInfo], Sequence[Kernel]]) -> None:
        self._lookup = lookup

    def propose(self, task: TaskInfo) -> Round:
        """One proposal for each kernel that fits; the judge says which are right."""
        found = self._lookup(task)
        proposals = tuple(Proposal(source=k.source, name=k.name, note=k.note) for k in found)
        if not proposals:
            summary = "No shipped kernel fits this signature."
        elif not any(k.named_alike for k in found):
            kernels = "kernel of another task fits" if len(found) == 1 else "kernels of other tasks fit"
            summary = f"{len(found)} shipped {kernels} this signature, to start from; what they compute is another matter."
        else:
            fit = "kernel fits" if len(proposals) == 1 else "kernels fit"
            summary = f"{len(proposals)} shipped {fit} this signature."
        return Round(provenance="archive", proposals=proposals, summary=summary)
