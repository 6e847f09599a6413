"""A session on disk: the append-only log, and the files that its events name.

Whatever an event names (a candidate's source, a verdict, the task's frozen sources) is on disk before the event is,
and the event is on disk (fdatasync) before anyone is shown it; so a `kill -9` at any moment loses no shown event.
A disk that is full or read-only is a `StoreError`: the log is cut back to its last whole line and stays usable, and
the next append tries again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from workbench.core.candidate import CandidateId, CandidateView
from workbench.core.errors import SessionError
from workbench.core.events import Event, Noticed, decode_event, encode_event
from workbench.core.locate import EVENT_LOG
from workbench.core.session import SessionState, fold
from workbench.engine.log_file import LogFile

FROZEN_FILE_BYTES = 4 << 20
"""Sources up to this size are copied into task/<revision>/; larger ones (weights) are listed only."""

TORN = f"{EVENT_LOG}.torn"
"""Where the bytes of a torn tail are kept when it is cut off."""


STAGED = ".next"


class StoreError(SessionError):
    """The session's folder could not be written; what was there is whole, and nothing new was shown."""


class Store:
    """The one writer of a session's folder. `open` it, `append` events, write the files they name first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seq = 0
        self.refusal: str | None = None
        """Why the last append was refused, in one sentence; None while writing works."""
        self._log = LogFile(folder / EVENT_LOG)
        self._aside = b""
        """What the torn tail that was found on opening holds, until it is cut off."""

    @classmethod
    def open(cls, folder: Path, *, first: Event | None = None) -> tuple[Store, SessionState]:
        """Open the session at `folder` for writing, and fold its log.

        A torn tail is moved to events.jsonl.torn and a `Noticed` event says so. A folder that cannot be written
        opens too: its state is served with what is to be noticed, and every append raises the `StoreError` that
        `refusal` has already.

        Args:
            first: recorded before what is to be noticed, where the session has begun.

        Raises:
            SessionError: the log cannot be read or is damaged, or another engine writes it.
        """
        store = cls(folder)
        try:
            store._log.open()
        except BlockingIOError:
            store.close()
            raise SessionError(
                f"Another engine writes the session {folder.name}.", do="Attach to that one, or stop it."
            ) from None
        except OSError as error:
            if not store._log.path.exists():
                raise store._refuse(error) from None
            store.refusal = str(store._refuse(error))
        try:
            contents = store._log.read()
        except SessionError:
            store.close()
            raise
        state = fold(contents.events)
        state.seq = store.seq = contents.seq
        notices: list[Event] = []
        if contents.torn:
            store._aside = contents.torn if contents.torn.strip(b"\0\n") else b""
            kept = f" ({TORN} keeps it)" if store._aside else ""
            notices.append(
                Noticed(
                    text=f"The log ended in a torn line of {len(contents.torn)} bytes; it was dropped{kept}.",
                    level="warning",
                )
            )
        if contents.unknown:
            notices.append(
                Noticed(
                    text=f"A newer version wrote events that this one passes over: {', '.join(contents.unknown)}.",
                    level="warning",
                )
            )
        if contents.disordered:
            count, line = len(contents.disordered), contents.disordered[0]
            notices.append(
                Noticed(
                    text=f"The log was changed by another hand: {count} of its lines (first: line {line}) do not follow "
                    "the line before. Verify again what matters.",
                    level="warning",
                )
            )
        told = notices  # also where they cannot be written: whoever attaches hears of them
        new = [first, *notices] if first is not None and state.started is not None else notices
        if new and store._log.is_open:
            with contextlib.suppress(StoreError):
                told = store.append(new)
        for event in told:
            state.apply(event)
        if store._log.is_open:
            store._settle_all(state)
        return store, state

    def append(self, events: Sequence[Event], *, author: str = "") -> list[Event]:
        """Write `events` to disk, numbered and dated, and return them so; they may be shown from then on.

        Raises:
            StoreError: the folder is full, read-only or gone, or its log is not the one that was written; nothing of
                `events` was kept.
        """
        now = time.time()
        stamped = [
            msgspec.structs.replace(event, seq=self.seq + 1 + i, at=now, author=author or event.author)
            for i, event in enumerate(events)
        ]
        lines = [encode_event(event) for event in stamped]
        for line in lines:
            decode_event(line)  # a line that cannot be read back (a NaN, say) must never be written
        data = b"".join(line + b"\n" for line in lines)
        try:
            self._keep_aside()
            self._log.append(data)
        except OSError as error:
            raise self._refuse(error) from None
        self.seq += len(stamped)
        self.refusal = None
        return stamped

    def write_candidate(self, candidate: CandidateId, source: bytes) -> None:
        """Put a candidate's file on disk, whole or not at all; raises StoreError."""
        self._write(self.candidate_path(candidate), source)

    def read_candidate(self, candidate: CandidateId) -> bytes:
        """A candidate's file; raises SessionError where it cannot be read."""
        return self._read(self.candidate_path(candidate))

    def stage_verdict(self, view: CandidateView, verdict: bytes) -> None:
        """Put a verdict's JSON on disk, whole, beside the one that `view` tells of; `settle` puts it in its place.

        Raises:
            StoreError: it cannot be written; the old one stays as it was.
        """
        self._stage(self.verdict_path(view.id), verdict, view.verdict_sha256)

    def stage_sass(self, view: CandidateView, listing: bytes) -> None:
        """As `stage_verdict`, for the machine code that the verdict's audit read."""
        self._stage(self.sass_path(view.id), listing, view.sass_sha256)

    def settle(self, view: CandidateView) -> None:
        """Put what was staged in its place, now that the log tells of it; machine code of another judging is removed.

        Where the disk refuses it stays staged, where `read_verdict` finds it.
        """
        with contextlib.suppress(OSError):
            _settle(self.verdict_path(view.id), view.verdict_sha256)
        with contextlib.suppress(OSError):
            if view.sass_sha256:
                _settle(self.sass_path(view.id), view.sass_sha256)
            else:
                self.sass_path(view.id).unlink(missing_ok=True)

    def read_verdict(self, view: CandidateView) -> bytes:
        """The JSON of the verdict that `view` tells of, or what stands in its place (`integrity.told_of` says which).

        Raises:
            SessionError: it cannot be read.
        """
        path = self.verdict_path(view.id)
        with contextlib.suppress(OSError):
            if _is_staged(path, view.verdict_sha256):
                return _staged(path).read_bytes()
        return self._read(path)

    def candidate_path(self, candidate: CandidateId) -> Path:
        """candidates/<id>.cu"""
        return self.folder / "candidates" / f"{candidate}.cu"

    def verdict_path(self, candidate: CandidateId) -> Path:
        """verdicts/<id>.json"""
        return self.folder / "verdicts" / f"{candidate}.json"

    def sass_path(self, candidate: CandidateId) -> Path:
        """profiles/<id>.sass"""
        return self.folder / "profiles" / f"{candidate}.sass"

    def freeze_task(self, revision: int, sources: Sequence[str]) -> dict[str, str]:
        """Copy the task's sources to task/<revision>/, with a sources.json that says where each came from.

        Returns:
            The SHA-256 (hexadecimal) of each copy, by its source's path: a source may have been saved a moment ago.

        Raises:
            StoreError: the copies cannot be written.
        """
        final = self.folder / "task" / str(revision)
        making = self.folder / "task" / f".{revision}.new"
        try:
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir(parents=True)
            listed = [_freeze(making, n, source) for n, source in enumerate(sources)]
            _write_synced(making / "sources.json", msgspec.json.format(msgspec.json.encode(listed)))
            _sync_folder(making)
            if final.exists():  # left by an engine that died before it could log this revision
                shutil.rmtree(final)
            making.rename(final)
            _sync_folder(final.parent)
        except OSError as error:
            shutil.rmtree(making, ignore_errors=True)
            raise self._refuse(error) from None
        return {entry["path"]: entry["sha256"] for entry in listed if entry["copy"]}

    def frozen(self, revision: int) -> dict[str, Path]:
        """The frozen copy of each source of a revision, by the source's path; empty where there is none."""
        folder = self.folder / "task" / str(revision)
        try:
            listed = msgspec.json.decode((folder / "sources.json").read_bytes(), type=list[dict[str, Any]])
        except (OSError, msgspec.MsgspecError):
            return {}
        return {entry["path"]: folder / entry["copy"] for entry in listed if entry.get("copy")}

    def close(self) -> None:
        """Let go of the log; appended events are on disk already."""
        self._log.close()

    def _settle_all(self, state: SessionState) -> None:
        # What an engine that died had staged: in its place where the log tells of it, else it was never shown.
        for staged in [*self.folder.glob(f"verdicts/.*{STAGED}"), *self.folder.glob(f"profiles/.*{STAGED}")]:
            path = staged.with_name(staged.name[1:].removesuffix(STAGED))
            view = state.candidates.get(path.stem)
            with contextlib.suppress(OSError):
                if view is not None and path == self.verdict_path(view.id):
                    _settle(path, view.verdict_sha256)
                elif view is not None and path == self.sass_path(view.id):
                    _settle(path, view.sass_sha256)
                staged.unlink(missing_ok=True)

    def _stage(self, path: Path, data: bytes, shown: str) -> None:
        try:
            _settle(path, shown)  # what was shown may be staged still
        except OSError as error:
            raise self._refuse(error) from None
        self._write(_staged(path), data)

    def _keep_aside(self) -> None:
        # Whoever saved the log by hand without its last line feed gets back what he wrote.
        if self._aside:
            self._log.check()
            kept = self.folder / TORN
            before = kept.read_bytes() + b"\n" if kept.exists() else b""
            self._write(kept, before + self._aside)
            self._aside = b""

    def _write(self, path: Path, data: bytes) -> None:
        making = path.with_name(f".{path.name}.new")
        try:
            path.parent.mkdir(exist_ok=True)
            _write_synced(making, data)
            making.rename(path)
            _sync_folder(path.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                making.unlink()
            raise self._refuse(error) from None

    def _read(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise SessionError(
                f"{path} cannot be read: {error.strerror}.", do="Restore that file of the session."
            ) from None

    def _refuse(self, error: OSError) -> StoreError:
        refusal = _refusal(self.folder, error)
        self.refusal = str(refusal)
        return refusal


def _staged(path: Path) -> Path:
    """Where the next text of a file waits for the event that tells of it."""
    return path.with_name(f".{path.name}{STAGED}")


def _is_staged(path: Path, sha256: str) -> bool:
    """The text of this hash waits for its place; raises OSError."""
    staged = _staged(path)
    return staged.exists() and hashlib.sha256(staged.read_bytes()).hexdigest() == sha256


def _settle(path: Path, sha256: str) -> None:
    if _is_staged(path, sha256):
        _staged(path).rename(path)
        _sync_folder(path.parent)


def _refusal(folder: Path, error: OSError) -> StoreError:
    what, do = {
        errno.ENOSPC: ("is on a full disk", "Free some space; what was shown is kept."),
        errno.EDQUOT: ("is over your disk quota", "Free some space; what was shown is kept."),
        errno.EFBIG: ("may not grow (file size limit)", "Raise `ulimit -f`; what was shown is kept."),
        errno.EROFS: ("is read-only", "Set WORKBENCH_SESSIONS to a folder that can be written."),
        errno.EACCES: ("may not be written by you", "Set WORKBENCH_SESSIONS to a folder of yours."),
        errno.EPERM: ("may not be written by you", "Set WORKBENCH_SESSIONS to a folder of yours."),
        errno.ESTALE: (
            f"has an {EVENT_LOG} that was changed by another program",
            "Restore it as it was, or quit and open the session again.",
        ),
        errno.EWOULDBLOCK: ("is written by another engine", "Attach to that one, or stop it."),
        errno.ENOENT: ("was removed", "Restore it, or start another session with --new."),
    }.get(error.errno or 0, (f"cannot be written ({error.strerror})", "What was shown is kept."))
    return StoreError(f"The session folder {folder} {what}.", do=do)


def _freeze(folder: Path, number: int, source: str) -> dict[str, Any]:
    try:
        size = os.stat(source).st_size
        if size <= FROZEN_FILE_BYTES:
            name = f"{number}-{os.path.basename(source)}" if number else os.path.basename(source)
            data = Path(source).read_bytes()
        else:
            return {"path": source, "copy": None, "bytes": size}
    except OSError as error:
        # Removed since it was loaded: that must not keep the revision from being shown.
        return {"path": source, "copy": None, "bytes": 0, "note": error.strerror}
    _write_synced(folder / name, data)
    return {"path": source, "copy": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _write_synced(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
