"""The bytes of one connection: framing, pausing, and writes gathered per turn of the loop. Knows no MQTT session."""

import asyncio
import socket
import sys
from abc import ABC, abstractmethod
from enum import Flag, auto
from typing import Final, cast

from controller.edge.codec import BadPacket, Packet, read
from controller.edge.limits import Limits

BUFFER_BYTES: Final = 65_536
_ESTABLISHED: Final = 1
"""The first byte of `TCP_INFO` while both sides may still send (Linux, `include/net/tcp_states.h`)."""


def new_buffer() -> memoryview:
    """Return the buffer that all connections of one loop read into; each call consumes what it brings."""
    return memoryview(bytearray(BUFFER_BYTES))


class Pause(Flag):
    """Why a connection is not read; it is read again when the last reason is gone."""

    NONE = 0
    CHECK = auto()
    RATE = auto()
    PRESSURE = auto()
    WRITE = auto()


class Wire(asyncio.BufferedProtocol, ABC):
    """One connection. A plain `asyncio.Protocol` would allocate 256 KiB for every message (measured: twice the time).

    `heard` is when its last whole packet came (section 3.1.2.10), or it was first read, or read again after a pause, in
    seconds of the loop's clock. Bytes alone do not count: whoever sends one a second would never be too late.
    """

    def __init__(self, *, limits: Limits, buffer: memoryview) -> None:
        """Take the buffer of `new_buffer`."""
        self._limits = limits
        self._buffer = buffer
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._tail = bytearray()
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._is_finished = False
        self.pauses = Pause.NONE
        self.heard = self._loop.time()

    @abstractmethod
    def opened(self, transport: asyncio.Transport) -> None:
        """Take note that the connection is there."""

    @abstractmethod
    def packet(self, packet: Packet) -> None:
        """Take one packet.

        Raises:
            BadPacket: when it must not come now.
        """

    @abstractmethod
    def failed(self, error: BadPacket) -> None:
        """End the connection; nothing that it sent after the fault is looked at."""

    @abstractmethod
    def lost(self) -> None:
        """Take note that the connection is gone."""

    # --- asyncio's side -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self.heard = self._loop.time()
        self._transport.set_write_buffer_limits(high=self._limits.write_buffer_bytes_max)
        # A paused TLS transport goes on gathering what comes, by default up to 256 KiB.
        set_read_limits = getattr(transport, "set_read_buffer_limits", None)
        if set_read_limits is not None:
            set_read_limits(high=self._limits.read_buffer_bytes_max)
        self.opened(self._transport)

    def eof_received(self) -> None:
        """Let go at once of a peer that has gone: until TLS has ended, what is written to it would only be logged."""
        if not self._is_finished and self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """End; `exc` only tells how the peer vanished."""
        self._is_finished = True
        self.lost()
        self._transport = None  # a TLS transport knows us: the circle would wait for the collector, with 50 KiB

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Return where to read into."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take *nbytes* new bytes."""
        if self._is_finished:
            return
        fresh = self._buffer[:nbytes]
        if self._tail or self.pauses:
            self._tail += fresh
            self._parse_tail()
        else:
            self._tail += fresh[self._parse(fresh) :]

    def pause_writing(self) -> None:
        """Stop reading from a peer that does not read: what it asks for would gather here."""
        self.pause(Pause.WRITE)

    def resume_writing(self) -> None:
        """Go on."""
        self.resume(Pause.WRITE)

    # --- reading --------------------------------------------------------------------------------------------

    def _parse(self, data: memoryview) -> int:
        at = 0
        try:
            while at < len(data) and not self.pauses and not self._is_finished:
                found = read(data[at:], bytes_max=self._limits.packet_bytes_max)
                if found is None:
                    break
                packet, length = found
                at += length
                self.heard = self._loop.time()
                self.packet(packet)
        except BadPacket as error:
            self.failed(error)
        return at

    def _parse_tail(self) -> None:
        used = self._parse(memoryview(bytes(self._tail)))
        del self._tail[:used]

    def pause(self, why: Pause) -> None:
        """Read no more, for the reason *why* beside others; packets already here wait, too."""
        if not self.pauses and self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
        self.pauses |= why

    def resume(self, why: Pause) -> None:
        """Drop the reason *why*; go on where it was the last one."""
        if not self.pauses & why:
            return
        self.pauses &= ~why
        if self.pauses or self._is_finished or self._transport is None:
            return
        self.heard = self._loop.time()
        self._parse_tail()
        if not self.pauses and not self._transport.is_closing():
            self._transport.resume_reading()

    # --- writing --------------------------------------------------------------------------------------------

    @property
    def unsent_bytes(self) -> int:
        """Return how much was written that the system has not taken."""
        return self._out_bytes + (self._transport.get_write_buffer_size() if self._transport else 0)

    @property
    def _has_left(self) -> bool:
        """Return whether the peer ended its side while we do not read.

        asyncio tells that only to those who read (CPython 3.11, `SSLProtocol.eof_received`). For the others the
        transport seems open, but what is written to it is only logged, and `close` never comes to an end.
        """
        if self._transport is None or self._transport.is_closing() or self._transport.is_reading():
            return False
        connection = self._transport.get_extra_info("socket")
        if connection is None or sys.platform != "linux":
            return False
        return bool(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _ESTABLISHED)

    def send(self, data: bytes) -> None:
        """Write *data* at the end of this turn of the loop, together with whatever else is written in it."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(data)
        self._out_bytes += len(data)

    def _flush(self) -> None:
        out, self._out, self._out_bytes = self._out, [], 0
        if out and self._transport is not None and not self._transport.is_closing() and not self._has_left:
            self._transport.write(b"".join(out))

    def finish(self, last: bytes = b"", *, at_once: bool = False) -> None:
        """Write *last* and close. *at_once* does not wait for the peer, who may be dead.

        Nor is a peer waited for that has left.
        """
        if self._is_finished or self._transport is None:
            return
        self._is_finished = True
        self._tail.clear()
        if last:
            self._out.append(last)
        self._flush()
        if at_once or self._has_left:
            self._transport.abort()
        else:
            self._transport.close()

    def abort(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()
