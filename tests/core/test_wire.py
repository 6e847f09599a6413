"""Frames: what was packed is read again, and nothing that a hostile peer sends is more than a FrameError."""

from __future__ import annotations

import asyncio
import os
import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.messages import ToEngine, VerifyAgain
from workbench.core.wire import FrameError, pack, read_frame, read_frame_async, write_frame


def through_a_pipe(data: bytes) -> object:
    read, write = os.pipe()
    try:
        os.write(write, data)
        os.close(write)
        return read_frame(read, ToEngine, limit=1 << 16)
    finally:
        os.close(read)


async def through_a_stream(data: bytes) -> object:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return await read_frame_async(reader, ToEngine, limit=1 << 16)


async def test_what_was_packed_is_read_again() -> None:
    message = VerifyAgain(candidate="c0001", request=7)
    assert through_a_pipe(pack(message)) == message
    assert await through_a_stream(pack(message)) == message
    assert through_a_pipe(b"") is None
    assert await through_a_stream(b"") is None


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_the_end_or_a_frame_error(data: bytes) -> None:
    for frame in (data, struct.pack("<I", len(data)) + data):
        try:
            found = through_a_pipe(frame)
        except FrameError:
            continue
        assert found is None or isinstance(found, msgspec.Struct)


@pytest.mark.parametrize(
    "body",
    [b"\x81\xa4type\xa3\xff\xfe\xfd", b"\xc1", b"\x91" * 50_000 + b"\xc0", b"", b"\x81\xa4type\xa6attach"],
)
async def test_a_body_that_is_no_message_is_a_frame_error(body: bytes) -> None:
    frame = struct.pack("<I", len(body)) + body
    with pytest.raises(FrameError):
        through_a_pipe(frame)
    with pytest.raises(FrameError):
        await through_a_stream(frame)


@pytest.mark.parametrize("frame", [struct.pack("<I", 1 << 30), b"\x05", struct.pack("<I", 9) + b"short"])
async def test_a_frame_that_is_too_large_or_cut_short_is_refused(frame: bytes) -> None:
    with pytest.raises(FrameError):
        through_a_pipe(frame)
    with pytest.raises(FrameError):
        await through_a_stream(frame)


def test_a_message_larger_than_a_pipe_is_written_whole() -> None:
    read, write = os.pipe()
    message = VerifyAgain(candidate="c" * 5_000_000)
    if (pid := os.fork()) == 0:
        write_frame(write, message)
        os._exit(0)
    os.close(write)
    assert read_frame(read, ToEngine) == message
    os.waitpid(pid, 0)
    os.close(read)
