"""The architecture that `--arch` names."""

from __future__ import annotations

import re

from workbench.core.errors import UsageError
from workbench.core.plan import LIMITS

_NAME = re.compile(r"sm_\d{2,3}[af]?")


def check_arch(arch: str | None) -> None:
    """Refuse an architecture whose limits are not known here; None names none.

    Raises:
        UsageError: it is not known.
    """
    if arch is not None and not (_NAME.fullmatch(arch) and arch.rstrip("af") in LIMITS):
        raise UsageError(
            f"{arch[:40]} is not an architecture known here.",
            do=f"Known: {', '.join(LIMITS)}, also with an a.",
        )
