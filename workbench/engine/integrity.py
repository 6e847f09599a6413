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
    """Raises SessionError where `verdict` (a file that decodes) is not the one whose summary the log has."""
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
        raise SessionError(
            f"verdicts/{view.id}.json is not the verdict that the session's log tells of.",
            do="Verify the candidate again.",
        )
