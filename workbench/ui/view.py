"""The frozen picture of a session that one redraw shows.

Events are folded as they come, by the same `core` code as in the engine; a picture is taken at most twenty times a
second and handed to all widgets at once, so that what stands on the screen always belongs to one moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import msgspec

from workbench.core.candidate import CandidateId, CandidateView
from workbench.core.messages import EngineProgress
from workbench.core.session import SessionState
from workbench.core.task import FunctionalForm, TaskInfo

Link = Literal["connecting", "live", "lost"]

_EMPTY: Mapping[CandidateId, CandidateView] = MappingProxyType({})


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A session at a moment, and what changed since the picture before."""

    task_name: str
    target: str = "host"
    arch: str = ""
    revision: int = 0
    task: TaskInfo | None = None
    module_text: str = ""
    """The task file's text as the screen read it, until the judge has loaded the task."""
    task_error: str | None = None
    functional: FunctionalForm | None = None
    candidates: Mapping[CandidateId, CandidateView] = _EMPTY
    """In the order in which they were added."""
    with_knobs: frozenset[CandidateId] = frozenset()
    """Candidates whose plans offer knobs to sweep."""
    changed: frozenset[CandidateId] = frozenset()
    """Candidates that differ from the picture before."""
    progress: EngineProgress = EngineProgress()
    link: Link = "connecting"
    link_reason: str = ""
    """Why the link was lost."""
    session: str = ""
    """The session's folder, absolute; "" until attached."""

    @property
    def judge_trouble(self) -> str:
        """Why the judge does not run; "" while it runs or starts in the ordinary way."""
        return self.progress.activity if self.progress.judge in ("restarting", "stopped") else ""

    @property
    def held_up(self) -> str:
        """Why what was reached cannot be kept, such as a full disk; "" in the ordinary way.

        While candidates are judged, the engine's activity names them; any other sentence is what the first waits for.
        """
        judging, activity = self.progress.judging, self.progress.activity
        return activity if judging and not activity.startswith(f"judging {judging[0].candidate}") else ""

    @property
    def busy(self) -> bool:
        """The engine or its judge is at work."""
        return self.link == "connecting" or bool(self.progress.activity or self.progress.judging)

    @property
    def counts(self) -> dict[str, int]:
        """How many candidates are in each state."""
        found: dict[str, int] = {}
        for candidate in self.candidates.values():
            found[candidate.state] = found.get(candidate.state, 0) + 1
        return found


def take_picture(
    state: SessionState,
    progress: EngineProgress,
    *,
    task_name: str,
    link: Link,
    link_reason: str = "",
    module_text: str = "",
    session: str = "",
    changed: frozenset[CandidateId] = frozenset(),
) -> View:
    """Freeze `state`: its values are frozen already, so only the containers are copied."""
    started = state.started
    return View(
        task_name=state.task.name if state.task else (started.task_name if started else task_name),
        target=started.target if started else "",
        arch=started.arch if started else "",
        revision=state.revision,
        task=state.task,
        module_text=module_text,
        task_error=state.task_error,
        functional=state.functional,
        candidates=MappingProxyType(dict(state.candidates)),
        with_knobs=frozenset(c for c, knobs in state.knobs.items() if knobs),
        changed=changed,
        progress=progress,
        link=link,
        link_reason=link_reason,
        session=session,
    )
