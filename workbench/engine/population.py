"""How candidates come into a session: ids, duplicates, and the files outside that they were read from."""

from __future__ import annotations

import asyncio
import hashlib
import re

import msgspec

from workbench.core.candidate import CandidateId, CandidateView, Provenance
from workbench.core.errors import SessionError
from workbench.core.events import CandidateAdded, CandidateQueued
from workbench.engine.journal import Journal
from workbench.engine.origins import read_candidate_file

_ID = re.compile(r"c(\d+)\Z")


class NewCandidate(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate before it has an id."""

    source: bytes
    name: str
    provenance: Provenance
    parents: tuple[CandidateId, ...] = ()
    knobs: dict[str, int | float | bool | str] = {}
    origin_path: str | None = None
    note: str = ""


class Added(msgspec.Struct, frozen=True):
    """Where a candidate ended up."""

    candidate: CandidateId
    duplicate_of: CandidateId | None = None
    known: bool = False
    """It was in the session before, from the same file; nothing was added."""


class Population:
    """Adds candidates to a session. Two with the same tokens are duplicates, whatever their layout."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._first: dict[str, CandidateId] = {}
        self._tokens: dict[CandidateId, str] = {}
        self._number = 0
        self._ready = asyncio.Event()
        self._reading = asyncio.Lock()

    async def load(self) -> None:
        """Hash the candidates that the session has already; nothing is added before that is done."""
        for candidate in list(self._journal.state.candidates):
            if found := _ID.match(candidate):
                self._number = max(self._number, int(found[1]))
            try:
                source = self._journal.store.read_candidate(candidate)
            except SessionError:
                continue  # removed by hand: it stays in the picture and can no longer be judged
            self._remember(candidate, await _tokens(source))
        self._ready.set()

    async def add(self, new: NewCandidate, *, author: str = "") -> Added:
        """Add one candidate; a duplicate is added as such, and never judged.

        Raises:
            SessionError: a parent is unknown.
            StoreError: the session's folder cannot be written; nothing was added.
        """
        return (await self.add_all([new], author=author))[0]

    async def add_all(
        self, new: list[NewCandidate], *, author: str = "", skip_duplicates: bool = False
    ) -> list[Added]:
        """Add several at once; with `skip_duplicates` those that are here already are passed over."""
        await self._ready.wait()
        hashed = [(await _tokens(one.source), one) for one in new]
        added: list[Added] = []
        events: list[CandidateAdded] = []
        remembered: list[tuple[CandidateId, str]] = []
        firsts = dict(self._first)
        for tokens, one in hashed:
            self._check_parents(one)
            duplicate = firsts.get(tokens)
            if duplicate is not None and skip_duplicates:
                continue
            candidate = f"c{self._number + len(events) + 1:04d}"
            firsts.setdefault(tokens, candidate)
            self._journal.store.write_candidate(candidate, one.source)
            events.append(self._event(candidate, one, duplicate))
            remembered.append((candidate, tokens))
            added.append(Added(candidate, duplicate))
        self._journal.record(*events, author=author)
        self._number += len(events)
        for candidate, tokens in remembered:
            self._remember(candidate, tokens)
        return added

    async def add_file(
        self, path: str, *, name: str, provenance: Provenance, author: str = "", note: str = ""
    ) -> Added:
        """Add the candidate in the file at `path`, as a child of its former version where there is one.

        A file with the tokens of a version that is here already adds nothing: that version is the answer (`known`).

        Raises:
            UsageError: the file cannot be read.
        """
        await self._ready.wait()
        async with self._reading:  # a save seen twice must not become two candidates
            source = await asyncio.to_thread(read_candidate_file, path)
            tokens = await _tokens(source)
            versions = self.versions(path)
            same = [view for view in versions if self._tokens.get(view.id) == tokens]
            if same:
                return Added(same[-1].id, same[-1].duplicate_of, known=True)
            former = versions[-1] if versions else None
            new = NewCandidate(
                source=source,
                name=name,
                provenance=provenance,
                parents=(former.id,) if former else (),
                origin_path=path,
                note=note,
            )
            return await self.add(new, author=author)

    def versions(self, path: str) -> list[CandidateView]:
        """The candidates that were read from the file at `path`, oldest first."""
        return [view for view in self._journal.state.candidates.values() if view.origin_path == path]

    def origins(self) -> list[str]:
        """Every file outside the session that a candidate was read from, the one with the newest version last."""
        paths = [v.origin_path for v in self._journal.state.candidates.values() if v.origin_path]
        return list(dict.fromkeys(reversed(paths)))[::-1]

    def original(self, candidate: CandidateId) -> CandidateView:
        """The candidate itself, or the one that it duplicates; raises SessionError for an unknown id."""
        view = self._journal.state.candidates.get(candidate)
        if view is None:
            raise SessionError(
                f"There is no candidate {candidate} in this session.", do="Choose one of the list."
            )
        if view.duplicate_of is not None and view.duplicate_of in self._journal.state.candidates:
            return self._journal.state.candidates[view.duplicate_of]
        return view

    def queue(self, candidate: CandidateId, *, author: str = "") -> None:
        """Have `candidate` judged (again); nothing happens where it waits already."""
        if self._journal.state.candidates[candidate].state not in ("queued", "judging"):
            self._journal.record(CandidateQueued(candidate=candidate), author=author)

    def _event(
        self, candidate: CandidateId, new: NewCandidate, duplicate: CandidateId | None
    ) -> CandidateAdded:
        return CandidateAdded(
            candidate=candidate,
            name=new.name[:200] or candidate,
            sha256=hashlib.sha256(new.source).hexdigest(),
            provenance=new.provenance,
            parents=new.parents,
            revision=max(1, self._journal.state.revision),
            knobs=new.knobs,
            origin_path=new.origin_path,
            note=new.note,
            duplicate_of=duplicate,
        )

    def _check_parents(self, new: NewCandidate) -> None:
        for parent in new.parents:
            if parent not in self._journal.state.candidates:
                raise SessionError(
                    f"The parent {parent} is no candidate of this session.", do="Name one that is."
                )

    def _remember(self, candidate: CandidateId, tokens: str) -> None:
        self._tokens[candidate] = tokens
        self._first.setdefault(tokens, candidate)


async def _tokens(source: bytes) -> str:
    from workbench.dialect.source import MAX_BYTES, token_hash

    if len(source) > MAX_BYTES:
        return hashlib.sha256(source).hexdigest()  # `parse` refuses it whatever its tokens are
    return await asyncio.to_thread(token_hash, source)
