"""Who has a session: a broker does not tell, so a device has one from its hello to its will.

The rules this module keeps:

1. A hello begins a session once it is stored. Before that it may be that of a device which was just blocked, and
   nothing is sent to it.
2. What ends a session, a will or a block, ends all that had begun or were to begin by then; a newer one is left alone.
3. When sight is lost, sessions end; not those that are still to begin, since their hellos are stored after the loss.

>>> sessions = Sessions()
>>> name = Name("acme:kiosk-17")
>>> number = sessions.expect(name)
>>> sessions.of(name)
0
>>> sessions.begin(name, number)
>>> sessions.of(name) == number, len(sessions)
(True, 1)
"""

from collections.abc import Container

from protocol.ids import Name, partition_of

NONE = 0


class Sessions:
    """The numbers of the sessions of one life; a number is never used again."""

    def __init__(self) -> None:
        self._last = NONE
        self._live: dict[Name, int] = {}
        self._coming: dict[Name, list[int]] = {}

    def __len__(self) -> int:
        """Return how many devices have a session."""
        return len(self._live)

    def of(self, name: Name) -> int:
        """Return the number of the device's session, 0 where it has none."""
        return self._live.get(name, NONE)

    def newest(self, name: Name) -> int:
        """Return the number of the device's newest session, also of one that is still to begin; 0 where it has none."""
        return max(self._coming.get(name, [NONE])[-1], self.of(name))

    def expect(self, name: Name) -> int:
        """Give a hello that arrived the number of the session that it may begin."""
        self._last += 1
        self._coming.setdefault(name, []).append(self._last)
        return self._last

    def begin(self, name: Name, number: int) -> None:
        """Begin a session in place of an older one: its hello is stored, and nothing has ended it since it came."""
        if self._is_taken(name, number):
            self._live[name] = max(number, self.of(name))

    def refuse(self, name: Name, number: int) -> None:
        """Take note that no session begins: the hello was not stored."""
        self._is_taken(name, number)

    def end(self, name: Name, number: int) -> None:
        """End the session *number* and those before it, also where they are still to begin."""
        for coming in [coming for coming in self._coming.get(name, ()) if coming <= number]:
            self._is_taken(name, coming)
        if self.of(name) <= number:
            self._live.pop(name, None)

    def forget(self, partitions: Container[int]) -> None:
        """End all sessions of *partitions*."""
        for name in [name for name in self._live if partition_of(name) in partitions]:
            del self._live[name]

    def _is_taken(self, name: Name, number: int) -> bool:
        """Take a number out of those to come; say whether it was among them."""
        coming = self._coming.get(name, [])
        if number not in coming:
            return False
        coming.remove(number)
        if not coming:
            del self._coming[name]
        return True
