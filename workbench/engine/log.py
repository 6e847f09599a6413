"""Reading a session's events.jsonl: whole lines are events, a torn tail is told apart from damage.

Torn is what no append finished: it was never shown. A whole line that is not understood (a newer version's value, a
slip by hand) was, so it is never dropped, also where it is the last one.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import msgspec

from workbench.core.errors import SessionError
from workbench.core.events import Event, decode_event

_ID = re.compile(r"\w[\w.-]{0,99}", re.ASCII)
"""What a candidate may be called: it names files, and stands on the screen."""

_KNOWN: frozenset[str] = frozenset(
    event.__struct_config__.tag for event in get_args(Event) if isinstance(event.__struct_config__.tag, str)
)


class LogContents(msgspec.Struct, frozen=True):
    """What was read of an events.jsonl."""

    events: tuple[Event, ...]
    seq: int
    """The last event's number, events of unknown types included."""
    good_bytes: int
    """Length of the log up to its last whole line."""
    torn: bytes
    """What follows: lines whose writing was cut short."""
    unknown: tuple[str, ...]
    """Types of events that a newer version wrote; they are passed over."""
    disordered: tuple[int, ...] = ()
    """Lines whose event's number is not the next one: copied, moved, added, or what stood before them is gone."""


def read_log(path: Path) -> LogContents:
    """Read a log. A torn tail is reported, not removed.

    Raises:
        SessionError: it cannot be read, or a line is damaged.
    """
    return parse_log(path)[0]


def parse_log(path: Path) -> tuple[LogContents, bytes]:
    """As `read_log`, with the file's bytes."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SessionError(
            f"{path} cannot be read: {error.strerror}.", do="Check the folder's permissions."
        ) from None
    events: list[Event] = []
    unknown: dict[str, None] = {}
    disordered: list[int] = []
    seq, good, number = 0, 0, 0
    for number, (start, line) in enumerate(_lines(data), 1):
        end = start + len(line)
        try:
            event = decode_line(line)
        except msgspec.MsgspecError as error:
            if _all_torn(data[start:]):
                break
            raise SessionError(
                f"{path}:{number} is damaged ({error}).",
                do="Restore the file, open it with the version that wrote it, or delete that line to go on without it.",
            ) from None
        if isinstance(event, str):
            unknown[event] = None
        else:
            events.append(event)
        at = _seq(line) if isinstance(event, str) else event.seq
        if at != seq + 1:  # the engine leaves no number out: a refused append gives its numbers back
            disordered.append(number)
        seq = max(seq, at)
        good = end
    contents = LogContents(tuple(events), seq, good, data[good:], tuple(unknown), tuple(disordered))
    return contents, data


def _lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Each line with its offset and its line feed; the last may lack it."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start) + 1 or len(data)
        yield start, data[start:end]
        start = end


def decode_line(line: bytes) -> Event | str:
    """The event of a whole line, or the type of one that this version does not know.

    Raises:
        msgspec.MsgspecError: it is none, whatever is wrong with it.
    """
    if not line.endswith(b"\n"):
        raise msgspec.DecodeError("no line feed at its end")
    try:
        line.decode()  # msgspec itself answers bad UTF-8 with another exception
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(f"not UTF-8: {error.reason}") from None
    try:
        event = decode_event(line)
        if not all(_ID.fullmatch(name) for name in _ids(event)):
            raise msgspec.DecodeError("a candidate's id is not one")
        return event
    except RecursionError:
        raise msgspec.DecodeError("nested too deeply") from None
    except msgspec.ValidationError:
        raw = msgspec.json.decode(line)
        kind = raw.get("type") if isinstance(raw, dict) else None
        if isinstance(kind, str) and kind not in _KNOWN:
            return kind
        raise


def _ids(event: Event) -> Iterator[str]:
    """Every candidate that an event names."""
    for field in ("candidate", "duplicate_of"):
        name = getattr(event, field, None)
        if isinstance(name, str):
            yield name
    yield from getattr(event, "parents", ())
    yield from getattr(event, "added", ())


def _seq(line: bytes) -> int:
    seq = msgspec.json.decode(line).get("seq")
    return seq if isinstance(seq, int) else 0


def _all_torn(rest: bytes) -> bool:
    """Nothing of it is a whole line: no event follows, and nothing that somebody wrote as one."""
    for _, line in _lines(rest):
        with contextlib.suppress(msgspec.MsgspecError):
            decode_line(line)
            return False
        written = line.endswith(b"\n") and b"\0" not in line  # a crash leaves zeros; an event never holds one
        if written and line.startswith(b"{") and line.rstrip().endswith(b"}"):
            return False
    return True
