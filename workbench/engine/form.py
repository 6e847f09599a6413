"""Has a judge that has nothing to do find the task's functional form, as long as nobody needs that judge."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from workbench.core.errors import JudgeError
from workbench.core.events import FunctionalFormFound
from workbench.core.task import FunctionalForm
from workbench.engine.docket import Docket, Say
from workbench.engine.journal import Journal
from workbench.judge.client import FORM_LIMIT_S, FormLimitError, JudgeClient

PATIENCE_S = 5.0
"""A task saved, or a candidate that waits, while the form is looked for: how long that may go on."""
TRIES = 2


class FormFinder:
    """Looks for the functional form of a session's task, in one judge at a time."""

    def __init__(self, journal: Journal, docket: Docket) -> None:
        self._journal = journal
        self._docket = docket
        self._tries: dict[str, int] = {}
        """By the task's basis, how often its form was looked for."""
        self._looking = False

    @property
    def wanted(self) -> bool:
        """It is not known, nobody looks for it, and it was not given up."""
        state = self._journal.state
        unknown = state.task is not None and state.functional is None and not self._looking
        return unknown and self._tries.get(state.basis or "", 0) < TRIES

    async def find(
        self, client: JudgeClient, needed: Callable[[], bool], news: asyncio.Event, say: Say
    ) -> None:
        """Look for it; where `needed` becomes true (`news` says when to look) it may be found soon, else the judge ends.

        Raises:
            JudgeError: the judge died of it; it is not looked for again.
        """
        state = self._journal.state
        basis, revision = state.basis or "", state.revision
        self._tries[basis] = self._tries.get(basis, 0) + 1
        self._looking = True
        finding = asyncio.ensure_future(client.functional_form(limit_s=FORM_LIMIT_S))
        try:
            form = await _unless_needed(client, finding, needed, news)
        except FormLimitError as error:
            form = FunctionalForm(None, False, error.what)
        except JudgeError:
            self._tries[basis] = TRIES  # whatever it died of, that is not worth a second judge
            raise
        finally:
            finding.cancel()
            self._looking = False
        if form is None:  # ended for something else; looked for again when there is nothing to do
            if self._tries[basis] < TRIES:
                return
            words = f"torch.export took over {PATIENCE_S:.0f} s each time while a candidate waited."
            form = FunctionalForm(None, False, words)
        await self._docket.record(say, FunctionalFormFound(revision=revision, form=form))


async def _unless_needed(
    client: JudgeClient,
    finding: asyncio.Future[FunctionalForm],
    needed: Callable[[], bool],
    news: asyncio.Event,
) -> FunctionalForm | None:
    """Await `finding`; None where the judge was needed for too long and was ended."""
    while not finding.done():
        if needed():
            await asyncio.wait({finding}, timeout=PATIENCE_S)
            if finding.done() or needed():
                break  # else another judge has taken what waited
        waking = asyncio.ensure_future(news.wait())
        either: set[asyncio.Future[Any]] = {finding, waking}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        waking.cancel()
        news.clear()
    if finding.done():
        return finding.result()
    await client.close()
    with contextlib.suppress(JudgeError):
        await finding
    return None
