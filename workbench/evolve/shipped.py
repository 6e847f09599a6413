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
        else:
            fit = "kernel fits" if len(proposals) == 1 else "kernels fit"
            summary = f"{len(proposals)} shipped {fit} this signature."
        return Round(provenance="archive", proposals=proposals, summary=summary)
