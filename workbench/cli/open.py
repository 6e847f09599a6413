"""`workbench [TASK] [CANDIDATE.cu ...]`: open the workbench on a task, in a terminal.

The engine is started before the screen's toolkit is imported, so that both come up at the same time.
"""

from __future__ import annotations

import difflib
import os
import sys
from pathlib import Path

import click

from workbench.core.config import MAX_JUDGES, load_config
from workbench.core.errors import UsageError
from workbench.core.locate import LocatedTask, is_session, locate_session, locate_task, recent_sessions
from workbench.engine import client


class Engines:
    """Starts engines for the screen, with the options of the command line."""

    def __init__(
        self,
        *,
        new: bool = False,
        target: str | None = None,
        arch: str | None = None,
        judges: int | None = None,
    ) -> None:
        self._new, self._target, self._arch, self._judges = new, target, arch, judges

    def open(self, task: str) -> client.EngineStart:
        """The engine of the task's last session, or of a new one; does not wait."""
        return client.start(task, new=self._new, target=self._target, arch=self._arch, judges=self._judges)

    def reopen(self, session: str) -> client.EngineStart:
        """The engine of the session in this folder; does not wait."""
        return client.start_session(session, judges=self._judges)


@click.command(
    "open",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: workbench tasks/rmsnorm.py",
)
@click.argument("task", required=False)
@click.argument("candidates", nargs=-1, metavar="[CANDIDATE.cu ...]")
@click.option("--new", is_flag=True, help="Start a new session instead of resuming the task's last one.")
@click.option("--target", type=click.Choice(["host", "cuda"]), help="Where candidates are judged.")
@click.option(
    "--arch", metavar="ARCH", help="What to compile for, such as sm_90a (default: the device's, else sm_90a)."
)
@click.option(
    "--judges",
    type=click.IntRange(1, MAX_JUDGES),
    metavar="N",
    help="How many judges work side by side (default: 1, or one for each GPU of CUDA_VISIBLE_DEVICES).",
)
@click.option("--theme", metavar="NAME", help="dark, light, or a theme of Textual such as nord.")
def command(
    task: str | None,
    candidates: tuple[str, ...],
    new: bool,
    target: str | None,
    arch: str | None,
    judges: int | None,
    theme: str | None,
) -> None:
    """Open the workbench on TASK: a Python file, a folder, pkg.module:Class, or a shipped task's name.

    The task's last session is resumed. Without TASK, pick one from a list. CANDIDATE.cu files are judged at once and
    again whenever they are saved. TASK may also be a session: its folder, or the beginning of its name.
    """
    session = _session(task)
    if task and session is None:
        _no_command(task)
    located = locate_task(task) if task and session is None else None
    files = [_candidate(name) for name in candidates]
    _needs_terminal(task)
    screen = load_config(task=located.path if located is not None else None).screen
    engines = Engines(new=new, target=target, arch=arch, judges=judges)
    if session is not None:
        opening: client.EngineStart | None = engines.reopen(str(session))
        located = LocatedTask(str(session), session.name)
    else:
        opening = engines.open(located.path) if located is not None else None
    # Only now: importing the toolkit takes 0.3 s, in which the engine starts.
    from workbench.ui.app import WorkbenchApp

    app = WorkbenchApp(
        engines,
        task=located,
        opening=opening,
        candidates=files,
        theme=theme or screen.theme,
        editor=screen.editor,
    )
    app.run()
    if app.unopened is not None:
        raise app.unopened  # the screen is gone, and with it the sentence on it
    if app.return_code:
        sys.exit(app.return_code)


def _session(text: str | None) -> Path | None:
    """The session that `text` names; a task of that name goes first."""
    if not text:
        return None
    if is_session(Path(text)):
        return Path(text).resolve()
    try:
        locate_task(text)
    except UsageError:
        if os.sep in text or text.endswith((".py", ".cu")):
            return None
        if any(session.name.startswith(text) for session in recent_sessions()):
            return locate_session(text)  # or its sentence on which of them fit
    return None


def _no_command(task: str) -> None:
    """Say which command was meant by a word that is nearly one and no task."""
    from workbench.cli import COMMANDS

    meant = difflib.get_close_matches(task, COMMANDS, n=1, cutoff=0.75)
    if meant and not Path(task).exists():
        raise UsageError(f"There is no command and no task {task}.", do=f"Did you mean workbench {meant[0]}?")


def _candidate(name: str) -> str:
    path = Path(name).expanduser()
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError:
        raise UsageError(f"The path of {name} has bytes that are not UTF-8.", do="Rename the file.") from None
    if not path.exists():
        raise UsageError(f"There is no candidate {name}.", do="Give a .cu file.")
    if path.is_dir():
        raise UsageError(f"{name} is a folder.", do="Give a .cu file.")
    if not os.access(path, os.R_OK):
        raise UsageError(f"The candidate {name} cannot be read.", do="Check the file's permissions.")
    return str(path.absolute())


def _needs_terminal(task: str | None) -> None:
    if all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):  # Textual draws on stderr
        return
    raise UsageError(
        "The workbench needs a terminal, and this is none.",
        do=f"For a verdict without one: workbench verify {task or 'TASK'} CANDIDATE.cu.",
    )
