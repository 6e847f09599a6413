"""Where a verdict's seeds come from: one root from the operating system, and every draw derived from it and its place.

So a verdict can be made again from its first recorded seed, also when it ended at another gate. The root is drawn when
the candidate's bytes are fixed and is never mapped where candidate code runs.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence


def fresh_seed() -> int:
    """63 random bits from the operating system."""
    return int.from_bytes(os.urandom(8), "little") >> 1


class Seeds:
    """The seeds of one verdict."""

    def __init__(self, given: Sequence[int] = ()) -> None:
        """Draw a root, or take that of an earlier verdict (`given[0]`)."""
        self.root = given[0] if given else fresh_seed()

    def at(self, *place: str | int) -> int:
        """The 63-bit seed of one draw, named by its place: at("case", 3, "needle")."""
        text = "/".join(map(str, (self.root, *place)))
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1
