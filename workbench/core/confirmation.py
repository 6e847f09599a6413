"""How often a session may say "faster": the level of its j-th confirmation of one task (docs/judge.md).

0.05 / (j (j + 1)) adds up to 0.05 over however many confirmations, so a search that confirms three hundred champions
errs no more often than one that confirms a single one. Kept in the session's state, not in the judge's memory: a judge
that is started again must not begin at j = 1.
"""

from __future__ import annotations

import msgspec

from workbench.core.statistics import LEVEL


def confirmation_level(j: int) -> float:
    """The two-sided level of the interval of the `j`-th confirmation, counted from 1.

    Raises:
        ValueError: `j` is below 1.
    """
    if j < 1:
        raise ValueError("confirmations are counted from 1")
    return LEVEL / (j * (j + 1))


class Confirmations(msgspec.Struct, frozen=True):
    """Confirmations begun in a session, by task."""

    begun: dict[str, int] = {}
    """By the task's name, not by its fingerprint: saving the task once more earns no fresh chances."""

    def begin(self, task: str) -> tuple[Confirmations, int]:
        """Count one more of `task`, and its number j.

        To be called, and written down, before its first block is measured: one that is cut off, ends undecided or
        fails was still a chance to err.
        """
        j = self.begun.get(task, 0) + 1
        return Confirmations({**self.begun, task: j}), j
