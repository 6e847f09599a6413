"""The files that a command line names: candidates, pairs, a model's answers, a session's accepted kernels."""

from __future__ import annotations

from pathlib import Path

import msgspec

from workbench.core.errors import UsageError
from workbench.core.locate import EVENT_LOG, LocatedTask, locate_session, locate_task
from workbench.dialect.source import from_file
from workbench.judge.client import MAX_SOURCE_BYTES


class CandidateFile(msgspec.Struct, frozen=True):
    """A file named on the command line, read and joined, whatever is in it."""

    path: str
    source: bytes


def accepted_in(session: str) -> tuple[LocatedTask, list[CandidateFile]]:
    """The task of a session and its accepted candidates.

    Raises:
        UsageError: `session` names none, or nothing in it was accepted.
        SessionError: its log cannot be read, or a kernel is not the text that was accepted.
    """
    from workbench.core.session import fold
    from workbench.engine.integrity import unchanged
    from workbench.engine.log import read_log

    try:
        folder = locate_session(session)
    except UsageError:
        locate_task(session)  # a better sentence where it is no task either
        raise UsageError("No candidate is named.", do="Give at least one .cu file after the task.") from None
    state = fold(read_log(folder / EVENT_LOG).events)
    accepted = [view for view in state.candidates.values() if view.mark == "accepted"]
    if state.started is None or not accepted:
        raise UsageError(f"Nothing is accepted in {session}.", do="Accept a candidate on the screen first.")
    files = [read_candidate(folder / "candidates" / f"{view.id}.cu") for view in accepted]
    for view, file in zip(accepted, files, strict=True):
        unchanged(view, file.source)
    return locate_task(state.started.task_path), files


def read_candidate(path: Path) -> CandidateFile:
    """The bytes of a candidate: a .cu file, one joined with the .plan.py beside it, or a model's answer (.md).

    Raises:
        UsageError: it is missing, no file, unreadable, or too large to be a candidate.
    """
    text = _read(path)

    def beside() -> bytes | None:
        plan = path.with_suffix(".plan.py")
        return _read(plan) if plan.is_file() else None

    return CandidateFile(str(path), from_file(str(path), text, beside))


def _read(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            kind = "a folder" if path.is_dir() else "not a file"
            raise UsageError(f"{path} is {kind}.", do="Name a .cu file.")
        with path.open("rb") as file:
            source = file.read(MAX_SOURCE_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(f"There is no file {path}.", do="Check the path.") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{path} cannot be read: {why}.", do="Check its name and permissions.") from None
    if len(source) > MAX_SOURCE_BYTES:
        raise UsageError(f"{path} is over {MAX_SOURCE_BYTES >> 20} MiB.", do="A candidate is at most 4 MiB.")
    return source
