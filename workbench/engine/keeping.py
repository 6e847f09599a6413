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
from workbench.engine.store import StoreError
from workbench.engine.summary import summarize


def keep_verdict(
    journal: Journal,
    candidate: CandidateId,
    verdict: Verdict,
    *,
    basis: str,
    knobs: tuple[Knob, ...] = (),
    sass: str = "",
) -> None:
    """Put `verdict` on disk, log it and show it.

    Args:
        basis: of the task that it was judged under (`TaskInfo.basis`).
        knobs: what its plan offers.
        sass: the machine code that its audit read, which is left out where it cannot be written; "" takes an
            earlier judging's away.

    Raises:
        StoreError: the session cannot be written; the candidate's verdict is the one that it had.
    """
    view = journal.state.candidates[candidate]
    data, listing = encode_verdict(verdict), sass.encode()
    if listing:
        try:
            journal.store.stage_sass(view, listing)
        except StoreError:  # it can be made again; the verdict is what has to be kept
            listing = b""
    journal.store.stage_verdict(view, data)
    journal.record(
        VerdictReached(
            candidate=candidate,
            summary=summarize(verdict, basis),
            verdict_sha256=hashlib.sha256(data).hexdigest(),
            sass_sha256=hashlib.sha256(listing).hexdigest() if listing else "",
            knobs=knobs,
        )
    )
    journal.store.settle(journal.state.candidates[candidate])
