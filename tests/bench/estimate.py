"""How the host target's estimate ranks pairs of kernels whose better half is known: `python tests/bench/estimate.py [PAIR ...]`.

No test; nothing is asserted. `relative_cost` is the estimate, 1 being what moving the task's own bytes once takes. With
--details each verdict's whole estimate follows.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "judge" / "estimate"))

from pairs import PAIRS, rank, table


def main() -> None:
    """Judge the pairs named, or all."""
    details = "--details" in sys.argv
    results = rank([a for a in sys.argv[1:] if not a.startswith("-")] or list(PAIRS))
    print(table(results))
    print(f"\n{sum(r.right for r in results)} of {len(results)} ranked rightly")
    for r in results if details else ():
        for verdict in (r.better, r.worse):
            print(f"\n{verdict.candidate.path}: {verdict.first_line}")
            print(json.dumps(verdict.estimate, indent=1))


if __name__ == "__main__":
    main()
