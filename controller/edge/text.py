r"""Whether all text in a packet is UTF-8, which section 1.5.4 demands: asked before `mqtt5` reads the packet.

`mqtt5` panics on text that is not. We survive that, but each panic writes some lines to standard error past all our
limits, so that one device could fill a disk. This module only walks from text to text: whatever else is wrong with a
packet ends the walk, as `mqtt5` finds it at the same place and says what it is.

>>> is_text(memoryview(b"\x30\x06\x00\x03a/b\x00"), 2)
True
>>> is_text(memoryview(b"\x30\x05\x00\x02\xff\xfe\x00"), 2)
False
"""

from collections.abc import Callable
from typing import Final

_QOS: Final = 0x06
_VERSION: Final = 5
_WILL: Final = 0x04
_USERNAME: Final = 0x80


class _Unreadable(Exception):
    """The walk ends here, for a reason that `mqtt5` will give."""


class _Walk:
    """A place in a packet."""

    def __init__(self, packet: memoryview, at: int) -> None:
        """Begin at the index *at*."""
        self._packet = packet
        self.at = at

    @property
    def is_over(self) -> bool:
        return self.at >= len(self._packet)

    def skip(self, length: int) -> memoryview:
        """Step over some bytes, and return them."""
        begin, self.at = self.at, self.at + length
        if self.at > len(self._packet):
            raise _Unreadable
        return self._packet[begin : self.at]

    def number(self, length: int = 1) -> int:
        """Step over an integer."""
        return int.from_bytes(self.skip(length), "big")

    def binary(self) -> memoryview:
        """Step over bytes with their length (section 1.5.6)."""
        return self.skip(self.number(2))

    def text(self) -> None:
        """Step over a string (section 1.5.4)."""
        str(self.binary(), "utf-8")

    def pair(self) -> None:
        """Step over two strings (section 1.5.7)."""
        self.text()
        self.text()

    def length(self) -> int:
        """Step over a variable byte integer (section 1.5.5)."""
        value = 0
        for shift in (0, 7, 14, 21):
            byte = self.number()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 - the top bit says that another byte follows
                return value
        raise _Unreadable

    def properties(self) -> None:
        """Step over properties (section 2.2.2)."""
        length = self.length()
        end = self.at + length
        while self.at < end:
            step = _PROPERTIES.get(self.number())
            if step is None:
                raise _Unreadable
            step(self)


_SIZES: Final = {1: (0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A), 2: (0x13, 0x21, 0x22, 0x23)}
_PROPERTIES: Final[dict[int, Callable[[_Walk], object]]] = {
    **dict.fromkeys(_SIZES[1], lambda walk: walk.skip(1)),
    **dict.fromkeys(_SIZES[2], lambda walk: walk.skip(2)),
    **dict.fromkeys((0x02, 0x11, 0x18, 0x27), lambda walk: walk.skip(4)),
    **dict.fromkeys((0x03, 0x08, 0x12, 0x15, 0x1A, 0x1C, 0x1F), _Walk.text),
    **dict.fromkeys((0x09, 0x16), _Walk.binary),
    0x0B: _Walk.length,
    0x26: _Walk.pair,
}
"""How to step over each property, by its identifier (section 2.2.2.2)."""


def _connect(walk: _Walk) -> None:
    """Step over the body of a CONNECT (section 3.1); older protocols have no properties, and are refused anyway."""
    walk.text()
    if walk.number() != _VERSION:
        return
    flags = walk.number()
    walk.skip(2)
    walk.properties()
    walk.text()
    if flags & _WILL:
        walk.properties()
        walk.text()
        walk.binary()
    if flags & _USERNAME:
        walk.text()


def _publish(walk: _Walk, first: int) -> None:
    """Step over the topic and the properties of a PUBLISH (section 3.3)."""
    walk.text()
    if first & _QOS:
        walk.skip(2)
    walk.properties()


def _filters(walk: _Walk, *, option_bytes: int) -> None:
    """Step over the body of a SUBSCRIBE or UNSUBSCRIBE (sections 3.8, 3.10)."""
    walk.skip(2)
    walk.properties()
    while not walk.is_over:
        walk.text()
        walk.skip(option_bytes)


def _reasoned(walk: _Walk, *, id_bytes: int) -> None:
    """Step over the body of a PUBACK or DISCONNECT, which may end early (sections 3.4, 3.14)."""
    walk.skip(id_bytes)
    if not walk.is_over:
        walk.skip(1)
        walk.properties()


def _body(walk: _Walk, first: int) -> None:
    """Step over all text of a packet that a device may send; *first* is its first byte."""
    match first >> 4:
        case 3:
            _publish(walk, first)
        case 4:
            _reasoned(walk, id_bytes=2)
        case 1:
            _connect(walk)
        case 8:
            _filters(walk, option_bytes=1)
        case 10:
            _filters(walk, option_bytes=0)
        case 14:
            _reasoned(walk, id_bytes=0)


def is_text(packet: memoryview, header: int) -> bool:
    """Say whether all text in a whole packet, whose fixed header has *header* bytes, is UTF-8 as far as it is there."""
    try:
        _body(_Walk(packet, header), packet[0])
    except _Unreadable:
        return True
    except UnicodeDecodeError:
        return False
    return True
