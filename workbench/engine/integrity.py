"""Whether a session's files are still those that its log tells of; what was changed by hand is never shown as judged."""

from __future__ import annotations

import hashlib

import msgspec

from workbench.core.candidate import CandidateView
from workbench.core.errors import SessionError
from workbench.core.verdict import decode_verdict


def unchanged(view: CandidateView, source: bytes) -> None:
    """Raises SessionError where `source` is not the text that was added as this candidate."""
    if view.sha256 and hashlib.sha256(source).hexdigest() != view.sha256:
        raise SessionError(
            f"candidates/{view.id}.cu was changed after it was added to the session.",
            do="Restore it, or add the changed text as a new candidate.",
        )


def told_of(view: CandidateView, verdict: bytes) -> None:
    """Raises SessionError where `verdict` (a file's bytes) is not the one that the log tells of.

    A log of a version that did not record a verdict's hash holds its summary alone, which is compared then.
    """
    if view.verdict_sha256:
        if hashlib.sha256(verdict).hexdigest() != view.verdict_sha256:
            raise _another(view)
        return
    try:
        found = decode_verdict(verdict)
    except msgspec.MsgspecError:
        return  # whoever asked for it says why it cannot be read
    summary = view.verdict
    same_text = not view.sha256 or not found.candidate.sha256 or found.candidate.sha256 == view.sha256
    same_word = summary is None or (found.outcome, found.failed_gate) == (
        summary.outcome,
        summary.failed_gate,
    )
    if not (same_text and same_word):
        raise _another(view)


def _another(view: CandidateView) -> SessionError:
    return SessionError(
        f"verdicts/{view.id}.json is not the verdict that the session's log tells of.",
        do="Verify the candidate again.",
    )
