"""One engine: `python -m workbench.engine --task TASK --root SESSIONS`, started by `engine.client`, never by hand.

It finds or makes the task's session, locks it, listens, reports on --status-fd and serves until it has nothing to do.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import time
import traceback
from pathlib import Path

import msgspec

from workbench import __version__
from workbench.core.config import Config, load_config
from workbench.core.errors import SessionError, UsageError, WorkbenchError
from workbench.core.events import SessionResumed, SessionStarted
from workbench.core.locate import is_session
from workbench.core.session import SessionState
from workbench.engine.client import StartReport, dial
from workbench.engine.runtime import Lock, places, task_lock
from workbench.engine.sessions import create_folder, last_session, started, task_key, task_name
from workbench.engine.store import Store

ENDING_LIMIT_S = 10.0
"""How long an engine that ends may hold its session; its judge gets 4 s of it, its screens 1 s."""


def main(arguments: list[str] | None = None) -> int:
    """Run one engine; the exit code is that of docs/design.md, section 7."""
    options = _parser().parse_args(arguments)
    report = _Report(options.status_fd)
    try:
        return asyncio.run(_run(options, report))
    except WorkbenchError as error:
        report.failed(error.what, error.do)
        return error.exit_code
    except Exception as error:  # the client must hear of it; the traceback is in the log
        traceback.print_exc()
        report.failed(
            f"The engine failed: {type(error).__name__}: {error}.", "This is a bug; please report it."
        )
        return 70
    finally:
        report.close()


async def _run(options: argparse.Namespace, report: _Report) -> int:
    # Before anything slow is imported: a second engine of this task waits for this lock.
    choosing = None if options.session else task_lock(Path(options.root), options.task)
    if choosing is not None and not choosing.acquire(wait_s=20.0):
        raise SessionError("Another engine of this task is starting and does not get on.", do="Try again.")
    folder, new, config = _choose(options)
    where = places(folder)
    lock = Lock(where.lock)
    if not _take(lock, where.socket):
        report.started(folder, where.socket)
        return 0
    _log_to(where.log)
    try:
        store, state = _open(folder, options, new, config.judge.target or "host")
        # Only now: importing what an engine needs takes longer than finding that one runs.
        from workbench.engine.engine import Engine

        def listening() -> None:
            report.started(folder, where.socket)
            if choosing is not None:
                choosing.release()

        # A disk that takes nothing now may do so later; the engine tries again then.
        unsaid = not new and store.refusal is not None
        engine = Engine(
            store,
            state,
            config,
            resumed=unsaid,
            arch=options.arch,
            judges=options.judges,
            idle_s=options.idle_s,
        )
        await engine.serve(where.socket, listening)
    finally:
        if choosing is not None:
            choosing.release()
        lock.release()
    return 0


def _take(lock: Lock, socket: Path) -> bool:
    """True with the session's lock held; False where an engine that goes on serves the session.

    One that is ending listens no more and holds the lock until its judge has ended too.

    Raises:
        SessionError: the lock is held for ENDING_LIMIT_S by an engine that does not listen.
    """
    ends = time.monotonic() + ENDING_LIMIT_S
    while not lock.acquire(wait_s=0.05):
        connection = dial(socket)
        if connection is not None:
            connection.close()
            return False
        if time.monotonic() >= ends:
            raise SessionError("The session's last engine is ending and does not get on.", do="Try again.")
    return True


def _choose(options: argparse.Namespace) -> tuple[Path, bool, Config]:
    if options.session:
        folder = Path(options.session)
        if not is_session(folder):
            raise SessionError(f"{folder} is no session.", do="A session is a folder with an events.jsonl.")
        first = started(folder)
        return folder, False, load_config(task=first.task_path if first else None)
    task, root = options.task, Path(options.root)
    if not os.path.exists(task) and ":" not in task:
        raise UsageError(f"There is no task {task}.", do="Give a file, a folder or pkg.module:Class.")
    config = load_config(task=task)  # before a folder is made: a typo in it must not leave one behind
    last = None if options.new else last_session(root, task, target=options.target)
    return (last, False, config) if last is not None else (create_folder(root, task), True, config)


def _open(folder: Path, options: argparse.Namespace, new: bool, target: str) -> tuple[Store, SessionState]:
    # Before what is noticed on opening, so that this belongs to the new engine's time.
    store, state = Store.open(folder, first=None if new else SessionResumed(version=__version__))
    try:
        if new:
            first = SessionStarted(
                task_path=task_key(options.task),
                task_name=task_name(options.task),
                version=__version__,
                target=options.target or target,
                arch=options.arch or "",
            )
            for event in store.append([first]):
                state.apply(event)
        elif state.started is None:
            raise SessionError(f"{folder} has no first event.", do="Start another session with --new.")
    except SessionError:
        store.close()
        if new:
            _remove_unborn(folder)
        raise
    return store, state


def _remove_unborn(folder: Path) -> None:
    """Remove a folder whose first event could not be written: it is no session."""
    with contextlib.suppress(OSError):
        (folder / "events.jsonl").unlink(missing_ok=True)
        for part in ("task", "candidates", "verdicts", "profiles"):
            (folder / part).rmdir()
        folder.rmdir()


def _log_to(path: Path) -> None:
    """Send stderr to the engine's log; the screen's terminal is not ours."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        os.dup2(fd, 2)
        os.close(fd)


class _Report:
    """The one line that the starting client waits for."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd
        if fd is not None:
            os.set_inheritable(fd, False)

    def started(self, folder: Path, socket: Path) -> None:
        self._write(StartReport(ok=True, session=str(folder), socket=str(socket)))

    def failed(self, error: str, do: str) -> None:
        if self._fd is None:
            print(f"{error} {do}".strip(), file=sys.stderr)
        self._write(StartReport(ok=False, error=error, do=do))

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _write(self, report: StartReport) -> None:
        if self._fd is None:
            return
        with contextlib.suppress(OSError):  # the client is gone: an engine without one ends by itself
            os.write(self._fd, msgspec.json.encode(report) + b"\n")
        self.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workbench.engine", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--task", help="a file, a folder or pkg.module:Class")
    what.add_argument("--session", help="the folder of a session to resume")
    parser.add_argument("--root", default="sessions", help="the folder of sessions")
    parser.add_argument("--new", action="store_true", help="start another session")
    parser.add_argument("--target", choices=("host", "cuda"))
    parser.add_argument("--arch", help="for the compiler: sm_90a (default: the device's, else sm_90a)")
    parser.add_argument("--judges", type=int, help="how many judges work side by side (default: configured)")
    parser.add_argument(
        "--idle-s", type=float, default=30.0, help="end after this long without a screen or work"
    )
    parser.add_argument("--status-fd", type=int, help="where to report that it listens")
    return parser


if __name__ == "__main__":
    sys.exit(main())
