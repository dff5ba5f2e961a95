"""A faulty wire: a loopback port that leads to a server, and that can be cut, delayed, swallow bytes or refuse.

What goes up is counted as HTTP/2 frames, without reading what is in them: connections, requests (HEADERS) and messages
(DATA that is not empty), each by tenths of a second.
"""

import asyncio
import socket
from collections import Counter

TENTHS = 10
PREFACE = 24
FRAME_HEADER = 9
DATA, HEADERS = 0, 1


class Wire:
    """One port, kept for as long as the wire stands, whatever happens to the server behind it."""

    def __init__(self, server_port: int, host: str = "127.0.0.1") -> None:
        self.server_port = server_port
        self.host = host
        self.delay_s = 0.0
        # Bytes that come down are swallowed: the server hears the client, the client hears nothing.
        self.mute = False
        self.counts: dict[str, Counter[int]] = {"connections": Counter(), "requests": Counter(), "messages": Counter()}
        self._links: set[Link] = set()
        self._joins: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None
        self._accepting = False
        # The port stays bound while nobody listens on it, so that it is refused and yet nobody else is given it.
        self._holder = bound(host, 0)
        self.port: int = self._holder.getsockname()[1]

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def restore(self) -> None:
        """Listens, accepts, and carries everything at once. Links that fell into a hole stay dead."""
        self.delay_s, self.mute = 0.0, False
        if not self._listener:
            self._listener = bound(self.host, self.port)
            self._listener.listen(1024)
        if not self._accepting:
            asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)
            self._accepting = True

    def cut(self) -> None:
        """Closes every connection. New ones are accepted."""
        for link in list(self._links):
            link.abort()

    def refuse(self) -> None:
        """Closes every connection and refuses new ones, as a port does that nobody listens on."""
        self._stop_accepting()
        if self._listener:
            self._listener.close()
            self._listener = None
        self.cut()

    def hole(self) -> None:
        """Swallows the bytes of every connection for good, both ways and without a FIN. New ones are half-open: the
        kernel greets them, and nobody accepts them until `restore`."""
        self._stop_accepting()
        for link in self._links:
            link.dead = True

    def count(self, kind: str) -> None:
        self.counts[kind][int(asyncio.get_running_loop().time() * TENTHS)] += 1

    def sent(self) -> dict[str, int]:
        """How much went up so far."""
        return {kind: count.total() for kind, count in self.counts.items()}

    async def close(self) -> None:
        self.refuse()
        self._holder.close()
        for join in list(self._joins):
            join.cancel()
        await asyncio.gather(*self._joins, return_exceptions=True)
        # Aborted transports are gone one turn of the loop later.
        await asyncio.sleep(0)

    def _stop_accepting(self) -> None:
        if self._accepting:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._accepting = False

    def _accept(self, listener: socket.socket) -> None:
        try:
            near, _ = listener.accept()
        except OSError:
            return
        # asyncio does so by itself only for sockets that were made with the protocol's number.
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.count("connections")
        join = asyncio.get_running_loop().create_task(self._join(near))
        self._joins.add(join)
        join.add_done_callback(self._joins.discard)

    async def _join(self, near: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        link = Link(self)
        try:
            await loop.create_connection(lambda: link.far, self.host, self.server_port)
            self._links.add(link)
            await loop.connect_accepted_socket(lambda: link.near, near)
        except OSError:
            near.close()
            link.abort()
        except asyncio.CancelledError:
            near.close()
            link.abort()
            raise

    def forget(self, link: "Link") -> None:
        self._links.discard(link)


def bound(host: str, port: int) -> socket.socket:
    """A socket on a loopback port that it shares with others of this kind. 0: a free port."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    # Connections of before, in their last wait, do not keep the port.
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((host, port))
    made.setblocking(False)
    return made


class Link:
    """One connection and its other half to the server."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.dead = False
        self.near, self.far = End(self), End(self)
        self._tap = Tap(wire)

    def carry(self, source: "End", data: bytes | None) -> None:
        """Brings what one end said to the other, later where the wire is slow; `None` says that it has ended."""
        if source is self.near and data:
            self._tap.feed(data)
        if self.dead or (self.wire.mute and source is self.far):
            return
        target = self.far if source is self.near else self.near
        loop = asyncio.get_running_loop()
        if not self.wire.delay_s and not source.under_way:
            target.put(data)
            return
        # Never at the same instant as what came before, so that the order holds.
        source.due = max(loop.time() + self.wire.delay_s, source.due + 1e-6)
        source.under_way += 1
        loop.call_at(source.due, self._arrive, source, target, data)

    def _arrive(self, source: "End", target: "End", data: bytes | None) -> None:
        source.under_way -= 1
        if not self.dead:
            target.put(data)

    def abort(self) -> None:
        self.dead = True
        for end in (self.near, self.far):
            if end.transport:
                end.transport.abort()
        self.wire.forget(self)


class End(asyncio.Protocol):
    """One end of a link."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.transport: asyncio.Transport | None = None
        self.under_way = 0
        self.due = 0.0
        # What came for it before it was connected.
        self._early: list[bytes | None] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        for data in self._early:
            self.put(data)

    def put(self, data: bytes | None) -> None:
        if self.transport is None:
            self._early.append(data)
        elif data is None:
            self.transport.close()
        elif not self.transport.is_closing():
            self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        self.link.carry(self, data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (however it was lost)
        self.link.carry(self, None)
        if not self.link.dead:
            self.link.wire.forget(self.link)

    def pause_writing(self) -> None:
        self._other_reads(False)

    def resume_writing(self) -> None:
        self._other_reads(True)

    def _other_reads(self, on: bool) -> None:
        other = self.link.far if self is self.link.near else self.link.near
        if other.transport and not other.transport.is_closing():
            other.transport.resume_reading() if on else other.transport.pause_reading()


class Tap:
    """Counts the frames of one connection's way up."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._skip = PREFACE
        self._header = bytearray()

    def feed(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
                at += step
                continue
            step = min(FRAME_HEADER - len(self._header), len(data) - at)
            self._header += data[at : at + step]
            at += step
            if len(self._header) == FRAME_HEADER:
                self._skip = int.from_bytes(self._header[:3], "big")
                if self._header[3] == HEADERS:
                    self._wire.count("requests")
                elif self._header[3] == DATA and self._skip:
                    self._wire.count("messages")
                self._header.clear()
