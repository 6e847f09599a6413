"""Length-prefixed msgpack frames over pipes and sockets.

A frame is a 4-byte little-endian length and that many bytes. Both readers refuse a frame over their limit before
they allocate it, since the other side may be hostile.
"""

from __future__ import annotations

import asyncio
import os
import struct
from typing import Any

import msgspec

MAX_FRAME_BYTES = 16 << 20
"""Messages of engine, clients and planner."""
MAX_BUILD_FRAME_BYTES = 256 << 20
"""The compiler's answers carry cubins and shared objects."""

_LENGTH = struct.Struct("<I")
_encode = msgspec.msgpack.Encoder().encode


class FrameError(Exception):
    """The other side sent something that is not a frame of this protocol."""


def pack(message: Any) -> bytes:
    """One frame with `message` in it."""
    body = _encode(message)
    return _LENGTH.pack(len(body)) + body


def write_frame(fd: int, message: Any) -> None:
    """Write one frame to a blocking file descriptor, whole."""
    view = memoryview(pack(message))
    while view:
        view = view[os.write(fd, view) :]


def read_frame(fd: int, type_: Any, *, limit: int = MAX_FRAME_BYTES) -> Any:
    """Read one frame from a blocking file descriptor; None at its end.

    Raises:
        FrameError: the frame is too large, cut short or not of `type_`.
    """
    head = _read_exactly(fd, _LENGTH.size)
    if head is None:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > limit:
        raise FrameError(f"a frame of {length} bytes is over the limit of {limit}")
    body = _read_exactly(fd, length)
    if body is None:
        raise FrameError("the stream ended inside a frame")
    return _decode(body, type_)


async def read_frame_async(reader: asyncio.StreamReader, type_: Any, *, limit: int = MAX_FRAME_BYTES) -> Any:
    """As `read_frame`, from an asyncio stream."""
    try:
        head = await reader.readexactly(_LENGTH.size)
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            return None
        raise FrameError("the stream ended inside a frame") from None
    (length,) = _LENGTH.unpack(head)
    if length > limit:
        raise FrameError(f"a frame of {length} bytes is over the limit of {limit}")
    try:
        body = await reader.readexactly(length)
    except asyncio.IncompleteReadError:
        raise FrameError("the stream ended inside a frame") from None
    return _decode(body, type_)


def _decode(body: bytes, type_: Any) -> Any:
    try:
        return msgspec.msgpack.decode(body, type=type_)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise FrameError(f"not a message of this protocol: {error}") from None


def _read_exactly(fd: int, count: int) -> bytes | None:
    chunks: list[bytes] = []
    missing = count
    while missing:
        chunk = os.read(fd, min(missing, 1 << 20))
        if not chunk:
            if chunks or count == 0:
                raise FrameError("the stream ended inside a frame")
            return None
        chunks.append(chunk)
        missing -= len(chunk)
    return b"".join(chunks)
