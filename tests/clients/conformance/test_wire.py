"""The faulty wire does what it says, between two ordinary sockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from conformance.wire import Wire

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
# Far longer than anything here takes; what must not come is waited for `NEVER_S`.
SOON_S = 10.0
NEVER_S = 0.3


@asynccontextmanager
async def echo() -> AsyncIterator[Wire]:
    """A wire to a server that says back what it hears."""

    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    wire = Wire(server.sockets[0].getsockname()[1])
    wire.restore()
    try:
        yield wire
    finally:
        await wire.close()
        for writer in writers:
            writer.transport.abort()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.01)


async def connect(wire: Wire) -> Streams:
    return await asyncio.wait_for(asyncio.open_connection("127.0.0.1", wire.port), SOON_S)


async def say(streams: Streams, text: bytes) -> bytes:
    reader, writer = streams
    writer.write(text)
    return await asyncio.wait_for(reader.readexactly(len(text)), SOON_S)


async def silence(streams: Streams) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(streams[0].read(1), NEVER_S)


async def ends(streams: Streams) -> None:
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(streams[0].read(1), SOON_S) == b""


def run(story: Callable[[Wire], Coroutine[Any, Any, None]]) -> None:
    async def told() -> None:
        async with echo() as wire:
            await story(wire)

    asyncio.run(told())


def test_it_carries_everything_both_ways() -> None:
    async def story(wire: Wire) -> None:
        streams = await connect(wire)
        long = bytes(range(256)) * 4096
        assert await say(streams, b"hello") == b"hello"
        assert await say(streams, long) == long
        streams[1].close()

    run(story)


def test_a_cut_closes_connections_and_accepts_new_ones() -> None:
    async def story(wire: Wire) -> None:
        streams = await connect(wire)
        await say(streams, b"hello")
        wire.cut()
        await ends(streams)
        streams[1].close()
        again = await connect(wire)
        assert await say(again, b"again") == b"again"
        again[1].close()

    run(story)


def test_a_refusing_port_refuses_and_is_the_same_afterwards() -> None:
    async def story(wire: Wire) -> None:
        streams = await connect(wire)
        await say(streams, b"hello")
        for _ in range(3):
            wire.refuse()
            await ends(streams)
            streams[1].close()
            with pytest.raises(ConnectionRefusedError):
                await connect(wire)
            wire.restore()
            streams = await connect(wire)
            assert await say(streams, b"again") == b"again"
        streams[1].close()

    run(story)


def test_a_hole_swallows_both_ways_without_an_end_and_for_good() -> None:
    async def story(wire: Wire) -> None:
        old = await connect(wire)
        await say(old, b"hello")
        wire.hole()
        old[1].write(b"lost")
        await silence(old)
        half_open = await connect(wire)
        half_open[1].write(b"waits")
        await silence(half_open)
        wire.restore()
        assert await asyncio.wait_for(half_open[0].readexactly(5), SOON_S) == b"waits"
        old[1].write(b"still lost")
        await silence(old)
        old[1].close()
        half_open[1].close()

    run(story)


def test_a_muted_wire_still_carries_what_goes_up() -> None:
    async def story(wire: Wire) -> None:
        streams = await connect(wire)
        await say(streams, b"hello")
        wire.mute = True
        streams[1].write(b"heard, and not answered")
        await silence(streams)
        wire.restore()
        assert await say(streams, b"answered") == b"answered"
        streams[1].close()

    run(story)


def test_a_delay_holds_back_both_ways_and_keeps_the_order() -> None:
    async def story(wire: Wire) -> None:
        streams = await connect(wire)
        await say(streams, b"hello")
        wire.delay_s = 0.2
        started = asyncio.get_running_loop().time()
        streams[1].write(b"a")
        await streams[1].drain()
        await asyncio.sleep(0.05)
        wire.delay_s = 0.0
        assert await say(streams, b"bc") == b"ab"
        assert await asyncio.wait_for(streams[0].readexactly(1), SOON_S) == b"c"
        assert asyncio.get_running_loop().time() - started >= 0.2
        streams[1].close()

    run(story)


def test_frames_are_counted_however_they_are_cut_up() -> None:
    async def story(wire: Wire) -> None:
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        settings, headers = frame(4, b""), frame(1, b"h" * 40)
        messages = frame(0, b"m" * 300) + frame(0, b"") + frame(0, b"m")
        stream = preface + settings + headers + messages + headers
        streams = await connect(wire)
        for at in range(0, len(stream), 7):
            assert await say(streams, stream[at : at + 7]) == stream[at : at + 7]
        assert wire.sent() == {"connections": 1, "requests": 2, "messages": 2}
        streams[1].close()

    run(story)


def frame(kind: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, 0]) + (1).to_bytes(4, "big") + payload
