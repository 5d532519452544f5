"""Who has a session: a broker does not tell, so a device has one from its hello to its will.

The rules this module keeps:

1. A hello begins a session when it arrives, so that what its storing leads to can be sent; when it is refused, the
   session never was.
2. A will ends the session that it found when it arrived, once it was stored; a newer one is left alone.
3. When sight is lost, sessions end; not those whose hello is being stored just then, since it may be stored later than
   the loss.

>>> sessions = Sessions()
>>> name = Name("acme:kiosk-17")
>>> first = sessions.begin(name)
>>> sessions.of(name) == first, len(sessions)
(True, 1)
>>> second = sessions.begin(name)
>>> sessions.end(name, first)  # a will of the first connection, which comes late
>>> sessions.of(name) == second
True
"""

from collections.abc import Container

from protocol.ids import Name, partition_of

NONE = 0


class Sessions:
    """The numbers of the sessions of one life; a number is never used again."""

    def __init__(self) -> None:
        self._last = NONE
        self._live: dict[Name, int] = {}
        self._unsettled: set[int] = set()

    def __len__(self) -> int:
        """Return how many devices have a session."""
        return len(self._live)

    def of(self, name: Name) -> int:
        """Return the number of the device's session, 0 where it has none."""
        return self._live.get(name, NONE)

    def begin(self, name: Name) -> int:
        """Begin a session with a hello that arrived, in place of an older one; return its number."""
        self._last += 1
        self._live[name] = self._last
        self._unsettled.add(self._last)
        return self._last

    def settle(self, name: Name, number: int, *, is_stored: bool) -> None:
        """Take note of what became of the hello that began a session."""
        self._unsettled.discard(number)
        if not is_stored:
            self.end(name, number)

    def end(self, name: Name, number: int) -> None:
        """End the session *number*, if it is still the device's."""
        if self._live.get(name) == number:
            del self._live[name]

    def forget(self, partitions: Container[int]) -> None:
        """End all sessions of *partitions* whose hello is stored."""
        for name, number in list(self._live.items()):
            if number not in self._unsettled and partition_of(name) in partitions:
                del self._live[name]
