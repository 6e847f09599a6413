"""A screen's connection: whatever ends it, nobody waits for an answer that cannot come."""

from __future__ import annotations

import asyncio
import socket

import pytest

from workbench.core.errors import SessionError
from workbench.core.messages import ReadSource, SubmitCandidate
from workbench.engine.client import EngineClient

PATIENCE_S = 60.0


async def _connected() -> tuple[EngineClient, asyncio.StreamReader, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    return EngineClient(reader, writer, author="ada"), reader, theirs


async def test_whatever_the_reader_dies_of_open_requests_fail_with_it() -> None:
    client, reader, theirs = await _connected()
    waiting = [
        asyncio.create_task(client.request(ReadSource(candidate="c0001"))),
        asyncio.create_task(client.attach()),
    ]
    await asyncio.sleep(0)
    reader.set_exception(RuntimeError("the moon is full"))
    for request in waiting:
        with pytest.raises(SessionError, match="RuntimeError: the moon is full"):
            await asyncio.wait_for(request, PATIENCE_S)
    assert [message async for message in client.messages()] == []
    assert client.closed is not None and "the moon is full" in client.closed
    await client.close()
    theirs.close()


async def test_an_engine_that_reads_nothing_keeps_nobody_from_disconnecting() -> None:
    client, _, theirs = await _connected()
    request = asyncio.create_task(client.request(SubmitCandidate(source=bytes(8 << 20), name="large")))
    await asyncio.sleep(0)
    await asyncio.wait_for(client.close(), PATIENCE_S)
    assert client.closed == "closed by this side"
    with pytest.raises(SessionError):
        await request
    theirs.close()
