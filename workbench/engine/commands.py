"""What a screen may ask of a session, carried out; a refusal is a WorkbenchError whose sentence is the answer."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

from workbench.core.candidate import CandidateId, CandidateView
from workbench.core.config import Config
from workbench.core.errors import SessionError, UsageError
from workbench.core.events import CandidateMarked, ProposalsMade
from workbench.core.messages import (
    Answer,
    Attach,
    CancelCandidate,
    MarkCandidate,
    ReadSource,
    ReadVerdict,
    StopEngine,
    SubmitCandidate,
    ToEngine,
    TuneCandidate,
    VerifyAgain,
)
from workbench.core.plan import limits_for
from workbench.engine.bench import Bench
from workbench.engine.integrity import told_of, unchanged
from workbench.engine.journal import Journal
from workbench.engine.population import Added, NewCandidate, Population
from workbench.evolve.proposer import Proposer, Round
from workbench.evolve.sweep import Sweep
from workbench.profile.device import default_arch


class Commands:
    """Carries out requests on one session."""

    def __init__(
        self, journal: Journal, population: Population, bench: Bench, config: Config, arch: str | None
    ) -> None:
        self._journal = journal
        self._population = population
        self._bench = bench
        self._config = config
        self._arch = arch

    async def carry_out(self, message: ToEngine, author: str) -> Answer:
        """The answer to `message` of `author`; raises WorkbenchError to refuse it."""
        match message:
            case MarkCandidate():
                return self._mark(message, author)
            case ReadSource():
                data = self._source(self._known(message.candidate))
                return Answer(request=message.request, ok=True, candidate=message.candidate, data=data)
            case ReadVerdict():
                view = self._known(message.candidate)
                data = self._journal.store.read_verdict(view)
                told_of(view, data)
                return Answer(request=message.request, ok=True, candidate=message.candidate, data=data)
            case SubmitCandidate():
                return await self._submit(message, author)
            case VerifyAgain():
                return self._verify(message, author)
            case CancelCandidate():
                self._known(message.candidate)
                self._bench.cancel(message.candidate, message.reason, author)
                return Answer(request=message.request, ok=True, candidate=message.candidate)
            case TuneCandidate():
                return await self._tune(message)
            case Attach() | StopEngine():
                raise SessionError("The server answers this itself.")

    async def take_round(self, proposer: Proposer, *, quiet: bool = False) -> int:
        """Ask `proposer` for a round and add what is new; how many that were.

        With `quiet` a round that brings nothing new leaves no event.
        """
        task = self._journal.state.task
        if task is None:
            raise SessionError("The task is not loaded yet.", do="Wait a moment.")
        found: Round = await asyncio.to_thread(proposer.propose, task)
        new = [
            NewCandidate(
                source=p.source,
                name=p.name,
                provenance=found.provenance,
                parents=p.parents,
                knobs=p.knobs,
                note=p.note,
            )
            for p in found.proposals
        ]
        added = await self._population.add_all(new, skip_duplicates=True)
        if added or not quiet:
            known = len(new) - len(added)
            summary = found.summary + (f" {known} of them were here already." if known else "")
            ids = tuple(one.candidate for one in added)
            self._journal.record(ProposalsMade(proposer=found.provenance, summary=summary, added=ids))
        self._bench.wake()
        return len(added)

    async def file_saved(self, path: str) -> None:
        """A candidate's own file was saved: a child of its former version, or that version verified again."""
        try:
            added = await self._population.add_file(path, name=Path(path).name, provenance="human")
        except UsageError:
            return  # gone again, or a folder now: nothing that could be judged
        self._ask(added)

    def _ask(self, added: Added, author: str = "") -> None:
        """A person waits for this one."""
        view = self._population.original(added.candidate)
        if view.id == added.candidate or view.verdict is None:
            self._bench.docket.urgent.add(view.id)
            self._population.queue(view.id, author=author)
        self._bench.wake()

    def _mark(self, message: MarkCandidate, author: str) -> Answer:
        self._known(message.candidate)
        self._journal.record(
            CandidateMarked(candidate=message.candidate, mark=message.mark, reason=message.reason),
            author=author,
        )
        kept = f"Kept as {self._journal.store.candidate_path(message.candidate)}."
        return Answer(
            request=message.request,
            ok=True,
            candidate=message.candidate,
            message=kept if message.mark == "accepted" else "",
        )

    async def _submit(self, message: SubmitCandidate, author: str) -> Answer:
        if message.origin_path and not message.source:
            added = await self._population.add_file(
                message.origin_path,
                name=message.name,
                provenance=message.provenance,
                author=author,
                note=message.note,
            )
        else:
            new = NewCandidate(
                source=message.source,
                name=message.name,
                provenance=message.provenance,
                parents=message.parents,
                origin_path=message.origin_path,
                note=message.note,
            )
            added = await self._population.add(new, author=author)
        if added.known:
            words = f"{message.name} is here already, as {added.candidate}."
        elif added.duplicate_of is not None:
            words = f"{added.candidate} says the same as {added.duplicate_of}, so it is not judged again."
        else:
            words = ""
        if not added.known:
            view = self._population.original(added.candidate)
            if view.state == "cancelled":  # the one that it duplicates was never judged
                self._population.queue(view.id, author=author)
        self._bench.wake()
        self._bench.on_task()
        return Answer(request=message.request, ok=True, candidate=added.candidate, message=words)

    def _verify(self, message: VerifyAgain, author: str) -> Answer:
        view = self._population.original(message.candidate)
        if view.state == "judging":
            raise SessionError(f"{view.id} is being judged now.", do="Wait for its verdict.")
        self._bench.docket.urgent.add(view.id)
        self._population.queue(view.id, author=author)
        self._bench.wake()
        words = f"{view.id} says the same and is verified." if view.id != message.candidate else ""
        return Answer(request=message.request, ok=True, candidate=view.id, message=words)

    async def _tune(self, message: TuneCandidate) -> Answer:
        view = self._known(message.candidate)
        knobs = self._journal.state.knobs.get(view.id)
        if knobs is None:
            raise SessionError(f"The knobs of {view.id} are not known yet.", do="Wait for its verdict.")
        arch = self._arch if self._arch is not None else await asyncio.to_thread(default_arch)
        sweep = Sweep(
            view.id,
            self._source(view),
            knobs,
            name=view.name,
            seed=secrets.randbits(32),
            limits=limits_for(arch),
            limit=self._config.sweep.limit,
        )
        added = await self.take_round(sweep)
        proposals = self._journal.state.last_proposals
        words = proposals.summary if proposals is not None else f"{added} added."
        return Answer(request=message.request, ok=True, candidate=view.id, message=words)

    def _source(self, view: CandidateView) -> bytes:
        data = self._journal.store.read_candidate(view.id)
        unchanged(view, data)
        return data

    def _known(self, candidate: CandidateId) -> CandidateView:
        view = self._journal.state.candidates.get(candidate)
        if view is None:
            raise SessionError(
                f"There is no candidate {candidate} in this session.", do="Choose one of the list."
            )
        return view
