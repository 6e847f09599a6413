"""Which editor a person uses, and running it while the screen gives the terminal away."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
from pathlib import Path

from textual.app import App

from workbench.core.candidate import CandidateId
from workbench.core.errors import SessionError


def editor_command(setting: str | None = None) -> list[str] | None:
    """The words of `setting` (screen.editor), $VISUAL or $EDITOR; None where none names a program that is there."""
    for text in (setting, os.environ.get("VISUAL"), os.environ.get("EDITOR")):
        try:
            command = shlex.split(text or "")
        except ValueError:
            continue
        if command and shutil.which(command[0]):
            return command
    return None


def working_file(session: str, candidate: CandidateId, source: bytes) -> Path:
    """A copy to edit, `<session>/work/<id>.cu`; one that was edited before is kept, as it is a person's work.

    Raises:
        SessionError: it cannot be written.
    """
    folder = Path(session) / "work"
    path = folder / f"{candidate}.cu"
    try:
        folder.mkdir(exist_ok=True)
        count = 1
        while path.exists() and path.read_bytes() != source:
            count += 1
            path = folder / f"{candidate}-{count}.cu"
        if not path.exists():
            path.write_bytes(source)
    except OSError as error:
        raise SessionError(
            f"A copy to edit cannot be written in {folder}: {error.strerror}.",
            do="Free some space or mend its permissions.",
        ) from None
    return path


async def run_editor(app: App[None], command: list[str], path: Path) -> int:
    """Give the terminal to the editor and wait for it; the app goes on reading events, but draws nothing.

    Raises:
        OSError: the editor cannot be started.
        SuspendNotSupported: this terminal cannot be given away (a browser).
    """
    loop = asyncio.get_running_loop()
    with app.suspend(), app.batch_update():
        # ctrl-C belongs to the editor; a handler, unlike SIG_IGN, is not inherited by it.
        loop.add_signal_handler(signal.SIGINT, lambda: None)
        try:
            process = await asyncio.create_subprocess_exec(*command, str(path))
            return await process.wait()
        finally:
            loop.remove_signal_handler(signal.SIGINT)
