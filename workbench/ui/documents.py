"""Files of a session that the panes show, read through the engine and kept: sources never change once frozen."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import msgspec

from workbench.core.candidate import CandidateId, VerdictSummary
from workbench.core.errors import SessionError
from workbench.core.messages import ReadSource, ReadVerdict
from workbench.core.verdict import Verdict, decode_verdict
from workbench.ui.link import Link

KEPT = 64
"""Files of each kind; more are read again, in a millisecond."""


class Documents:
    """Sources and verdicts by candidate."""

    def __init__(self) -> None:
        self.link: Link | None = None
        self._sources: OrderedDict[CandidateId, bytes] = OrderedDict()
        self._verdicts: OrderedDict[CandidateId, tuple[VerdictSummary, Verdict]] = OrderedDict()

    def source_at_hand(self, candidate: CandidateId) -> bytes | None:
        """The file where it was read before."""
        return self._sources.get(candidate)

    def verdict_at_hand(self, candidate: CandidateId, summary: VerdictSummary | None) -> Verdict | None:
        """The verdict where it was read before and `summary` is still its summary."""
        kept = self._verdicts.get(candidate)
        return kept[1] if kept is not None and kept[0] == summary else None

    async def source(self, candidate: CandidateId) -> bytes:
        """The candidate's file.

        Raises:
            SessionError: the engine is gone or cannot read it.
        """
        kept = self._sources.get(candidate)
        if kept is None:
            kept = await self._read(ReadSource(candidate=candidate))
            _keep(self._sources, candidate, kept)
        return kept

    async def verdict(self, candidate: CandidateId, summary: VerdictSummary) -> Verdict:
        """The whole verdict behind `summary`.

        Raises:
            SessionError: the engine is gone, cannot read it, or it is from another version.
        """
        kept = self.verdict_at_hand(candidate, summary)
        if kept is None:
            data = await self._read(ReadVerdict(candidate=candidate))
            try:
                kept = decode_verdict(data)
            except msgspec.DecodeError as error:
                raise SessionError(
                    f"The verdict of {candidate} cannot be read: {error}.", do="Press v to verify it again."
                ) from None
            _keep(self._verdicts, candidate, (summary, kept))
        return kept

    async def _read(self, message: ReadSource | ReadVerdict) -> bytes:
        if self.link is None:
            raise SessionError("The engine is not there.", do="Press r once it can be started.")
        answer = await self.link.request(message)
        if not answer.ok:
            raise SessionError(answer.message)
        return answer.data


def _keep(store: OrderedDict[CandidateId, Any], candidate: CandidateId, value: object) -> None:
    store[candidate] = value
    store.move_to_end(candidate)
    while len(store) > KEPT:
        store.popitem(last=False)
