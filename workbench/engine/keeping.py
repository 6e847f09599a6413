"""How a verdict comes into a session: staged beside the one that was shown, logged, and only then put in its place.

An engine that dies, or a disk that refuses, at any moment leaves the verdict that the log tells of: the old one until
the event is on disk, the new one from then on (`Store.open` finishes what was staged).
"""

from __future__ import annotations

import hashlib

from workbench.core.candidate import CandidateId
from workbench.core.events import VerdictReached
from workbench.core.plan import Knob
from workbench.core.verdict import Verdict, encode_verdict
from workbench.engine.journal import Journal
from workbench.engine.summary import summarize


def keep_verdict(
    journal: Journal, candidate: CandidateId, verdict: Verdict, *, basis: str, knobs: tuple[Knob, ...] = ()
) -> None:
    """Put `verdict` on disk, log it and show it.

    Args:
        basis: of the task that it was judged under (`TaskInfo.basis`).
        knobs: what its plan offers.

    Raises:
        StoreError: the session cannot be written; the candidate's verdict is the one that it had.
    """
    data = encode_verdict(verdict)
    journal.store.stage_verdict(journal.state.candidates[candidate], data)
    journal.record(
        VerdictReached(
            candidate=candidate,
            summary=summarize(verdict, basis),
            verdict_sha256=hashlib.sha256(data).hexdigest(),
            knobs=knobs,
        )
    )
    journal.store.settle(journal.state.candidates[candidate])
