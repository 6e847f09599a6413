"""Which task or session a command line means: found by name and path only, nothing is executed or imported.

A task is a Python file, a folder, `pkg.module:Class`, or the bare name of a task that workbench ships. A folder
with `events.jsonl` is a session; any other folder is a task (docs/design.md, section 7).
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

import workbench
from workbench.core.config import load_config
from workbench.core.errors import UsageError

EVENT_LOG = "events.jsonl"


class LocatedTask(msgspec.Struct, frozen=True):
    """A task that exists by name; whether it loads, only the judge can tell."""

    path: str
    """What `LoadTask.path` takes: an absolute .py file or folder, or "pkg.module:Class"."""
    name: str
    """Short, for people and session folders: "rmsnorm"."""
    shipped: bool = False


def shipped_folder() -> Path:
    """Where the shipped tasks stand: in the package (a wheel) or at the repository's root (a checkout)."""
    package = Path(workbench.__file__).resolve().parent
    packed = package / "shipped_tasks"
    return packed if packed.is_dir() else package.parent / "tasks"


def shipped_tasks() -> tuple[LocatedTask, ...]:
    """The tasks that come with workbench, by name."""
    return _tasks_in(shipped_folder(), shipped=True)


def local_tasks(folder: Path | None = None) -> tuple[LocatedTask, ...]:
    """The tasks in `./tasks`, without those that are the shipped ones themselves (a checkout's root)."""
    tasks = (folder or Path.cwd()) / "tasks"
    try:
        if tasks.resolve() == shipped_folder().resolve():
            return ()
    except OSError:
        return ()
    return _tasks_in(tasks, shipped=False)


def locate_task(text: str, *, folder: Path | None = None) -> LocatedTask:
    """The task that `text` names.

    Args:
        text: a path to a .py file or folder, "pkg.module:Class", or a shipped task's name.
        folder: what relative paths start from; None is the current folder.

    Raises:
        UsageError: there is no such task, it cannot be read, or it is something else (a candidate, a session).
    """
    where = folder or Path.cwd()
    if not text.strip() or "\0" in text:
        raise UsageError(
            "No task is named.", do="Give a path such as tasks/rmsnorm.py, or a shipped task's name."
        )
    if not _is_utf8(f"{where}{text}"):
        raise UsageError("The task's path has bytes that are not UTF-8.", do="Rename the file or its folder.")
    path = where / Path(text).expanduser()
    bare = os.sep not in text and not text.endswith(".py")
    if bare and not path.is_dir():
        for task in shipped_tasks():
            if task.name == text:
                return task
    if not path.exists() and ":" in text:
        return _class_in_module(text)
    return _file_or_folder(text, path)


def sessions_folder(folder: Path | None = None, *, task: str | None = None) -> Path:
    """Where sessions are kept: `WORKBENCH_SESSIONS`, else what a workbench.toml says, else `./sessions`.

    Raises:
        UsageError: a workbench.toml is wrong.
    """
    chosen = (
        os.environ.get("WORKBENCH_SESSIONS") or load_config(task=task, folder=folder).sessions or "sessions"
    )
    return (folder or Path.cwd()) / Path(chosen).expanduser()


def is_session(path: Path) -> bool:
    """A folder with an event log is a session."""
    return (path / EVENT_LOG).is_file()


def recent_sessions(folder: Path | None = None, *, limit: int | None = None) -> list[Path]:
    """Session folders, the most recently written first."""
    home = sessions_folder(folder)
    found: list[tuple[float, Path]] = []
    try:
        entries = list(home.iterdir())
    except OSError:
        return []
    for entry in entries:
        try:
            found.append(((entry / EVENT_LOG).stat().st_mtime, entry))
        except OSError:
            continue
    found.sort(key=lambda item: (-item[0], item[1].name))
    return [path for _, path in found[:limit]]


def locate_session(text: str, *, folder: Path | None = None) -> Path:
    """The session folder that `text` names, by path or by a unique prefix of its name.

    Raises:
        UsageError: none fits, or several do (they are listed).
    """
    where = folder or Path.cwd()
    direct = where / Path(text).expanduser()
    if text and is_session(direct):
        return direct.resolve()
    sessions = recent_sessions(folder)
    exact = [s for s in sessions if s.name == text]
    fitting = exact or [s for s in sessions if text and s.name.startswith(text)]
    if len(fitting) == 1:
        return fitting[0].resolve()
    if fitting:
        raise UsageError(
            f"{text} names {len(fitting)} sessions: {_listed(s.name for s in fitting)}.",
            do="Give more of the name.",
        )
    raise UsageError(
        f"There is no session {text} in {sessions_folder(folder)}.", do="See `workbench list` for the names."
    )


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _tasks_in(folder: Path, *, shipped: bool) -> tuple[LocatedTask, ...]:
    try:
        files = sorted(p for p in folder.iterdir() if p.suffix == ".py" and not p.name.startswith((".", "_")))
    except OSError:
        return ()
    found = [p for p in files if p.is_file() and _is_utf8(str(p.resolve()))]
    return tuple(LocatedTask(str(p.resolve()), p.stem, shipped) for p in found)


def _class_in_module(text: str) -> LocatedTask:
    module, _, name = text.partition(":")
    if module.endswith(".py"):
        raise UsageError(
            f"{text} mixes a file and a class.",
            do=f"Name the file alone, or the class by its module: pkg.module:{name}.",
        )
    if not all(part.isidentifier() for part in [*module.split("."), *name.split(".")]):
        raise UsageError(
            f"{text} is not a task.", do="A class is named by its module, as in pkg.module:Class."
        )
    return LocatedTask(text, name.rpartition(".")[2])


def _file_or_folder(text: str, path: Path) -> LocatedTask:
    if path.is_dir():
        if is_session(path):
            raise UsageError(f"{text} is a session, not a task.", do="Name the task that it is about.")
        if not os.access(path, os.R_OK | os.X_OK):
            raise UsageError(f"The task folder {text} cannot be read.", do="Check its permissions.")
        return LocatedTask(str(path.resolve()), path.resolve().name)
    if path.suffix in (".cu", ".cuh"):
        raise UsageError(
            f"{text} is a candidate, not a task.", do=f"Name the task first: workbench TASK {text}."
        )
    if not path.exists():
        raise UsageError(f"There is no task {text}.", do=_suggestion(text, path))
    if path.suffix != ".py":
        raise UsageError(
            f"{text} is not a task.", do="A task is a Python file, a folder or pkg.module:Class."
        )
    if not os.access(path, os.R_OK):
        raise UsageError(f"The task {text} cannot be read.", do="Check the file's permissions.")
    return LocatedTask(str(path.resolve()), path.stem)


def _suggestion(text: str, path: Path) -> str:
    shipped = {task.name for task in shipped_tasks()}
    stem = Path(text).stem
    if path.with_suffix(".py").is_file():
        return f"Did you mean {text}.py?"
    if stem in shipped:
        return f"A task of that name is shipped: workbench {stem}."
    close = difflib.get_close_matches(stem, sorted(shipped), n=1)
    near = f"Did you mean {close[0]}? " if close else ""
    return f"{near}Shipped tasks: {_listed(sorted(shipped))}." if shipped else "Check the path."


def _listed(names: Iterable[str]) -> str:
    shown = list(names)
    return ", ".join(shown[:12]) + (f" and {len(shown) - 12} more" if len(shown) > 12 else "")
